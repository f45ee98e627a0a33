"""HDF5 files with one group per number of atoms."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from molcalc.errors import DatasetError, damaged
from molcalc.io.files import decompressed
from molcalc.io.hdf5_target import HDF5Target
from molcalc.properties import LABELS
from molcalc.train.data.block import Block, concatenated
from molcalc.train.data.declaration import Declaration
from molcalc.train.data.declared_units import manifest_factors
from molcalc.train.data.formats.arrays import (
    TEXTS,
    array_names,
    arrays_of,
    block_of,
    check_names,
    check_shape,
    texts_of,
)
from molcalc.train.data.formats.base import DataFile
from molcalc.train.data.formats.hdf5_members import dataset_shape, member, open_hdf5
from molcalc.train.data.problems import SHOWN, Problems

log = logging.getLogger(__name__)

CHUNK = 2000
GROUP_SHIFT = 40
"""A row number is the number of atoms of its group, times 2 to this power, plus its place in the group."""
NAMES = {"coord": "positions"}
"""Names of these files that differ from ours."""
_THEIRS = {ours: theirs for theirs, ours in NAMES.items()}


class HDF5File(DataFile):
    """Groups named after their number of atoms, each with row-aligned arrays.

    Units come from the JSON text ``attrs["units"]`` or from the user.
    """

    word = "group/row"

    def __init__(self, path: Path, declared: Declaration) -> None:
        super().__init__(path, declared)
        self.names = array_names(NAMES, declared.labels)
        try:
            with open_hdf5(self.content, self.path) as file:
                self.metadata = _attributes(file)
                self.texts: dict[str, list[str]] = dict(self.metadata.pop(TEXTS, {}))
                self.groups = self._check(file)
            self.factors = self._factors(file_units=self.metadata.get("units"))
        except DatasetError:
            raise
        except Exception as error:  # HDF5 raises anything for damaged files
            raise damaged(path, error) from error

    @classmethod
    def kind_of(cls, path: Path) -> type[DataFile]:
        """This class, or that for published data sets of one group per molecule."""
        from molcalc.train.data.formats.molecule_groups import MoleculeGroups, layout_of

        try:
            with open_hdf5(decompressed(path), path) as file:
                return cls if layout_of(file) is None else MoleculeGroups
        except DatasetError:
            raise
        except Exception as error:  # HDF5 raises anything for damaged files
            raise damaged(path, error) from error

    def read(self, problems: Problems) -> Iterator[Block]:
        """All structures, by their number of atoms."""
        try:
            yield from self._blocks(problems)
        except DatasetError:
            raise
        except Exception as error:  # HDF5 raises anything for damaged files
            raise damaged(self.path, error) from error

    def _blocks(self, problems: Problems) -> Iterator[Block]:
        with open_hdf5(self.content, self.path) as file:
            for n_atoms, name in self.groups:
                group = file[name]
                total = group["coord"].shape[0]
                for start in range(0, total, CHUNK):
                    arrays = {key: self._read(group, key, slice(start, start + CHUNK)) for key in group}
                    first = (n_atoms << GROUP_SHIFT) + start
                    yield block_of(arrays, first, self.names, self.texts, problems, f"{self.path}: {name}")

    @staticmethod
    def write(path: Path, blocks: Iterator[Block], metadata: Mapping[str, Any]) -> int:
        """Write row-aligned arrays by number of atoms, compressed, with checksums."""
        import h5py

        listed = list(blocks)
        if not listed:
            return 0
        whole = concatenated(listed)
        texts = texts_of(whole)
        units = {_THEIRS.get(name, name): unit for name, unit in metadata["units"].items()}
        with HDF5Target(path) as target, h5py.File(target, "w") as file:
            for name, value in {**metadata, "units": units, TEXTS: texts}.items():
                file.attrs[name] = value if isinstance(value, (str, int, float)) else json.dumps(value)
            sizes = whole.systems["n_atoms"]
            for n_atoms in np.unique(sizes).tolist():
                group = file.create_group(f"{n_atoms:03d}")
                for name, values in arrays_of(whole.only(sizes == n_atoms), whole, texts, n_atoms).items():
                    named = _THEIRS.get(name, name)
                    group.create_dataset(named, data=values, compression="gzip", shuffle=True, fletcher32=True)
                    target.check()
        target.check()
        return len(whole)

    def row_label(self, row: int) -> str:
        return f"{row >> GROUP_SHIFT:03d}/{row & ((1 << GROUP_SHIFT) - 1)}"

    def _read(self, group: Any, key: str, rows: slice) -> np.ndarray:
        try:
            return np.asarray(group[key][rows])
        except OSError as error:
            raise DatasetError(f"{self.path}: {group.name}/{key} is damaged: {error}") from error

    def _check(self, file: Any) -> list[tuple[int, str]]:
        """Group names with their number of atoms, after a look at every data set in them."""
        import h5py

        found = []
        keys: dict[str, set[str]] = {}
        size = self.content.stat().st_size
        for name in file:
            group = member(file, name, self.path)
            if not isinstance(group, h5py.Group):
                raise DatasetError(f"{self.path}: {name!r} is no group: arrays belong into groups by number of atoms")
            if not name.isdecimal() or int(name) == 0:
                raise DatasetError(f"{self.path}: group {name!r} is not named after its number of atoms (7 or 007)")
            shapes = {}
            for key in group:
                shapes[key] = dataset_shape(group, key, self.path, size)
            for key in ("coord", "numbers"):
                if key not in shapes:
                    raise DatasetError(f"{self.path}: group {name} has no data set {key!r}")
            rows = shapes["coord"][0] if shapes["coord"] else 0
            wrong = [key for key, shape in shapes.items() if not shape or shape[0] != rows]
            if wrong or rows == 0:
                raise DatasetError(f"{self.path}: {name}/{(wrong or ['coord'])[0]} has no or too few of {rows} rows")
            if shapes["coord"] != (rows, int(name), 3) or shapes["numbers"] != (rows, int(name)):
                raise DatasetError(
                    f"{self.path}: {name}/coord of shape {shapes['coord']} and {name}/numbers of shape "
                    f"{shapes['numbers']} do not fit {rows} structures of {int(name)} atoms"
                )
            for key, shape in shapes.items():
                check_shape(f"{self.path}: {name}/{key}", self.names.get(key, key), shape, rows, int(name))
            keys[name] = set(shapes)
            found.append((int(name), name))
        if not found:
            raise DatasetError(f"{self.path} holds no groups")
        check_names(self.name, self.declared.labels, set().union(*keys.values()))
        self._compare_keys(keys)
        return sorted(found)

    def _compare_keys(self, keys: Mapping[str, set[str]]) -> None:
        """Report labels that only some groups have."""
        for key in sorted(set().union(*keys.values()) & set(LABELS)):
            without = sorted(name for name, own in keys.items() if key not in own)
            if without:
                log.warning(
                    "%s: group %s has no data set %r, while others have; this label is missing there",
                    self.path, ", ".join(without[:SHOWN]) + (", …" if len(without) > SHOWN else ""), key,
                )  # fmt: skip

    def _factors(self, file_units: Any) -> dict[str, float]:
        units = {} if not isinstance(file_units, dict) else {str(k): str(v) for k, v in file_units.items()}
        with open_hdf5(self.content, self.path) as file:
            present = {self.names.get(key, key) for _, name in self.groups for key in file[name]}
        return manifest_factors(units, self.names, self.declared.units, present, self.name)


def _attributes(file: Any) -> dict[str, Any]:
    """Attributes of the file; JSON texts are decoded."""
    found: dict[str, Any] = {}
    for name, value in file.attrs.items():
        plain = value.item() if isinstance(value, np.generic) else value
        if isinstance(plain, bytes):
            plain = plain.decode(errors="replace")
        if isinstance(plain, str) and plain[:1] in "{[":
            with contextlib.suppress(ValueError):
                plain = json.loads(plain)
        if isinstance(plain, (str, int, float, list, dict)):
            found[str(name)] = plain
    return found
