"""SQLite files whose writer was killed: rolled back before they are read, and cleared away before they are replaced.

A writer of SQLite keeps old pages in ``NAME-journal``, or new ones in ``NAME-wal``, until its transaction is complete.
Who opens the file next and may write it undoes or completes what a killed one left. What only reads cannot; and a new
file in place of the old one would be taken for it, and overwritten with its pages.
"""

from __future__ import annotations

import functools
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from molcalc.errors import DatasetError, InputError, InUseError, MolcalcError, ResourceError, damaged

COMPANIONS = ("-journal", "-wal", "-shm")
"""Endings of what SQLite keeps beside a file while it is written."""
_MAGIC = b"SQLite format 3\0"
_WRITE_AHEAD = 2
"""Version in bytes 18 and 19 of a file that is written ahead: it cannot be opened without files beside it."""
_MAX_SCHEMA = 1000
"""Tables and indices of a database; ASE makes a dozen, and two for each key of its own."""
_STORAGE = ("is full", "disk I/O error", "readonly database", "unable to open")
"""Words of SQLite about the disk; its codes are known to newer versions of Python only."""
SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises; the second in place of the first, where its message quotes what is no text in a damaged file."""
WAIT = 20.0
"""Seconds to wait for another program that writes the file."""


def recovered(path: Path) -> Path:
    """The file itself after what a killed writer left is rolled back; a copy of it where nothing can be written.

    Returns
    -------
    path to read from; a copy lives as long as the process

    Raises
    ------
    InUseError
        When another program is writing it for longer than WAIT.
    DatasetError
        When it cannot be rolled back; says how. When something else is in the place of what SQLite keeps beside it.
    ResourceError
        When the copy cannot be written.
    """
    real = Path(os.path.realpath(path))  # SQLite keeps its files beside what a link points to
    if strange := _no_files(real):
        raise DatasetError(f"{path}: {strange.name} is in the place of a file of SQLite and no file: remove it")
    left = [file for file in _companions(real) if file.stat().st_size]
    may_write = os.access(real, os.W_OK) and os.access(real.parent, os.W_OK)
    if not left and (may_write or not _is_write_ahead(path)):
        return path
    if not _is_sqlite(path):  # its reader says so
        return path
    if may_write:
        _open_once(real, path)
        return path
    state = tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in (real, *left))
    return Path(_copy(real, state).name, real.name)


def refuse_programs(path: Path) -> None:
    """Refuse a database whose tables are computed while they are read: by views, triggers, modules or expressions.

    A view is read like a table and need not end; none of them is what ASE writes.

    Raises
    ------
    DatasetError
    """
    try:
        with closing(sqlite3.connect(f"{uri_of(path)}?mode=ro", uri=True, timeout=WAIT)) as connection:
            # What is no UTF-8 must not end the search: a comment would hide a view.
            connection.text_factory = lambda text: text.decode(errors="replace")
            listed = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchmany(_MAX_SCHEMA + 1)
            tables = [name for kind, name, _ in listed if kind == "table"]
            computed = {
                name: row[1]
                for name in tables
                for row in connection.execute("SELECT * FROM pragma_table_xinfo(?)", (name,))
                if row[6]  # hidden: generated, or of a module
            }
    except SQLITE_ERRORS:
        return  # damaged, or no database: whoever reads it says so
    if len(listed) > _MAX_SCHEMA:
        raise DatasetError(f"{path} has more than {_MAX_SCHEMA} tables and indices, and is no database of ASE")
    for kind, name, sql in listed:
        if kind not in ("table", "index") or str(sql or "").upper().startswith("CREATE VIRTUAL") or name in computed:
            what = (
                f"the column {computed[name]!r} of {name!r} is computed"
                if name in computed
                else f"{name!r} is a {kind}"
            )
            raise DatasetError(f"{path}: {what}, which is not read: copy the rows into a database of tables")


def clear_away(path: Path, new: Path) -> None:
    """Make way for a new database: nothing of the old one may be taken for a part of it.

    Parameters
    ----------
    path : old file, if there is one.
    new : file that is going to take its place.

    Raises
    ------
    InUseError
        When another program is writing the old one.
    InputError
        When something in the way is no file.
    """
    if _is_sqlite(new) and (strange := _no_files(path)):
        raise InputError(f"{path}: {strange.name} is in the place of a file of SQLite and no file: remove it")
    if not _companions(path) or not _is_sqlite(new):
        return
    if _is_sqlite(path):
        try:
            with closing(_connected(path, timeout=1.0)) as connection:
                connection.execute("PRAGMA journal_mode = DELETE").fetchall()
                connection.execute("BEGIN EXCLUSIVE")
                connection.rollback()
        except SQLITE_ERRORS as error:
            if is_busy(error):
                raise InUseError(f"{path} is being written by another program: wait for it") from error
    for file in _companions(path):
        file.unlink(missing_ok=True)


def failure_of_sqlite(path: Path, error: Exception) -> MolcalcError:
    """What hindered a change of a database: the disk, another program, or damage."""
    if any(words in str(error) for words in _STORAGE):
        return ResourceError(f"cannot write {path}: {error}; it stays as it was")
    if is_busy(error):
        return InUseError(f"{path} is being written by another program: wait for it")
    return damaged(path, error)


def is_busy(error: Exception) -> bool:
    """Whether another program holds the file."""
    return "is locked" in str(error)


def uri_of(path: Path) -> str:
    """Name of a file as SQLite takes it together with options; it may have bytes that are no text."""
    return f"file:{quote(os.fsencode(path.absolute()))}"


def _companions(path: Path) -> list[Path]:
    beside = [path.with_name(path.name + ending) for ending in COMPANIONS]
    return [file for file in beside if file.is_file()]


def _no_files(path: Path) -> Path | None:
    """What is beside a database in the place of a file of SQLite: a pipe makes SQLite wait for ever."""
    beside = (path.with_name(path.name + ending) for ending in COMPANIONS)
    return next((each for each in beside if each.exists() and not each.is_file()), None)


def _connected(path: Path, timeout: float) -> sqlite3.Connection:
    return sqlite3.connect(f"{uri_of(path)}?mode=rw", uri=True, timeout=timeout, isolation_level=None)


def _open_once(path: Path, named: Path) -> None:
    """Open a file for writing, which rolls back what is to be rolled back."""
    try:
        with closing(_connected(path, WAIT)) as connection:
            connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except SQLITE_ERRORS as error:
        if is_busy(error):
            raise InUseError(f"{named} is being written by another program: wait for it") from error
        left = " and ".join(file.name for file in _companions(path))
        if not left:  # it is damaged in itself, as its reader will say
            return
        raise DatasetError(
            f"{named}: its writer was killed, and what it left ({left}) cannot be rolled back: {error}; open it as "
            "somebody who may read and write all of them (sqlite3 FILE 'PRAGMA integrity_check'), or take another copy"
        ) from error


@functools.lru_cache(maxsize=16)
def _copy(path: Path, state: tuple[tuple[str, int, int], ...]) -> tempfile.TemporaryDirectory[str]:
    """Folder of a copy that is rolled back; another state of the files gets another one."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="molcalc-")
        for file in (path, *_companions(path)):
            if not file.name.endswith("-shm"):
                shutil.copyfile(file, Path(folder.name, file.name))
    except OSError as error:
        raise ResourceError(
            f"{path}: its folder cannot be written, and a copy that can be opened neither ({error.strerror or error}): "
            "set TMPDIR to a folder with space"
        ) from error
    changed = [name for name, *seen in state if [Path(name).stat().st_mtime_ns, Path(name).stat().st_size] != seen]
    if changed:
        raise InUseError(f"{changed[0]} is being written by another program: wait for it")
    _open_once(Path(folder.name, path.name), path)
    return folder


def _is_sqlite(path: Path) -> bool:
    return _head(path)[: len(_MAGIC)] == _MAGIC


def _is_write_ahead(path: Path) -> bool:
    head = _head(path)
    return head[: len(_MAGIC)] == _MAGIC and head[18] == _WRITE_AHEAD


def _head(path: Path) -> bytes:
    with suppress(OSError), open(path, "rb") as handle:
        head = handle.read(20)
        return head if len(head) == 20 else b""
    return b""
