"""Damage of files: bits that flip, files that end early, blocks of zeros, and changes that somebody might have made."""

from __future__ import annotations

import json
import random
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

TEXTS = (
    "",
    "nan",
    "inf",
    "-1",
    "0",
    "1e400",
    "7.9999998",
    "999999999",
    "4294967304",
    "null",
    "[1]",
    "{",
    "é",
    "\x1b[2J",
    "a" * 300,
)
"""What a careless program, or a careful enemy, may put where a number or a name is expected."""
_TEXT = {".json", ".xyz", ".vasp", ".cif", ".sdf", ".mol2", ".pdb", ".com", ".gen", ".yaml", ".csv"}
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 7.9999998, 1e400, float("nan"), 2**32 + 8, 10**30, "", "x", "é", [], {}, [1, 2], [[1]]),
    {"a": 1}, {"__ndarray__": [[900000000], "float64", [0]]}, {"__complex__": [1, 2]},
)  # fmt: skip


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Bytes after an accident: one flipped bit, a truncation, or a block of zeros."""
    place = chance.randrange(len(data))
    kind = chance.choice(("flip", "flip", "truncate", "zeros"))
    if kind == "truncate":
        return data[:place]
    if kind == "zeros":
        size = min(chance.choice((8, 64, 512, 4096)), len(data) - place)
        return data[:place] + bytes(size) + data[place + size :]
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def mutate(path: Path, chance: random.Random) -> None:
    """Change a file so that it is still of its kind at first sight."""
    structured = _STRUCTURED.get(path.suffix)
    if structured is not None and chance.random() < 0.7:
        structured(path, chance)
        return
    data = path.read_bytes()
    for _ in range(chance.choice((1, 1, 2, 4))):
        data = _changed_text(data, chance) if path.suffix in _TEXT else _changed_bytes(data, chance)
    path.write_bytes(data)


def _changed_bytes(data: bytes, chance: random.Random) -> bytes:
    if not data or chance.random() < 0.5:
        return damaged(data or b"\0", chance)
    place, size = chance.randrange(len(data)), chance.randrange(1, 33)
    piece = data[place : place + size]
    other = chance.choice((b"", piece * 3, chance.randbytes(size), b"\xff" * size))
    return data[:place] + other + data[place + size :]


def _changed_text(data: bytes, chance: random.Random) -> bytes:
    kind = chance.choice(("word", "word", "word", "line", "bytes"))
    if kind == "bytes":
        return _changed_bytes(data, chance)
    if kind == "line":
        lines = data.splitlines(keepends=True) or [b""]
        place = chance.randrange(len(lines))
        lines[place : place + 1] = chance.choice(([], lines[place : place + 1] * 2, [chance.choice(lines)], [b"\n"]))
        return b"".join(lines)
    words = list(re.finditer(rb"[\w.+-]+", data))
    if not words:
        return data + b"1"
    word = chance.choice(words)
    other = chance.choice((*(text.encode() for text in TEXTS), chance.choice(words)[0]))
    return data[: word.start()] + other + data[word.end() :]


def _json(path: Path, chance: random.Random) -> None:
    found = json.loads(path.read_text(encoding="utf-8"))
    places = list(_places(found))
    parent, key = chance.choice(places)
    if chance.random() < 0.2 and isinstance(parent, dict):
        del parent[key]
    else:
        parent[key] = chance.choice(ODD_VALUES)
    path.write_text(json.dumps(found), encoding="utf-8")


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a JSON value and key in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in items for found in ((value, key), *_places(inner))]


def _sqlite(path: Path, chance: random.Random) -> None:
    with closing(sqlite3.connect(path)) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = chance.choice([*tables, "systems", "systems", "systems"])
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        column, odd = (
            chance.choice(columns),
            chance.choice((*TEXTS, None, 0, -1, 2**62, 0.5, b"", b"\0" * 7, bytes(72))),
        )
        old = chance.choice(list(database.execute(f"SELECT {column} FROM {table} LIMIT 5")) or [("",)])[0]
        if isinstance(old, bytes) and chance.random() < 0.5:
            odd = _changed_bytes(old, chance)
        elif isinstance(old, str) and chance.random() < 0.7:
            odd = _changed_text(old.encode(), chance).decode(errors="replace")
        statement = f"UPDATE OR IGNORE {table} SET {column} = ? WHERE rowid = (SELECT min(rowid) FROM {table})"
        if chance.random() < 0.05 and not table.startswith("sqlite_"):  # which nobody can alter
            database.execute(
                chance.choice((f"DROP TABLE {table}", f"ALTER TABLE {table} RENAME COLUMN {column} TO other"))
            )
        else:
            with suppress(sqlite3.IntegrityError):  # numbers of rows are nothing else
                database.execute(statement, (odd,))
        database.commit()


def _odd_array(value: np.ndarray, chance: random.Random) -> np.ndarray:
    changes: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
        lambda v: v[..., :-1] if v.ndim else v, lambda v: v[None], lambda v: v.reshape(-1), lambda v: v.reshape(-1)[:0],
        lambda v: v.astype("c16"), lambda v: v.astype("f2"), lambda v: v.astype("S5"), lambda v: v.astype("U5"),
        lambda v: v.astype(bool), lambda v: v.astype("f8") * np.nan, lambda v: v.astype("f8") + 1e-7,
        lambda v: v.astype("f8") * -1, lambda v: v.astype("i8") + 2**32, lambda v: v.astype(">f4"),
        lambda v: np.repeat(v, 2, axis=0) if v.ndim else v, lambda v: v.astype("f8") * 1e300, lambda v: np.asarray("x"),
        lambda v: v.astype([("a", "f8")]), lambda v: v.astype("M8[s]"),
    )  # fmt: skip
    with np.errstate(all="ignore"):
        return chance.choice(changes)(value)


def _npz(path: Path, chance: random.Random) -> None:
    with np.load(path) as archive:
        arrays = dict(archive)
    name = chance.choice(sorted(arrays))
    try:
        arrays[name] = _odd_array(arrays[name], chance)
    except (ValueError, TypeError):
        del arrays[name]
    np.savez(path, **arrays)


def _hdf5(path: Path, chance: random.Random) -> None:
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name = chance.choice(names)
        value = file[name][()]
        attributes = dict(file[name].attrs)
        del file[name]
        try:
            file[name] = _odd_array(np.asarray(value), chance)
        except (ValueError, TypeError):
            file.create_group(name)
        for key, attribute in attributes.items():
            file[name].attrs[key] = chance.choice((attribute, attribute, "x", 3))


_STRUCTURED: dict[str, Callable[[Path, random.Random], None]] = {
    ".json": _json, ".db": _sqlite, ".npz": _npz, ".h5": _hdf5,
}  # fmt: skip


def copied(source: Path, target: Path) -> Path:
    """A file or folder copied to a place where nothing is left of what was there."""
    if target.is_dir():
        shutil.rmtree(target)
    (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    return target
