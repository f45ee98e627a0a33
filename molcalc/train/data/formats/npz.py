"""Numpy archives of energies, forces and dipoles (EFD) and of electrostatic potentials (ESP), alone or in pairs."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from molcalc.errors import DatasetError, damaged, short
from molcalc.io.budget import budget_of, expansion_message
from molcalc.io.exact_numbers import exact_integers, real_numbers
from molcalc.properties import CYCLIC, to_voigt
from molcalc.train.data.block import Block, concatenated
from molcalc.train.data.declaration import Declaration
from molcalc.train.data.declared_units import manifest_factors
from molcalc.train.data.formats.arrays import (
    TEXTS,
    array_names,
    arrays_of,
    block_of,
    check_names,
    shaped,
    texts_of,
)
from molcalc.train.data.formats.base import DataFile, content_of
from molcalc.train.data.problems import Problems

CHUNK = 500
SAME_POSITION = 1e-4
"""Å by which the geometries of two files of a pair may differ."""
NAMES = {"R": "positions", "Z": "numbers", "E": "energy", "F": "forces", "D": "dipole", "Dxyz": "dipole",
         "vdw_surface": "esp_points"}  # fmt: skip
"""Names of these archives that differ from ours; Q is a quadrupole, or the total charge where it is one number."""
_THEIRS = {"positions": "R", "numbers": "Z", "energy": "E", "forces": "F", "dipole": "D", "quadrupole": "Q",
           "esp_points": "vdw_surface"}  # fmt: skip
"""Names that are written."""
CHARGES = ("charges", "q_hirshfeld", "mono")
"""Arrays that are taken for charges, the first one that is there, if no other is asked for."""
_IGNORED = (
    "units",
    "metadata",
    "N",
    "n_grid",
    "natoms",
    "vdw_grid",
    "grid_dims",
    "grid_origin",
    "grid_axes",
    "espMask",
    "com",
)


@dataclass(frozen=True)
class PublishedArchive:
    """Archives whose makers say what their arrays are.

    Attributes
    ----------
    has : arrays that tell them from others.
    names : our names of their arrays.
    units : of what has a unit, by their names.
    """

    has: frozenset[str]
    names: Mapping[str, str]
    units: Mapping[str, str]


PUBLISHED_ARCHIVES = (
    # Chmiela et al., Sci. Adv. 3, e1603015 (2017), and sGDML.
    PublishedArchive(
        frozenset({"z", "R", "E", "F"}),
        {"z": "numbers"},
        {"R": "Angstrom", "E": "kcal/mol", "F": "kcal/mol/Angstrom"},
    ),
    # Christensen and von Lilienfeld, Mach. Learn.: Sci. Technol. 1, 045018 (2020).
    PublishedArchive(
        frozenset({"nuclear_charges", "coords", "energies", "forces", "old_indices"}),
        {"nuclear_charges": "numbers", "coords": "positions", "energies": "energy"},
        {"coords": "Angstrom", "energies": "kcal/mol", "forces": "kcal/mol/Angstrom"},
    ),
)
"""MD17 and revised MD17."""
_ENERGIES = {"E", "energy", "energies"}
_ROUNDING = 1e-9
_KINDS = "biufcSU"
"""Types of arrays that are read: numbers and texts."""
BUCKINGHAM = 1.5
"""Spectroscopists' quadrupole moment divided by the traceless second moment."""


class NpzFile(DataFile):
    """One archive, or two with the same geometries in the same order.

    Charges of atoms are the array that the user names ("q_hirshfeld", "q_esp", "q_lowdin", …), or the first of
    :data:`CHARGES`; others stay what they are, values of atoms by their own names.
    """

    def __init__(self, path: Path, declared: Declaration, partner: Path | None = None) -> None:
        super().__init__(path, declared)
        self.partner = partner
        self._arrays = self._read()

    @classmethod
    def partners(cls, paths: Sequence[Path]) -> dict[Path, Path]:
        """The archive of ESP that belongs to each of energies: the first to the first, and so on.

        Returns
        -------
        path of the ESP archive by that of the energies

        Raises
        ------
        DatasetError
            When there are ESP archives without partner.
        """
        contents = {path: _names(path) for path in paths}
        has_energy = [path for path, names in contents.items() if not _ENERGIES.isdisjoint(names)]
        only_esp = [path for path, names in contents.items() if path not in has_energy and "esp" in names]
        open_partners = [path for path in has_energy if "esp" not in contents[path]]
        if only_esp and has_energy and len(only_esp) != len(open_partners):
            raise DatasetError(
                f"{len(only_esp)} ESP archives cannot be paired with {len(open_partners)} archives of energies: "
                f"{', '.join(path.name for path in (*open_partners, *only_esp))}"
            )
        return dict(zip(open_partners, only_esp))

    @property
    def files(self) -> list[Path]:
        return [self.path] if self.partner is None else [self.path, self.partner]

    def read(self, problems: Problems) -> Iterator[Block]:
        """All structures in the order of the file."""
        for start in range(0, len(self._arrays["numbers"]), CHUNK):
            part = {name: values[start : start + CHUNK] for name, values in self._arrays.items()}
            try:
                block = block_of(part, start, {}, self.texts, problems, str(self.path))
            except DatasetError:
                raise
            except (ValueError, IndexError) as error:
                raise damaged(self.path, error) from error
            yield block

    @staticmethod
    def write(path: Path, blocks: Iterator[Block], metadata: Mapping[str, Any]) -> int:
        """Write one archive of energies, forces and ESP, filled up to the largest structure."""
        listed = list(blocks)
        if not listed:
            return 0
        whole = concatenated(listed)
        texts = texts_of(whole)
        arrays = arrays_of(whole, whole, texts, int(whole.systems["n_atoms"].max()))
        packed = {_THEIRS.get(name, name): values for name, values in arrays.items()}
        packed["N"] = whole.systems["n_atoms"]
        packed["units"] = np.array(json.dumps({_THEIRS.get(k, k): unit for k, unit in metadata["units"].items()}))
        packed["metadata"] = np.array(json.dumps({**metadata, TEXTS: texts}))
        with open(path, "wb") as handle:
            np.savez_compressed(handle, **packed)  # type: ignore[arg-type]
        return len(whole)

    def _read(self) -> dict[str, np.ndarray]:
        arrays = _load(self.path)
        units = _manifest(arrays, self.path)
        if self.partner is not None:
            other = _load(self.partner)
            units = {**_manifest(other, self.partner), **units}
            self._compare(arrays, other)
            arrays = {**{name: v for name, v in other.items() if name not in arrays}, **arrays}
        self.metadata = _json_entry(arrays, "metadata", self.path)
        self.texts: dict[str, list[str]] = dict(self.metadata.pop(TEXTS, {}))
        if units and "units" not in self.metadata:
            self.metadata["units_of_source"] = units
        published = next(
            (each for each in PUBLISHED_ARCHIVES if each.has <= arrays.keys()), PublishedArchive(frozenset(), {}, {})
        )
        check_names(self.name, self.declared.labels, arrays.keys())
        usual = {**NAMES, **published.names, **self._usual_of_charge(arrays), **self._usual_of_charges(arrays)}
        names = array_names(usual, self.declared.labels)
        present = {names.get(name, name) for name in arrays}
        units = {**published.units, **units}
        self.factors = manifest_factors(units, names, self.declared.units, present, self.name)
        return self._ours(arrays, names, units)

    def _usual_of_charge(self, arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
        """What Q is: total charges have one number for a structure, quadrupoles six or nine."""
        if "Q" not in arrays:
            return {}
        return {"Q": "total_charge" if arrays["Q"].size == len(np.atleast_1d(arrays["Q"])) else "quadrupole"}

    def _usual_of_charges(self, arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
        """Our name of the array of charges, if the user names none."""
        named = self.declared.labels.get("charges")
        chosen = named or next((name for name in CHARGES if name in arrays), None)
        if chosen is not None and chosen != "charges":
            self.metadata["charges_from"] = chosen
        return {} if chosen is None or named else {"charges": "other_charges", chosen: "charges"}

    def _ours(
        self, arrays: dict[str, np.ndarray], names: Mapping[str, str], units: Mapping[str, str]
    ) -> dict[str, np.ndarray]:
        """Arrays by our names, without those that only describe padding and grids."""
        theirs = {names.get(name, name): name for name in arrays if name not in _IGNORED}
        for ours in ("positions", "numbers"):
            if ours not in theirs:
                raise DatasetError(f"{self.path}: there is no array {_THEIRS[ours]!r}")
        for name in theirs.values():
            if arrays[name].ndim == 0 and names.get(name, name) in names.values():
                raise DatasetError(f"{self.path}: {name} is a single value; expected one for every row")
        rows, n_grid = len(arrays[theirs["positions"]]), arrays.get("n_grid")
        found: dict[str, np.ndarray] = {}
        for name, values in arrays.items():
            ours = names.get(name, name)
            if name in _IGNORED:
                continue
            if ours == "numbers" and values.ndim == 1:  # the same atoms in every structure
                values = np.broadcast_to(values, (rows, len(values)))
            if ours in ("esp", "esp_points") and n_grid is not None:
                values = _padded_points(f"{self.path}: {name}", values, n_grid.reshape(-1), 3 if ours != "esp" else 1)
            if ours == "quadrupole":
                values = _six(values, units.get(name, units.get(ours, "")), self.path)
            if values.ndim == 0:
                self.metadata[name] = values.item().decode() if values.dtype.kind == "S" else values.item()
                continue
            if len(values) != rows:
                raise DatasetError(f"{self.path}: {name} of shape {values.shape} does not have {rows} rows")
            if ours in found:
                raise DatasetError(f"{self.path}: {name} and another array both hold {ours}")
            found[ours] = values
        numbers = found["numbers"] = exact_integers(found["numbers"], f"{self.path}: {theirs['numbers']}")
        positions = found["positions"]
        if numbers.ndim != 2 or positions.shape != (*numbers.shape, 3):
            raise DatasetError(
                f"{self.path}: {theirs['positions']} of shape {positions.shape} and {theirs['numbers']} of shape "
                f"{numbers.shape}; expected (rows, n_atoms, 3) and (rows, n_atoms)"
            )
        if "N" in arrays and arrays["N"].size != rows:
            raise DatasetError(f"{self.path}: N of shape {arrays['N'].shape} does not have {rows} entries")
        if "N" in arrays:
            counts = exact_integers(arrays["N"], f"{self.path}: N").reshape(rows)
            if not np.array_equal(np.count_nonzero(numbers, axis=1), counts):
                raise DatasetError(f"{self.path}: N does not count the non-zero entries of {theirs['numbers']}")
        for ours, values in found.items():
            found[ours] = shaped(f"{self.path}: {theirs[ours]}", ours, values, rows, numbers.shape[1])
        return found

    def _compare(self, arrays: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> None:
        """Refuse two files whose rows are not the same structures."""
        assert self.partner is not None
        for name in ("R", "Z", "index"):
            if name not in arrays or name not in other:
                continue
            a, b = arrays[name], other[name]
            same = a.shape == b.shape
            if same:
                a, b = (real_numbers(each, f"{self.path.name} and {self.partner.name}: {name}") for each in (a, b))
                rows = np.abs(a - b).reshape(len(a), -1).max(axis=1) > (SAME_POSITION if name == "R" else 0)
                if not rows.any():
                    continue
            where = f"row {int(np.flatnonzero(rows)[0])}" if same else f"shapes {a.shape} and {b.shape}"
            raise DatasetError(
                f"{self.path.name} and {self.partner.name} do not hold the same structures: {name}, {where}"
            )


def _padded_points(where: str, values: np.ndarray, counts: np.ndarray, width: int) -> np.ndarray:
    """(rows, most points, …) values of points with NaN after those of each row.

    Parameters
    ----------
    values : of all rows one after another, or filled up to any number of points.
    counts : (rows,) points of each row.
    width : numbers per point.
    """
    values, counts = real_numbers(values, where), exact_integers(counts, f"{where}, n_grid")
    if (counts < 0).any():
        raise DatasetError(f"{where}: n_grid counts {int(counts.min())} points of a row")
    most = int(counts.max(initial=0))
    present = np.arange(most) < counts[:, None]
    shape = (*present.shape, 3) if width == 3 else present.shape
    padded = np.full(shape, np.nan)
    if values.size == counts.sum() * width and values.ndim < len(shape):
        padded[present] = values.reshape(-1, *shape[2:])
    elif values.ndim == len(shape) and len(values) == len(counts) and values.shape[1] >= most:
        padded[present] = values[:, :most][present]
    else:
        raise DatasetError(
            f"{where} of shape {values.shape} does not fit n_grid, which counts {counts.sum()} points in {len(counts)} "
            f"rows, at most {most} in one"
        )
    return padded


def _six(values: np.ndarray, unit: str, path: Path) -> np.ndarray:
    """xx, yy, zz, xy, yz, zx of the traceless second moment from matrices in either convention."""
    values = real_numbers(values, f"{path}: Q")
    if values.ndim == 2 and values.shape[1] == 6:
        return values
    if values.ndim == 3 and values.shape[1:] == (3, 3):
        six = to_voigt(values, CYCLIC)
    else:
        raise DatasetError(f"{path}: Q of shape {values.shape}; expected (rows, 3, 3) or (rows, 6)")
    if "buckingham" in unit.lower():
        six = six / BUCKINGHAM
    trace = six[:, :3].mean(axis=1, keepdims=True)
    if np.nanmax(np.abs(trace), initial=0.0) > _ROUNDING:
        six[:, :3] -= trace
    return six


def _names(path: Path) -> list[str]:
    content = content_of(path)
    try:
        with zipfile.ZipFile(content) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except Exception as error:  # zipfile raises anything for damaged files
        raise damaged(path, error) from error


def _load(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an archive, after a look at what their headers claim."""
    content = content_of(path)
    try:
        with zipfile.ZipFile(content) as archive:
            claimed, size = sum(member.file_size for member in archive.infolist()), content.stat().st_size
            if claimed > budget_of(size):
                raise DatasetError(expansion_message(str(path), claimed, size))
            for member in archive.infolist():
                with archive.open(member) as stream:
                    _check_header(stream, member, path)
        with np.load(content, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except DatasetError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise anything for damaged files
        raise damaged(path, error) from error


def _check_header(stream: Any, member: zipfile.ZipInfo, path: Path) -> None:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    claimed = int(np.prod(np.array(shape, dtype=object))) * dtype.itemsize if shape else dtype.itemsize
    if dtype.kind not in _KINDS:
        what = "Python objects" if dtype.hasobject else f"values of type {short(str(dtype))}"
        raise DatasetError(f"{path}: {member.filename} holds {what}, which are not read")
    if claimed > member.file_size:
        raise DatasetError(
            f"{path}: {member.filename} claims {claimed} bytes (shape {shape}) of the {member.file_size} it has"
        )


def _manifest(arrays: dict[str, np.ndarray], path: Path) -> dict[str, str]:
    """The entry ``units``: a JSON text of units by name of array."""
    return {str(name): str(unit) for name, unit in _json_entry(arrays, "units", path).items()}


def _json_entry(arrays: dict[str, np.ndarray], name: str, path: Path) -> dict[str, Any]:
    if name not in arrays:
        return {}
    try:
        found = json.loads(str(arrays[name]))
    except ValueError as error:
        raise DatasetError(f"{path}: the entry {name} is not a JSON text: {error}") from error
    if not isinstance(found, dict):
        raise DatasetError(f"{path}: the entry {name} is not a mapping")
    return found
