"""Packed arrays on disk: written column by column, verified and memory-mapped when opened.

A store is a folder of raw little-endian arrays and ``index.json``, which holds their types, shapes and checksums, a
checksum of its own, and the digest of what it was made from. A store is written under another name and renamed at the
end, so that a reader never sees half of one.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from molcalc.errors import DatasetError, ResourceError, short
from molcalc.io.seals import sealed, unsealed
from molcalc.properties import LABELS
from molcalc.state import STATE_KEYS
from molcalc.train.data.block import Block

FORMAT = 2
INDEX = "index.json"
KEPT_TEXTS = 1000
"""Different values of a key that are kept as text; of more only the hashes stay, which is enough to tell them apart."""
VERIFIED_AT_ONCE = 1 << 24
_FILL_ROWS = 1 << 16

_SYSTEMS = {
    "total_charge": ("<f8", ()), "multiplicity": ("<i8", ()), "fidelity": ("<i8", ()), "cell": ("<f8", (3, 3)),
    "pbc": ("|b1", (3,)), "source": ("<i4", ()), "row": ("<i8", ()),
}  # fmt: skip
_ATOMS = {"numbers": ("<i4", ()), "positions": ("<f8", (3,))}
_DTYPES = ("<f8", "<i8", "<i4", "|b1")
"""Of all columns."""
_FILE = re.compile(r"\d{3,}\.bin")
"""Names of their files."""
_NOT_CONTENT = ("source", "row")
"""Columns that say where a row came from, not what it is."""


class _Column:
    """One growing array in a file."""

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...], fill: float) -> None:
        self.path, self.dtype, self.shape, self.fill = path, dtype, shape, fill
        self.rows = self.crc = 0
        self.digest = hashlib.blake2b(digest_size=16)
        self.handle: BinaryIO = open(path, "wb")  # noqa: SIM115

    def append(self, values: np.ndarray) -> None:
        data = np.ascontiguousarray(values, dtype=self.dtype).reshape(len(values), *self.shape)
        view = data.reshape(-1).view(np.uint8).data
        self.handle.write(view)
        self.crc = zlib.crc32(view, self.crc)
        self.digest.update(view)
        self.rows += len(data)

    def pad(self, rows: int) -> None:
        """Fill up to a number of rows."""
        while self.rows < rows:
            self.append(np.full((min(rows - self.rows, _FILL_ROWS), *self.shape), self.fill))

    def finish(self) -> dict[str, Any]:
        self.handle.flush()
        os.fsync(self.handle.fileno())
        self.handle.close()
        return {"file": self.path.name, "dtype": self.dtype, "shape": [self.rows, *self.shape], "crc32": self.crc}


class StoreWriter:
    """Writes blocks into a new folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.n_systems = self.n_atoms = self.n_points = 0
        self._columns: dict[str, _Column] = {}
        self._texts: dict[str, dict[str, str]] = {}
        folder.mkdir(parents=True)
        self._column("offsets", "<i8", (), 0).append(np.zeros(1))

    def append(self, block: Block, source: int) -> None:
        """Add the rows of a block that come from one source."""
        n = len(block)
        if n == 0:
            return
        systems = {**block.systems, "source": np.full(n, source)}
        ends = self.n_atoms + np.cumsum(systems.pop("n_atoms"))
        self._column("offsets", "<i8", (), 0).append(ends)
        for name, (dtype, shape) in _SYSTEMS.items():
            self._column(name, dtype, shape, 0).append(systems[name])
        for name, (dtype, shape) in _ATOMS.items():
            self._column(name, dtype, shape, 0).append(block.atoms[name])
        total = {"system": self.n_systems, "atom": self.n_atoms}
        added = {"system": n, "atom": len(block.atoms["numbers"])}
        values = {**systems, **block.atoms}
        for name, label in LABELS.items():
            if label.kind != "point":
                self._optional(name, values.get(name), total[label.kind], added[label.kind], label.shape)
        if "weight" in systems or "weight" in self._columns:
            weights = self._column("weight", "<f8", (), 1.0)
            weights.pad(self.n_systems)
            weights.append(systems.get("weight", np.ones(n)))
        self._points(block, n)
        for name, column in block.keys.items():
            if name not in STATE_KEYS:  # they have columns of their own
                self._key(name, column)
        self.n_systems += n
        self.n_atoms += added["atom"]

    def finish(self, extra: Mapping[str, Any]) -> None:
        """Complete all columns and write the index; ``extra`` is stored with it."""
        described, digests = {}, {}
        for name, column in self._columns.items():
            if name.startswith("key:") or name == "weight":
                column.pad(self.n_systems)
            elif name == "esp_offsets":
                self._pad_points()
            elif name in LABELS and LABELS[name].kind != "point":
                column.pad(self.n_systems if LABELS[name].kind == "system" else self.n_atoms)
            described[name] = column.finish()
            if name not in _NOT_CONTENT and not name.startswith("key:"):
                digests[name] = column.digest.hexdigest()
        content = json.dumps([extra["fidelities"], sorted(digests.items())]).encode()
        index = {
            "format": FORMAT,
            "hash": hashlib.blake2b(content, digest_size=16).hexdigest(),
            "columns": described,
            "texts": {name: found for name, found in self._texts.items() if len(found) <= KEPT_TEXTS},
            **extra,
        }
        with open(self.folder / INDEX, "w", encoding="utf-8") as handle:
            json.dump(sealed(json.loads(json.dumps(index))), handle)  # keys as they are read
            handle.flush()
            os.fsync(handle.fileno())

    def close(self) -> None:
        """Close all files, whatever their state."""
        for column in self._columns.values():
            column.handle.close()

    def _column(self, name: str, dtype: str, shape: tuple[int, ...], fill: float) -> _Column:
        if name not in self._columns:
            path = self.folder / f"{len(self._columns):03d}.bin"
            self._columns[name] = _Column(path, dtype, shape, fill)
        return self._columns[name]

    def _optional(self, name: str, values: Any, before: int, added: int, shape: tuple[int, ...]) -> None:
        """A column that need not be there: missing parts are NaN, and it begins where it is first seen."""
        if values is None and name not in self._columns:
            return
        if values is not None and name not in self._columns and np.isnan(values).all():
            return
        column = self._column(name, "<f8", shape, np.nan)
        column.pad(before)
        if values is None:
            column.pad(before + added)
        else:
            column.append(values)

    def _points(self, block: Block, n: int) -> None:
        if "n_points" in block.systems:
            self._column("esp_offsets", "<i8", (), 0)
            self._pad_points()
            self._columns["esp_offsets"].append(self.n_points + np.cumsum(block.systems["n_points"]))
            self._column("esp_points", "<f8", (3,), 0).append(block.points["esp_points"])
            self._column("esp", "<f8", (), 0).append(block.points["esp"])
            self.n_points += len(block.points["esp"])

    def _pad_points(self) -> None:
        """Structures without points so far begin and end at the present number of points."""
        column = self._columns["esp_offsets"]
        column.fill = self.n_points
        column.pad(self.n_systems + 1)

    def _key(self, name: str, values: list[Any]) -> None:
        column = self._column(f"key:{name}", "<i8", (), 0)
        column.pad(self.n_systems)
        codes = codes_of(values)
        known = self._texts.setdefault(name, {})
        if len(known) <= KEPT_TEXTS:
            _, first = np.unique(codes, return_index=True)
            for k in first[: KEPT_TEXTS + 1].tolist():
                if values[k] is not None:
                    known[str(codes[k])] = text_of(values[k])
        column.append(codes)


def text_of(value: Any) -> str:
    """Text of the value of a key; numbers that are equal have equal texts."""
    if not isinstance(value, (int, float)):
        return str(value)
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def codes_of(values: Sequence[Any]) -> np.ndarray:
    """(n,) int64 that stand for values of a key: equal for equal values, 0 for None."""
    if set(map(type, values)) <= {int, float, bool}:
        bits = (np.array(values, dtype=np.float64) + 0.0).view(np.int64)
        return bits ^ _NUMBER
    plain = [value if isinstance(value, (str, int, float, type(None))) else repr(value) for value in values]
    codes = {value: _code(value) for value in set(plain)}
    return np.array([codes[value] for value in plain], dtype=np.int64)


def _code(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, str):
        return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest(), "little", signed=True) or 1
    return int(codes_of([float(value)])[0])


_NUMBER = np.int64(0x5BF03635DCD1F867)
"""Keeps the codes of numbers away from 0."""


@dataclass(frozen=True)
class Store:
    """Arrays of a folder by name, and what its index says."""

    folder: Path
    index: dict[str, Any]
    arrays: dict[str, np.ndarray]


def load_store(folder: Path, verify: bool = True) -> Store:
    """Open a store read-only, whose folder has the name of the digest that it was made from.

    Parameters
    ----------
    verify : compare the checksums of all arrays.

    Returns
    -------
    store whose arrays are mapped from their files

    Raises
    ------
    DatasetError
        When the folder is damaged, or was made from something else.
    """
    try:
        index = unsealed(json.loads((folder / INDEX).read_text(encoding="utf-8")))
        if index["format"] != FORMAT or index["key"] != folder.name:
            raise ValueError(f"it was made from other files, or by another version of molcalc ({short(index['key'])})")
        arrays = {name: _map(folder, name, described, verify) for name, described in index["columns"].items()}
        _check_offsets(arrays)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(f"the cache {folder} is damaged: {short(str(error))}") from error
    return Store(folder, index, arrays)


def _check_offsets(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse structures that begin or end outside of the atoms and points that there are."""
    for name, column in (("offsets", "numbers"), ("esp_offsets", "esp")):
        if name in arrays:
            offsets, end = arrays[name], len(arrays.get(column, ()))
            if offsets[0] != 0 or offsets[-1] != end or (np.diff(offsets) < 0).any():
                raise ValueError(f"{name} do not fit {end} rows of {column}")


def _map(folder: Path, name: str, described: Mapping[str, Any], verify: bool) -> np.ndarray:
    """An array of a file of the folder itself, of a type that a store has."""
    if not _FILE.fullmatch(described["file"]) or described["dtype"] not in _DTYPES:
        raise ValueError(f"{name} is {short(described['dtype'])} in {short(described['file'])}")
    path = folder / described["file"]
    if path.is_symlink():
        raise ValueError(f"{path.name} is a link")
    shape, dtype = tuple(described["shape"]), np.dtype(described["dtype"])
    expected = math.prod(shape) * dtype.itemsize
    if path.stat().st_size != expected:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, not {expected}")
    if verify:
        crc = 0
        with open(path, "rb") as handle:
            while part := handle.read(VERIFIED_AT_ONCE):
                crc = zlib.crc32(part, crc)
        if crc != described["crc32"]:
            raise ValueError(f"{path.name} fails its checksum")
    if expected == 0:
        return np.empty(shape, dtype=dtype)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", shape=shape))


def publish(temporary: Path, folder: Path) -> None:
    """Give a finished folder its name; one that another process finished meanwhile stays.

    Raises
    ------
    ResourceError
    """
    try:
        os.rename(temporary, folder)
    except OSError as error:
        if not (folder / INDEX).is_file():
            raise ResourceError(f"cannot write {folder}: {error.strerror or error}") from error
        shutil.rmtree(temporary, ignore_errors=True)
