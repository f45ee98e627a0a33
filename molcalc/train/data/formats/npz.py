"""Pairs of numpy archives: energies, forces and dipoles (EFD), and electrostatic potentials (ESP)."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from molcalc.errors import DatasetError
from molcalc.properties import CYCLIC, to_voigt
from molcalc.train.data.block import Block, concatenated
from molcalc.train.data.declared_units import manifest_factors
from molcalc.train.data.formats.arrays import TEXTS, arrays_of, block_of, shaped, texts_of
from molcalc.train.data.formats.base import DataFile, damaged
from molcalc.train.data.problems import Problems

CHUNK = 500
SAME_POSITION = 1e-4
"""Å by which the geometries of two files of a pair may differ."""
NAMES = {"R": "positions", "Z": "numbers", "E": "energy", "F": "forces", "D": "dipole", "Dxyz": "dipole",
         "Q": "quadrupole", "vdw_surface": "esp_points"}  # fmt: skip
"""Names of these archives that differ from ours."""
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
_ROUNDING = 1e-9
BUCKINGHAM = 1.5
"""Spectroscopists' quadrupole moment divided by the traceless second moment."""


class NpzFile(DataFile):
    """One archive, or two with the same geometries in the same order.

    Parameters
    ----------
    charges : array that is taken for the charges of atoms ("q_hirshfeld", "q_esp", "q_lowdin", …); others stay what
        they are, values of atoms by their own names. None takes the first of :data:`CHARGES`.
    """

    has_choice_of_charges = True

    def __init__(
        self, path: Path, declared: Mapping[str, str], partner: Path | None = None, charges: str | None = None
    ) -> None:
        super().__init__(path, declared)
        self.partner = partner
        self._charges = charges
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
        has_energy = [path for path, names in contents.items() if "E" in names or "energy" in names]
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
                block = block_of(part, start, {}, self.texts, problems)
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
        self._names = {**NAMES, **self._names_of_charges(arrays)}
        present = {self._names.get(name, name) for name in arrays}
        self.factors = manifest_factors(units, self._names, self.declared, present, self.name)
        return self._ours(arrays, units)

    def _names_of_charges(self, arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
        """What the chosen charges are called from now on, and an array of the same name that was not chosen."""
        chosen = self._charges or next((name for name in CHARGES if name in arrays), None)
        if chosen is None:
            return {}
        if chosen not in arrays:
            shape = arrays["Z"].shape if "Z" in arrays else ()
            like = [name for name, values in arrays.items() if values.shape == shape and name not in ("Z", *_IGNORED)]
            raise DatasetError(f"{self.path}: no charges {chosen!r}; values of atoms: {', '.join(like) or 'none'}")
        if chosen != "charges":
            self.metadata["charges_from"] = chosen
        return {"charges": "other_charges", chosen: "charges"}

    def _ours(self, arrays: dict[str, np.ndarray], units: Mapping[str, str]) -> dict[str, np.ndarray]:
        """Arrays by our names, without those that only describe padding and grids."""
        for name in ("R", "Z"):
            if name not in arrays:
                raise DatasetError(f"{self.path}: there is no array {name!r}")
        rows = len(arrays["Z"])
        found: dict[str, np.ndarray] = {}
        for name, values in arrays.items():
            if name in _IGNORED:
                continue
            if values.ndim == 0 or len(values) != rows:
                raise DatasetError(f"{self.path}: {name} of shape {values.shape} does not have {rows} rows")
            ours = self._names.get(name, name)
            if ours in found:
                raise DatasetError(f"{self.path}: {name} and another array both hold {ours}")
            found[ours] = values
        if arrays["Z"].ndim != 2 or arrays["R"].shape != (*arrays["Z"].shape, 3):
            raise DatasetError(f"{self.path}: R of shape {arrays['R'].shape} and Z of shape {arrays['Z'].shape}")
        if "N" in arrays and not np.array_equal(np.count_nonzero(arrays["Z"], axis=1), arrays["N"].reshape(rows)):
            raise DatasetError(f"{self.path}: N does not count the non-zero entries of Z")
        if "esp" in found and "n_grid" in arrays and (arrays["n_grid"] != found["esp"].shape[1]).any():
            raise DatasetError(
                f"{self.path}: n_grid says that some rows have fewer ESP points than the array; cut them"
            )
        if "quadrupole" in found:
            found["quadrupole"] = _six(found["quadrupole"], units.get("Q", units.get("quadrupole", "")), self.path)
        for name in arrays:
            ours = self._names.get(name, name)
            if ours in found:
                found[ours] = shaped(f"{self.path}: {name}", ours, found[ours], rows, arrays["Z"].shape[1])
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
                rows = np.abs(a - b).reshape(len(a), -1).max(axis=1) > (SAME_POSITION if name == "R" else 0)
                if not rows.any():
                    continue
            where = f"row {int(np.flatnonzero(rows)[0])}" if same else f"shapes {a.shape} and {b.shape}"
            raise DatasetError(
                f"{self.path.name} and {self.partner.name} do not hold the same structures: {name}, {where}"
            )


def _six(values: np.ndarray, unit: str, path: Path) -> np.ndarray:
    """xx, yy, zz, xy, yz, zx of the traceless second moment from matrices in either convention."""
    if values.ndim == 2 and values.shape[1] == 6:
        return values.astype(np.float64)
    if values.ndim == 3 and values.shape[1:] == (3, 3):
        six = to_voigt(values, CYCLIC)
    else:
        raise DatasetError(f"{path}: Q of shape {values.shape}; expected (rows, 3, 3) or (rows, 6)")
    six = six.astype(np.float64)
    if "buckingham" in unit.lower():
        six = six / BUCKINGHAM
    trace = six[:, :3].mean(axis=1, keepdims=True)
    if np.nanmax(np.abs(trace), initial=0.0) > _ROUNDING:
        six[:, :3] -= trace
    return six


def _names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except Exception as error:  # zipfile raises anything for damaged files
        raise damaged(path, error) from error


def _load(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an archive, after a look at what their headers claim."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as stream:
                    _check_header(stream, member, path)
        with np.load(path, allow_pickle=False) as arrays:
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
    if dtype.hasobject:
        raise DatasetError(f"{path}: {member.filename} holds Python objects, which are not read")
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
