"""Reading whole files, and writing them so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import lzma
import os
import re
import shutil
import sqlite3
import stat
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TextIO

from molcalc.errors import CheckpointCorruptError, CheckpointError, InputError, InUseError, MolcalcError, ResourceError
from molcalc.io.compressed import OPENERS, open_compressed
from molcalc.io.locks import lock_file, only_writer
from molcalc.io.sqlite import COMPANIONS, clear_away

MAX_FILE = 1 << 33
"""Bytes; more than any model has."""
FOLDER_LOCK_WAIT = 30.0
"""Seconds to wait for another process that writes the same folder."""
FOLDER_LOCK = ".saving.lock"
"""Lock file of who writes the files of a folder together."""
_TEMPORARY = re.compile(r"(\.?)\.\d+-\d+\.tmp\.(?P<target>.+)|\..+\.\d+-\d+\.tmp")
"""Names of temporary files, and of their locks; the second form was written before versions kept the ending."""
_OLD_TEMPORARY = re.compile(r"\.\d+-(?P<target>.+)")
"""As still older versions named them; too little to tell them from other files, except beside their target."""
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)
"""What reading a damaged text file, compressed or not, may raise."""
COMPRESSED = tuple(OPENERS)
"""Endings of compressed files that are read."""
_WAITING: ContextVar[dict[Path, Replacement] | None] = ContextVar("waiting", default=None)
"""Files that are going to take their names together, by name."""
_COMPANIONS = ("", *COMPANIONS, "-lock", ".lock")
"""Endings of a temporary file and of what databases put beside it."""


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def read_file(path: Path, limit: int = MAX_FILE) -> bytes:
    """Content of a model file.

    Parameters
    ----------
    limit : bytes; a larger file is refused before it is read.

    Returns
    -------
    all bytes of the file

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    CheckpointCorruptError
        When it is larger than ``limit``.
    CheckpointError
        When it cannot be read, for example for lack of permission.
    ResourceError
        When it does not fit into memory.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise CheckpointError(f"{path} is not a regular file")
        with open(path, "rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            if size > limit:
                raise CheckpointCorruptError(f"{path} has {size} bytes; at most {limit} are expected")
            return handle.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    except MemoryError as error:
        raise ResourceError(f"{path} has {size} bytes and does not fit into memory") from error


class Replacement:
    """New version of a file: beside it and under a name of its own, until it takes the place of the file.

    Parameters
    ----------
    path : file to be replaced; it need not be there.

    Attributes
    ----------
    temporary : name to write to, of a file that does not exist; in the same folder and with the same ending.

    Raises
    ------
    InUseError, ResourceError
        As :func:`~molcalc.io.locks.only_writer`.
    """

    def __init__(self, path: Path) -> None:
        remove_leftovers(path)
        self.path = path
        self.temporary = _temporary_beside(path)
        self._owned = contextlib.ExitStack()
        # The wait is for those who look whether a lock that has just been made is a leftover.
        self._owned.enter_context(only_writer(path, lock=lock_file(self.temporary), wait=FOLDER_LOCK_WAIT))

    def flush(self) -> None:
        """Flush it to disk.

        Raises
        ------
        OSError
        """
        with open(self.temporary, "rb+") as handle:
            os.fsync(handle.fileno())

    def take_place(self) -> None:
        """Let it be the file, when it is flushed to disk.

        Raises
        ------
        OSError
        InUseError
            When another program is writing the old one.
        """
        clear_away(self.path, self.temporary)
        os.replace(self.temporary, self.path)
        sync_directory(self.path.parent)

    def close(self) -> None:
        """Delete it, unless it has taken its place, and what is beside it."""
        _remove(self.temporary)
        self._owned.close()


@contextlib.contextmanager
def replacing(path: Path, size: int | None = None) -> Iterator[Path]:
    """Name of a temporary file, which takes the place of a file in one step when the block ends well.

    It is in the same folder and has the same ending. It is flushed to disk before it is renamed. In a block of
    :func:`together` the renaming waits for its end.

    Parameters
    ----------
    size : bytes of the content where they are known, for the error.

    Returns
    -------
    The name to write to, of a file that does not exist.

    Raises
    ------
    ResourceError
        When the disk is full or not writable; the temporary file is removed, as after any other error, and an old file
        stays.
    """
    waiting = _WAITING.get()
    try:
        with contextlib.ExitStack() as owned:
            new = owned.enter_context(contextlib.closing(Replacement(path)))
            yield new.temporary
            new.flush()
            if waiting is None:
                new.take_place()
            else:
                owned.pop_all()
                waiting[path] = new
    except (OSError, sqlite3.OperationalError) as error:
        content = "" if size is None else f" ({size} bytes)"
        raise ResourceError(f"cannot write {path}{content}: {storage_reason(error)}") from error


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Let the files that :func:`replacing` writes in the block take their names when it ends well, and none before.

    In a block within another, they wait for the end of the other one. All are flushed to disk before the first is
    renamed: what can fail between two of them is the renaming itself.

    Raises
    ------
    ResourceError
        When one cannot take its name.
    """
    outer, files = _WAITING.get(), dict[Path, Replacement]()
    token = _WAITING.set(files)
    try:
        yield
        if outer is None:
            for path, new in files.items():
                try:
                    new.take_place()
                except OSError as error:
                    raise ResourceError(f"cannot write {path}: {storage_reason(error)}") from error
        else:
            outer.update(files)
            files = {}
    finally:
        _WAITING.reset(token)
        for new in files.values():
            new.close()


def place_of(path: Path) -> Path:
    """Where the content of a file is now, which may wait to take its name (:func:`together`)."""
    waiting = (_WAITING.get() or {}).get(path)
    return path if waiting is None else waiting.temporary


def make_parents(path: Path) -> None:
    """Make the folders that a new file or folder is to be in.

    Raises
    ------
    ResourceError
        When they cannot be made; names the file that is in the way of one.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        other = next((each for each in path.parents if os.path.lexists(each) and not os.path.isdir(each)), None)
        reason = storage_reason(error) if other is None else f"{other} is no folder; choose another name"
        raise ResourceError(f"cannot write {path}: {reason}") from error


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Name of a folder to fill with files, which becomes a new one in one step when the block ends well.

    What killed runs left of the same folder is removed. Files in it are flushed to disk by who writes them.

    Returns
    -------
    The folder to fill, beside the new one.

    Raises
    ------
    InUseError
        When another process is making the same folder.
    ResourceError
        When something is there in the meantime, or the disk is full or not writable; nothing is left then, as after any
        other error.
    """
    make_parents(path)  # for the lock, which is beside it
    with only_writer(path):
        for name in _names_in(path.parent):
            if (found := _TEMPORARY.fullmatch(name)) and found["target"] == path.name:
                shutil.rmtree(path.with_name(name), ignore_errors=True)
        temporary = _temporary_beside(path)
        try:
            temporary.mkdir()
            yield temporary
            os.rename(temporary, path)
            sync_directory(path.parent)
        except OSError as error:
            raise ResourceError(f"cannot write {path}: {storage_reason(error)}") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_flushed(path: Path, data: bytes) -> None:
    """Write a file that nobody reads before all of its folder is there, and flush it to disk.

    Raises
    ------
    OSError
    """
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


class NewFile(io.BufferedWriter):
    """New binary file that tells of every error of the disk, also of arrays.

    It has no ``fileno``: numpy writes arrays past Python where there is one, and loses the errors.

    Parameters
    ----------
    path : of the file, which must not be there.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "x"))

    def fileno(self) -> int:
        raise io.UnsupportedOperation("whoever writes to the number of this file loses errors of the disk")


def storage_reason(error: OSError | sqlite3.OperationalError) -> str:
    """What hindered a write, in the words of the system or of SQLite."""
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)


def _temporary_beside(path: Path) -> Path:
    """Name of what becomes a file or folder, in the same place and with the same ending, for this thread alone."""
    return path.with_name(f".{os.getpid()}-{threading.get_ident()}.tmp.{path.name}")


def _remove(temporary: Path) -> None:
    """Delete a temporary file, and what databases put beside it."""
    for ending in _COMPANIONS:
        with contextlib.suppress(OSError):
            temporary.with_name(temporary.name + ending).unlink(missing_ok=True)


def check_regular(path: Path, error: type[MolcalcError] = InputError) -> None:
    """Refuse to read from what may never end, or to wait for who never writes.

    Parameters
    ----------
    error : class of the error.

    Raises
    ------
    InputError
        Or ``error``: when there is a pipe, socket or device.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise error(f"{path} is a pipe, socket or device; give the name of a file")


def open_text(path: Path) -> TextIO:
    """A file as UTF-8 text without a byte order mark, decompressed if its name says that it is compressed."""
    if path.suffix.lower() in OPENERS:
        return io.TextIOWrapper(open_compressed(path), encoding="utf-8-sig")
    return open(path, encoding="utf-8-sig")


def decompressed(path: Path) -> Path:
    """The file itself, or a decompressed copy of it that lives as long as the process.

    Returns
    -------
    path to read from

    Raises
    ------
    ResourceError
        When the copy cannot be written.
    OSError, EOFError, zlib.error, lzma.LZMAError
        When the file is damaged, as :data:`UNREADABLE` lists.
    """
    if path.suffix.lower() not in OPENERS:
        return path
    status = path.stat()
    return Path(_copy_of(path.absolute(), status.st_mtime_ns, status.st_size).name, path.stem)


@functools.lru_cache(maxsize=64)
def _copy_of(path: Path, modified: int, size: int) -> tempfile.TemporaryDirectory[str]:
    """Folder of a decompressed copy; another version of the file gets another one."""
    folder = tempfile.TemporaryDirectory(prefix="molcalc-")
    with open_compressed(path) as source, open(Path(folder.name, path.stem), "wb") as target:
        shutil.copyfileobj(source, target)
    return folder


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file in one step, see :func:`replacing`.

    Raises
    ------
    ResourceError
        When the disk is full or not writable; an old file stays.
    """
    with replacing(path, len(data)) as temporary:
        temporary.write_bytes(data)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is what a writer that was killed left behind."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_leftovers(target: Path) -> None:
    """Delete what killed writers of a file left beside it; what somebody is writing stays."""
    names = {target.name + ending for ending in _COMPANIONS}
    for name in _names_in(target.parent):
        found = _TEMPORARY.fullmatch(name)
        if found and found["target"] in names:
            _remove_unowned(target.with_name(name))
        elif (old := _OLD_TEMPORARY.fullmatch(name)) and old["target"] in names:
            with contextlib.suppress(OSError):
                target.with_name(name).unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Delete what killed writers left in a folder; what somebody is writing stays."""
    for name in _names_in(folder):
        if is_temporary(name):
            _remove_unowned(folder / name)


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # the writer will say what is wrong with it
        return []


def _remove_unowned(path: Path) -> None:
    """Delete a temporary file, what belongs to one, or its lock file, unless somebody is writing it."""
    name = path.name[1:].removesuffix(".lock") if path.name.startswith("..") else path.name
    owners = {name, *(name.removesuffix(ending) for ending in _COMPANIONS)}
    with contextlib.suppress(InUseError, ResourceError), contextlib.ExitStack() as held:
        for owner in sorted(owners):
            held.enter_context(only_writer(path.with_name(owner)))
        _remove(path.with_name(name))


def sync_directory(path: Path) -> None:
    """Flush a folder's list of files to disk."""
    if sys.platform == "win32":  # folders cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep other writers of its files from a folder, after a wait for the one that is there.

    Raises
    ------
    InUseError
        When another process holds the folder for longer than FOLDER_LOCK_WAIT.
    ResourceError
        When the folder cannot be written.
    """
    with only_writer(folder, wait=FOLDER_LOCK_WAIT, lock=folder / FOLDER_LOCK):
        yield
