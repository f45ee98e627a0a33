"""ASE databases in LMDB files: checked before they are mapped into memory, and without lock files beside them."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from molcalc.errors import reason_of
from molcalc.io.lmdb_file import check_sound, lmdb_packages

_ADDRESSES = 1 << 41
"""Bytes that a file may grow to; LMDB maps them when it begins to write."""


def read_lmdb(path: Path) -> Any:
    """Database of ASE in a sound file, to be read.

    Returns
    -------
    database

    Raises
    ------
    ValueError, OSError
        When it is damaged, or no LMDB file.
    MissingPackageError
        Without the packages ase-db-backends and lmdb.
    """
    check_sound(path)
    made = _database_class()
    with errors_of_the_system():
        return made(path.absolute(), use_lock_file=False, readonly=True)


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
