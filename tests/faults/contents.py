"""What is in files that commands write, without what differs between two runs of one command: times and identifiers."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import zipfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase.db import connect
from ase.io import read

from molcalc.io import checkpoint
from molcalc.io.checkpoint import CONFIG, WEIGHTS

CACHE = ".molcalc_cache"
STAGED = ".new"
"""Ending of files of a model directory that replace others as a group; what is left of them is completed by readers."""
_PASSING = ("ctime", "mtime", "unique_id", "user", "username", "created", "date")
_ARRAYS = ("positions", "cell", "forces", "stress", "dipole", "charges", "magmoms", "initial_charges")
"""Columns of databases that hold numbers in double precision."""
_SEEN_ONLY = {
    "report.html",
    "report.md",
    "training_state.pt",
    "training.yaml",
    "history.jsonl",
    "config.json",
    "weights.safetensors",
    "comparison.html",
    "comparison.json",
    "comparison.md",
    "efficiency.png",
}
"""Files of a folder that have times or checksums of files with times; that they are there is looked at."""


def all_in(folder: Path) -> set[str]:
    """Names of all files in a folder and the folders in it, hidden ones too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def names_in(folder: Path) -> set[str]:
    """Names of all files in a folder, the dataset cache and staged files of models left out."""
    names = all_in(folder)
    return {name for name in names if not name.startswith(CACHE) and not name.endswith(STAGED)}


def digests(folder: Path, names: set[str]) -> dict[str, str]:
    """SHA-256 of files."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def contents(path: Path) -> Any:
    """Content of a file or folder as numbers and text.

    Returns
    -------
    None where there is nothing; nested dictionaries, lists, arrays and texts otherwise
    """
    if path.is_dir():
        files = {file.name: contents(file) for file in sorted(path.glob("[!.]*")) if not file.name.endswith(STAGED)}
        return {**files, **_model(path)} if CONFIG in files else files
    if not path.exists():
        return None
    if path.name in _SEEN_ONLY:
        return "there"
    return _READERS.get(path.name, _READERS.get(path.suffix, _bytes))(path)


def difference(one: Any, two: Any, within: float, place: str = "") -> str | None:
    """Where two contents differ by more than a tolerance, in words; None where they do not."""
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        if one.keys() != two.keys():
            return f"{place}: {sorted(map(str, one.keys() ^ two.keys()))}"
        parts = [(str(key), one[key], two[key]) for key in one]
    elif isinstance(one, list | tuple) and isinstance(two, list | tuple):
        if len(one) != len(two):
            return f"{place}: {len(one)} and {len(two)} entries"
        parts = [(str(k), a, b) for k, (a, b) in enumerate(zip(one, two))]
    elif isinstance(one, float | np.ndarray | np.generic) and isinstance(two, float | int | np.ndarray | np.generic):
        a, b = np.asarray(one), np.asarray(two)
        same = a.shape == b.shape and (
            np.allclose(a, b, rtol=0, atol=within, equal_nan=True) if a.dtype.kind in "fc" else np.array_equal(a, b)
        )
        return None if same else f"{place}: {one} and {two}"[:300]
    else:
        return None if one == two else f"{place}: {one!r} and {two!r}"[:300]
    return next((found for key, a, b in parts if (found := difference(a, b, within, f"{place}/{key}"))), None)


def _model(folder: Path) -> dict[str, Any]:
    """Weights as a reader finds them, which completes a group of files that was not moved to its place."""
    model = checkpoint.load(folder)
    arguments = json.loads(json.dumps(model.config.arguments, default=str))
    return {WEIGHTS: {key: value.numpy() for key, value in model.weights.items()}, "arguments": arguments}


def _bytes(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _text(path: Path) -> list[Any]:
    """Lines, with numbers as numbers."""
    return [
        [_value(word) for word in re.split(r"[,\s]+", line)] for line in path.read_text(encoding="utf-8").splitlines()
    ]


def _value(word: str) -> float | str:
    try:
        return float(word)
    except ValueError:
        return word


def _without_passing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_passing(v) for key, v in value.items() if key not in _PASSING}
    return [_without_passing(v) for v in value] if isinstance(value, list) else value


def _sqlite(path: Path) -> Any:
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",), f"{path} is damaged"
        database.row_factory = sqlite3.Row
        found = {}
        for table in ("systems", "number_key_values", "text_key_values", "keys"):
            rows = [_numbers(dict(row)) for row in database.execute(f"SELECT * FROM {table}")]
            found[table] = sorted((_without_passing(row) for row in rows), key=repr)
        return found


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a database with arrays in place of their bytes."""
    bytes_of_arrays = {key: value for key in _ARRAYS if isinstance(value := row.get(key), bytes)}
    return row | {key: np.frombuffer(value) for key, value in bytes_of_arrays.items()}


def _json(path: Path) -> Any:
    return _without_passing(json.loads(path.read_text(encoding="utf-8")))


def _hdf5(path: Path) -> Any:
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: _hdf5_item(item)}))
        found["/"] = _hdf5_item(file)
    return found


def _hdf5_item(item: Any) -> Any:
    attributes = {key: np.asarray(value).tolist() for key, value in item.attrs.items() if key not in _PASSING}
    return {**attributes, "value": item[()].tolist() if isinstance(item, h5py.Dataset) else None}


def _npz(path: Path) -> Any:
    with np.load(path) as arrays:
        return {name: arrays[name].tolist() for name in arrays.files}


def _frames(path: Path) -> Any:
    frames = read(path, ":")
    return [
        {
            **frame.arrays,
            "cell": frame.cell.array,
            "info": dict(frame.info),
            "results": dict(frame.calc.results) if frame.calc else {},
        }
        for frame in frames
    ]


def _lmdb(path: Path) -> Any:
    with connect(path, readonly=True, use_lock_file=False) as database:
        return [{**row.toatoms().arrays, **row.key_value_pairs} for row in database.select()]


def _archive(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return {info.filename.partition("/")[2]: info.CRC for info in archive.infolist()}


def _history(path: Path) -> Any:
    names, *rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    kept = [k for k, name in enumerate(names) if not re.search("second|time|memory|per_s", name)]
    return [[names[k] for k in kept], *([_value(row[k]) for k in kept] for row in rows)]


_READERS: dict[str, Callable[[Path], Any]] = {
    ".db": _sqlite, ".json": _json, ".h5": _hdf5, ".npz": _npz, ".traj": _frames, ".xyz": _frames, ".aselmdb": _lmdb,
    "history.csv": _history, ".jpt": _archive, ".csv": _text, ".log": _text, ".yaml": _text,
}  # fmt: skip
