"""ASE databases in LMDB files: checked before they are mapped into memory, and without lock files beside them."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from molcalc.errors import DatasetError, reason_of
from molcalc.io.budget import budget_of, expansion_message
from molcalc.io.lmdb_file import check_sound, lmdb_packages

_ADDRESSES = 1 << 41
"""Bytes that a file may grow to; LMDB maps them when it begins to write."""
_PIECE = 1 << 20
"""Bytes of an entry that are unpacked at once, to be counted."""
_MOST_PACKED = 1032
"""Bytes that zlib can make of one, at most."""


def read_lmdb(path: Path) -> Any:
    """Database of ASE in a sound file, to be read.

    Returns
    -------
    database

    Raises
    ------
    ValueError, OSError
        When it is damaged, or no LMDB file.
    DatasetError
        When an entry unpacks to more than the budget of the file.
    MissingPackageError
        Without the packages ase-db-backends and lmdb.
    """
    check_sound(path)
    made = _database_class()
    with errors_of_the_system():
        database = made(path.absolute(), use_lock_file=False, readonly=True)
        _check_entries(database, path)
    return database


def new_lmdb(path: Path) -> Any:
    """New database of ASE, in a file that nobody else knows.

    Returns
    -------
    database, to be closed

    Raises
    ------
    OSError
        When the disk is full or not writable, or there are not enough addresses.
    MissingPackageError
        Without the packages ase-db-backends and lmdb.
    """
    made = _database_class()
    with errors_of_the_system():
        return made(path.absolute(), use_lock_file=False)


def _check_entries(database: Any, path: Path) -> None:
    """Refuse a file of which an entry, which ASE unpacks at once, is larger than the budget of all of it."""
    size = path.stat().st_size
    budget = budget_of(size)
    with database.env.begin(buffers=True) as reading:
        for key, value in reading.cursor():
            if len(value) * _MOST_PACKED > budget and (unpacked := _unpacked(value, budget)) > budget:
                raise DatasetError(expansion_message(f"{path}, entry {bytes(key)[:20]!r},", unpacked, size))


def _unpacked(value: Any, most: int) -> int:
    """Bytes that an entry unpacks to, counted to a little more than ``most``."""
    unpacking, total, rest = zlib.decompressobj(), 0, bytes(value)
    while rest and total <= most:
        try:
            total += len(unpacking.decompress(rest, _PIECE))
        except zlib.error:  # not packed; whoever reads it says so
            return total
        rest = unpacking.unconsumed_tail
    return total


@contextlib.contextmanager
def errors_of_the_system() -> Iterator[None]:
    """Raise OSError, as Python does, in place of LMDB's own errors."""
    import lmdb

    try:
        yield
    except lmdb.Error as error:
        reason = reason_of(error)
        addresses = os.strerror(errno.ENOMEM) in reason
        raise OSError(
            f"{reason} (LMDB maps two terabytes of addresses, see ulimit -v)" if addresses else reason
        ) from error


@functools.cache
def _database_class() -> type[Any]:
    """Class of ASE's databases in LMDB files, with files of its own kind."""
    with lmdb_packages():
        import lmdb
        from ase_db_backends.aselmdb import LMDBDatabase

    class CheckedDatabase(LMDBDatabase):
        """Database without a lock file, which LMDB maps: on a full disk that ends the process.

        Its rows are those that it has, not those that it counts.
        """

        def _open_lmdb_env(self) -> None:
            size = {} if self.readonly else {"map_size": _ADDRESSES}
            self._env = lmdb.open(str(self.filename), subdir=False, readonly=self.readonly, lock=False, **size)
            self._env_pid = os.getpid()

        def _load_ids(self) -> None:
            with self.env.begin() as reading:
                self.ids = sorted(int(key) for key in reading.cursor().iternext(values=False) if key.isdigit())
            self.deleted_ids: set[int] = set()

        def close(self) -> None:
            """Close the file, if it was opened: ASE would open it for that."""
            if self._env is not None:
                self._env.close()

    return CheckedDatabase
