"""XYZ, extended or plain: results, keys and arrays as ASE names them; and the molecules of QM9."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase.io.extxyz import REV_PROPERTY_NAME_MAP, key_val_str_to_dict

from molcalc.elements import atomic_number
from molcalc.errors import DatasetError, UnsupportedElementError, damaged, reason_of, short
from molcalc.io.files import UNREADABLE
from molcalc.io.plain_numbers import decimal, numbers_of_python, whole_number
from molcalc.io.xyz_frames import XYZFrame, xyz_frames
from molcalc.properties import to_voigt
from molcalc.state import state_key
from molcalc.train.data.block import Block
from molcalc.train.data.declaration import Declaration
from molcalc.train.data.declared_units import unit_factors
from molcalc.train.data.formats.atoms import atoms_with_info, is_scalar, plain
from molcalc.train.data.formats.row import Row, packed_row
from molcalc.train.data.formats.rows import RowFile

_PLAIN = "species:S:1:pos:R:3"
"""Columns of a file that does not say them."""
_ITEM = re.compile(r"\s*([A-Za-z_][\w-]*)=(\"[^\"\\]*\"|[^\s\"'{}\[\]\\=]+)(?=\s|$)")
_NUMBER = re.compile(r"[+-]?(\d+|\d*\.?\d+([eE][+-]?\d+)?|\d+\.\d*([eE][+-]?\d+)?)", re.ASCII)
_CONVERTERS: Mapping[str, Callable[[np.ndarray], Any]] = {
    "R": lambda words: words.astype(np.float64),
    "I": lambda words: words.astype(np.int64),
    "S": lambda words: words.tolist(),
    "L": lambda words: np.isin(words.astype(str), ("T", "True")),
}
_DIGITS = 19
"""Of integers that ASE takes for floats, because 64 bits do not hold them."""
_NOT_CARRIED = ("tags", "masses", "momenta", "move_mask")
"""Columns of what conversions leave out."""
_RESULTS = ("forces", "charges", "magmoms")
_QM9_KEYS = ("A", "B", "C", "mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "U0", "U", "H", "G", "Cv")
_MOLECULE, _CRYSTAL = np.zeros(3, dtype=bool), np.ones(3, dtype=bool)
_QM9_UNITS = {"energy": "Hartree"}


class ExtendedXYZ(RowFile):
    """Frames of an XYZ file. What QM9 says of a molecule become keys; it has no energy until one of them is chosen."""

    word = "frame"

    def __init__(self, path: Path, declared: Declaration) -> None:
        super().__init__(path, declared)
        try:
            with self.open_text() as stream:
                stream.readline()
                of_qm9 = stream.readline().startswith("gdb ")
        except UNREADABLE as error:
            raise damaged(path, error) from error
        if of_qm9:
            self.factors = unit_factors({**_QM9_UNITS, **declared.units}, self.name)

    def rows(self) -> Iterator[Row]:
        """All frames in the order of the file."""
        with self.open_text() as stream:
            for number, frame in enumerate(xyz_frames(stream, self.name)):
                where = f"{self.name}, frame {number}"
                try:
                    yield _qm9_row(number, where, frame) if frame.qm9 else _row(number, where, frame)
                except _BadLine as error:
                    raise DatasetError(
                        f"{self.name}, line {frame.line + 2 + error.atom}: {reason_of(error)}"
                    ) from error

    @staticmethod
    def write(path: Path, blocks: Iterator[Block], metadata: Mapping[str, Any]) -> int:
        """Write structures with eight decimals; charge, keys and data stand in the comment line of each frame.

        Data of one row per atom become columns.

        Returns
        -------
        number of structures
        """
        from ase.io.extxyz import write_xyz

        count = 0
        with open(path, "w", encoding="utf-8") as stream:
            for block in blocks:
                images = [atoms_with_info(block, k) for k in range(len(block))]
                for atoms in images:
                    for name, value in list(atoms.info.items()):
                        if isinstance(value, np.ndarray) and value.ndim in (1, 2) and len(value) == len(atoms):
                            atoms.set_array(name, atoms.info.pop(name))
                write_xyz(stream, images)
                count += len(block)
        return count


class _BadLine(Exception):
    """A line of an atom that cannot be read; ``atom`` is its number."""

    def __init__(self, message: str, atom: int) -> None:
        super().__init__(message)
        self.atom = atom


class _Columns(NamedTuple):
    """Place, kind and ASE's name of some columns."""

    name: str
    kind: str
    first: int
    end: int


def _row(number: int, where: str, frame: XYZFrame) -> Row:
    info = {"comment": frame.comment} if frame.vectors else _comment_values(frame.comment)
    layout = _layout(str(info.pop("Properties", _PLAIN)))
    arrays = _arrays(frame.atoms, layout)
    symbols = arrays.pop("symbols", None)
    numbers = arrays.pop("numbers", None)
    if numbers is None:
        numbers = _numbers(symbols or [])
    positions = arrays.pop("positions", None)
    cell, pbc = _cell(info, frame.vectors)
    results: dict[str, Any] = {name: info.pop(name) for name in ("energy", "stress", "dipole") if name in info}
    if np.shape(results.get("stress", ())) == (3, 3):
        results["stress"] = to_voigt(results["stress"])
    if "free_energy" in info and info["free_energy"] == results.get("energy"):
        del info["free_energy"]  # ASE writes it beside every energy
    results.update((name, arrays.pop(name)) for name in _RESULTS if name in arrays)
    initial, moments = arrays.pop("initial_charges", None), arrays.pop("initial_magmoms", None)
    # What states charge or spin goes on even if it cannot: left out, it would mean 0 and the lowest.
    keys = {key: plain(value) for key, value in info.items() if is_scalar(value) or state_key(key)}
    data = {key: value for key, value in info.items() if key not in keys}
    data.update((name, values) for name, values in arrays.items() if name not in _NOT_CARRIED)
    return packed_row(
        number,
        where,
        numbers=numbers,
        positions=positions,
        cell=cell,
        pbc=pbc,
        initial_charges=initial,
        initial_magmoms=moments,
        results=results,
        keys=keys,
        data=data,
    )


def _comment_values(comment: str) -> dict[str, Any]:
    """Values of a second line by key, as ASE reads them; what is plain is read without its help."""
    values: dict[str, Any] = {}
    place = 0
    while place < len(comment):
        item = _ITEM.match(comment, place)
        if item is None:
            return dict(key_val_str_to_dict(comment)) if comment else {}
        key, text = item[1], item[2]
        if _NUMBER.fullmatch(text) and key not in ("uid", "Lattice", "virial", "stress"):
            values[key] = int(text) if text.lstrip("+-").isdigit() and len(text) < _DIGITS else float(text)
        else:
            values[key] = _value(key, text)
        place = item.end()
    return values


@lru_cache(maxsize=1024)
def _value(key: str, text: str) -> Any:
    """Value of one item of a second line; arrays are shared by all frames that have the same."""
    return key_val_str_to_dict(f"{key}={text}")[key]


@lru_cache(maxsize=64)
def _layout(properties: str) -> tuple[_Columns, ...]:
    """Columns of the lines of atoms.

    Raises
    ------
    ValueError
    """
    fields = properties.split(":")
    names, kinds, widths = fields[::3], fields[1::3], fields[2::3]
    if len(fields) % 3 or not set(kinds) <= set(_CONVERTERS) or not all(width.isdigit() for width in widths):
        raise ValueError(
            f"Properties={short(properties)} are not NAME:TYPE:COLUMNS with types {', '.join(_CONVERTERS)}"
        )
    columns, first = [], 0
    for name, kind, width in zip(names, kinds, map(int, widths)):
        columns.append(_Columns(REV_PROPERTY_NAME_MAP.get(name, name), kind, first, first + width))
        first += width
    return tuple(columns)


def _arrays(lines: list[str], layout: tuple[_Columns, ...]) -> dict[str, Any]:
    """Values of atoms by name, (n,) or (n, columns); texts are lists."""
    needed = layout[-1].end
    words = [line.split() for line in lines]
    for atom, row in enumerate(words):
        if len(row) < needed:
            raise _BadLine(f"{len(row)} words for an atom, expected {needed}", atom)
    if any(len(row) != needed for row in words):
        words = [row[:needed] for row in words]
    for atom, line in enumerate(lines):
        if strange := set(numbers_of_python(line)) & _numeric_words(words[atom], layout):
            raise _BadLine(f"{strange.pop()!r} is not a number as files have them; write its digits", atom)
    table = np.array(words, dtype=object).reshape(len(lines), needed)
    arrays = {}
    for column in layout:
        part = table[:, column.first] if column.end - column.first == 1 else table[:, column.first : column.end]
        try:
            arrays[column.name] = _CONVERTERS[column.kind](part)
        except ValueError as error:
            raise _BadLine(f"{column.name}: {error}", _first_bad(part, column.kind)) from error
    return arrays


def _numeric_words(words: list[str], layout: tuple[_Columns, ...]) -> set[str]:
    """Words of a line in columns of numbers."""
    return {word for column in layout if column.kind in "RI" for word in words[column.first : column.end]}


def _first_bad(part: np.ndarray, kind: str) -> int:
    """The first row that cannot be converted."""
    for atom, row in enumerate(part):
        try:
            _CONVERTERS[kind](np.atleast_1d(row))
        except ValueError:
            return atom
    return 0


def _numbers(symbols: list[str]) -> list[int]:
    numbers = []
    for atom, symbol in enumerate(symbols):
        try:
            numbers.append(_number(symbol))
        except UnsupportedElementError as error:
            raise _BadLine(str(error), atom) from error
    return numbers


_number = lru_cache(maxsize=1024)(atomic_number)


def _cell(info: dict[str, Any], vectors: list[str]) -> tuple[Any, Any]:
    """Cell and periodic directions of a frame; they are taken out of its values."""
    if vectors:
        cell = np.zeros((3, 3))
        for k, line in enumerate(vectors):
            words = line.split()
            if words[0] != f"VEC{k + 1}" or len(words) != 4:
                raise ValueError(f"found {short(line.strip())} where VEC{k + 1} x y z was expected")
            cell[k] = [decimal(word) for word in words[1:]]
        return cell, np.arange(3) < len(vectors)
    lattice = info.pop("Lattice", None)
    if "pbc" in info:
        return None if lattice is None else lattice.T, np.broadcast_to(np.asarray(info.pop("pbc"), dtype=bool), 3)
    return (None, _MOLECULE) if lattice is None else (lattice.T, _CRYSTAL)


def _qm9_row(number: int, where: str, frame: XYZFrame) -> Row:
    """A molecule of QM9: Mulliken charges in the fifth column, properties in the second line, ``*^`` in exponents.

    References
    ----------
    Ramakrishnan et al., Sci. Data 1, 140022 (2014), table 2.
    """
    atoms = [line.replace("*^", "e") for line in frame.atoms]
    arrays = _arrays(atoms, _layout(f"{_PLAIN}:mulliken_charges:R:1"))
    _, index, *values = frame.comment.replace("*^", "e").split()
    smiles, inchi = frame.qm9[1].split(), frame.qm9[2].split()
    keys: dict[str, Any] = {"gdb": whole_number(index), **dict(zip(_QM9_KEYS, map(decimal, values)))}
    keys.update(smiles=smiles[0], smiles_relaxed=smiles[-1], inchi=inchi[0], inchi_relaxed=inchi[-1])
    frequencies = np.array([decimal(word.replace("*^", "e")) for word in frame.qm9[0].split()])
    return packed_row(
        number,
        where,
        numbers=_numbers(arrays["symbols"]),
        positions=arrays["positions"],
        cell=None,
        pbc=None,
        initial_charges=None,
        initial_magmoms=None,
        results={},
        keys=keys,
        data={"mulliken_charges": arrays["mulliken_charges"], "frequencies": frequencies},
    )
