"""Files of structures by their ending, each written in one step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from molcalc.errors import DatasetError
from molcalc.io.files import replacing
from molcalc.train.data.frames import Frame


def write_target(path: Path, frames: Iterator[Frame], metadata: dict[str, Any]) -> int:
    """Write all frames and return their number; the target appears when it is complete.

    Raises
    ------
    DatasetError
        When there are no frames, or the file cannot hold what they carry.
    ResourceError
        When the disk is full or not writable.
    """
    writer = _writer(path.suffix.lower())
    with replacing(path) as temporary:
        count = writer(temporary, frames, metadata)
        if count == 0:
            raise DatasetError(f"{path}: the sources hold no structures")
    return int(count)


def _writer(suffix: str) -> Any:
    if suffix in (".db", ".aselmdb"):
        return write_database
    if suffix == ".json":
        return write_json
    if suffix in (".h5", ".hdf5"):
        from molcalc.train.data.array_targets import write_hdf5

        return write_hdf5
    if suffix == ".npz":
        from molcalc.train.data.array_targets import write_npz

        return write_npz
    return write_trajectory if suffix == ".traj" else write_xyz


def write_database(path: Path, frames: Iterator[Frame], metadata: dict[str, Any]) -> int:
    """An ASE database, in one transaction."""
    from ase.db import connect

    count = 0
    try:
        options = {} if path.suffix == ".aselmdb" else {"use_lock_file": False}
        database = connect(str(path.absolute()), **options)
    except ImportError as error:
        raise DatasetError(f"{path.name}: this kind of database needs the package ase-db-backends ({error})") from error
    with database:
        for count, frame in enumerate(frames, start=1):
            write_row(database, frame, count)
        if count:
            database.metadata = metadata
    return count


def write_row(database: Any, frame: Frame, number: int) -> int:
    """Write one frame and return the id of its row.

    Raises
    ------
    DatasetError
        When ASE does not accept a key.
    """
    try:
        return int(database.write(frame.atoms(), key_value_pairs=frame.all_keys(), data=frame.all_data()))
    except ValueError as error:
        raise DatasetError(f"structure {number}: an ASE database does not take this: {error}") from error


def write_json(path: Path, frames: Iterator[Frame], metadata: dict[str, Any]) -> int:
    """An ASE database as JSON text; ASE's own writer would write the whole file again for every row."""
    from ase.db.row import AtomsRow
    from ase.io.jsonio import encode

    count = 0
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("{")
        for frame in frames:
            count += 1
            row = AtomsRow(frame.atoms())
            values = {name: value for name, value in vars(row).items() if not name.startswith("_")}
            values.update(ctime=_now(), mtime=_now(), user="", key_value_pairs=frame.all_keys())
            if data := frame.all_data():
                values["data"] = data
            listed = ",\n ".join(f'"{name}": {encode(value)}' for name, value in sorted(values.items()))
            stream.write(f'"{count}": {{\n {listed}}},\n')
        ids = list(range(1, count + 1))
        stream.write(f'"metadata": {encode(metadata)},\n"ids": {ids},\n"nextid": {count + 1}}}\n')
    return count


def _now() -> float:
    from ase.db.core import now

    return float(now())


def write_xyz(path: Path, frames: Iterator[Frame], metadata: dict[str, Any]) -> int:
    """Extended XYZ, with eight decimals; charge, keys and data stand in the comment line of each frame."""
    from ase.io.extxyz import write_xyz as write

    with open(path, "w", encoding="utf-8") as stream:
        return sum(write(stream, [_with_info(frame)]) is None for frame in frames)


def write_trajectory(path: Path, frames: Iterator[Frame], metadata: dict[str, Any]) -> int:
    """ASE trajectory; charge, keys and data stand in the info of each frame."""
    from ase.io.trajectory import TrajectoryWriter

    with TrajectoryWriter(path, "w") as writer:
        writer.set_description({"metadata": _json_ready(metadata)})
        return sum(writer.write(_with_info(frame)) is None for frame in frames)


def _with_info(frame: Frame) -> Atoms:
    atoms = frame.atoms()
    atoms.info.update({**frame.all_keys(), **frame.all_data()})
    return atoms


def _json_ready(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_ready(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
