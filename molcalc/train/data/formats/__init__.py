"""Files that hold structures with results: each kind of file is a module with one class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from molcalc.errors import DatasetError
from molcalc.train.data.formats.base import Source

SUFFIXES = {
    ".db": "ASE database (SQLite)",
    ".json": "ASE database (JSON)",
    ".aselmdb": "ASE database (LMDB)",
    ".xyz": "extended XYZ",
    ".extxyz": "extended XYZ",
    ".traj": "ASE trajectory",
    ".h5": "HDF5, grouped by size",
    ".hdf5": "HDF5, grouped by size",
    ".npz": "numpy archives of energies and forces, and of ESP",
}


def open_source(
    path: Path, declared: Mapping[str, str], partner: Path | None = None, charges: str | None = None
) -> Source:
    """The reader of a file, chosen by its suffix.

    Parameters
    ----------
    declared : units given by the user, by name of label.
    partner : the ESP archive that belongs to an npz file.
    charges : array of an npz file that is taken for charges; None for the usual one.

    Raises
    ------
    DatasetError
        When the file does not exist, is empty, or is of no known kind.
    """
    if not path.exists():
        raise DatasetError(f"there is no file {path}")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        listed = ", ".join(f"{name} ({what})" for name, what in SUFFIXES.items())
        raise DatasetError(f"{path}: files that can be read are {listed}")
    if path.is_file() and path.stat().st_size == 0:
        raise DatasetError(f"{path} is empty")
    if charges is not None and suffix != ".npz":
        raise DatasetError(
            f"{path}: charges={charges!r} chooses an array of npz archives; leave it out for {suffix} files"
        )
    if suffix == ".db":
        from molcalc.train.data.formats.sqlite import SQLiteSource

        return SQLiteSource(path, declared)
    if suffix in (".json", ".aselmdb"):
        from molcalc.train.data.formats.asedb import DatabaseSource

        return DatabaseSource(path, declared)
    if suffix in (".xyz", ".extxyz"):
        from molcalc.train.data.formats.extxyz import XYZSource

        return XYZSource(path, declared)
    if suffix == ".traj":
        from molcalc.train.data.formats.trajectory import TrajectorySource

        return TrajectorySource(path, declared)
    if suffix == ".npz":
        from molcalc.train.data.formats.npz import NpzSource

        return NpzSource(path, declared, partner, charges)
    from molcalc.train.data.formats.hdf5 import HDF5Source

    return HDF5Source(path, declared)
