"""Files that hold structures with results: each kind of file is a module with one class, and a line in a table."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from molcalc.errors import DatasetError
from molcalc.io.files import COMPRESSED, check_regular
from molcalc.train.data.declaration import Declaration
from molcalc.train.data.formats.base import DataFile


class Format(NamedTuple):
    """Words for a kind of file, and where its class is."""

    title: str
    module: str
    class_name: str

    def load(self) -> type[DataFile]:
        """The class that reads and writes files of this kind."""
        found: type[DataFile] = getattr(import_module(f"{__name__}.{self.module}"), self.class_name)
        return found


_XYZ = Format("extended XYZ", "extxyz", "ExtendedXYZ")
_HDF5 = Format("HDF5, grouped by size", "hdf5", "HDF5File")
FORMATS = {
    ".db": Format("ASE database (SQLite)", "sqlite", "SQLiteDatabase"),
    ".json": Format("ASE database (JSON)", "json_database", "JSONDatabase"),
    ".aselmdb": Format("ASE database (LMDB)", "database", "Database"),
    ".xyz": _XYZ,
    ".extxyz": _XYZ,
    ".traj": Format("ASE trajectory", "trajectory", "Trajectory"),
    ".h5": _HDF5,
    ".hdf5": _HDF5,
    ".npz": Format("numpy archives of energies and forces, and of ESP", "npz", "NpzFile"),
}
"""Kinds of files by suffix; others, and compressed ones, are read as well."""
_OTHERS = Format("any other file that ASE reads", "ase_file", "AseFile")


def open_files(paths: Sequence[Path], declared: Declaration) -> list[DataFile]:
    """Readers of files, chosen by their suffixes; files that belong together share one.

    Parameters
    ----------
    declared : what the user says of units and names of labels.

    Returns
    -------
    Opened files, in the order of the paths, without those that are the second of a pair.

    Raises
    ------
    DatasetError
        When a file does not exist, is empty, a pipe or device, or of no known kind.
    """
    kinds = {path: _kind_of(path) for path in paths}
    partners = {
        path: partner
        for kind in dict.fromkeys(kinds.values())
        for path, partner in kind.partners([path for path in paths if kinds[path] is kind]).items()
    }
    opened = []
    for path in paths:
        options: dict[str, Any] = {"partner": partners[path]} if path in partners else {}
        if path not in partners.values():
            opened.append(kinds[path](path, declared, **options))
    return opened


def _kind_of(path: Path) -> type[DataFile]:
    if not path.exists():
        raise DatasetError(f"there is no file {path}")
    check_regular(path, DatasetError)
    if path.is_file() and path.stat().st_size == 0:
        raise DatasetError(f"{path} is empty")
    plain = Path(path.stem) if path.suffix.lower() in COMPRESSED else path
    return FORMATS.get(plain.suffix.lower(), _OTHERS).load().kind_of(path)
