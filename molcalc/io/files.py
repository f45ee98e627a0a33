"""Reading whole files, and writing them so that a reader never sees half of one."""

from __future__ import annotations

import bz2
import contextlib
import errno
import functools
import gzip
import hashlib
import lzma
import os
import re
import shutil
import stat
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from molcalc.errors import CheckpointCorruptError, CheckpointError, ResourceError

MAX_FILE = 1 << 33
"""Bytes; more than any model has."""
FOLDER_LOCK_WAIT = 30.0
"""Seconds to wait for another process that writes the same folder."""
_TEMPORARY = re.compile(r"\.\d+-\d+\.tmp\..+|\..+\.\d+-\d+\.tmp")
"""Names of temporary files; the second form was written before versions kept the ending."""
_OPENERS: Mapping[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)
"""What reading a damaged text file, compressed or not, may raise."""
COMPRESSED = tuple(_OPENERS)
"""Endings of compressed files that are read."""
_COMPANIONS = ("", "-journal", "-wal", "-shm", "-lock")
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


@contextlib.contextmanager
def replacing(path: Path, size: int | None = None) -> Iterator[Path]:
    """Name of a temporary file, which takes the place of a file in one step when the block ends well.

    It is in the same folder and has the same ending. It is flushed to disk before it is renamed.

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
    temporary = path.with_name(f".{os.getpid()}-{threading.get_ident()}.tmp.{path.name}")
    try:
        yield temporary
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        sync_directory(path.parent)
    except OSError as error:
        content = "" if size is None else f" ({size} bytes)"
        raise ResourceError(f"cannot write {path}{content}: {error.strerror or error}") from error
    finally:
        for ending in _COMPANIONS:
            with contextlib.suppress(OSError):
                temporary.with_name(temporary.name + ending).unlink(missing_ok=True)


def open_text(path: Path) -> TextIO:
    """A file as UTF-8 text, decompressed if its name says that it is compressed."""
    opened: TextIO = _OPENERS.get(path.suffix.lower(), open)(path, "rt", encoding="utf-8")
    return opened


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
    if path.suffix.lower() not in _OPENERS:
        return path
    status = path.stat()
    return Path(_copy_of(path.absolute(), status.st_mtime_ns, status.st_size).name, path.stem)


@functools.lru_cache(maxsize=64)
def _copy_of(path: Path, modified: int, size: int) -> tempfile.TemporaryDirectory[str]:
    """Folder of a decompressed copy; another version of the file gets another one."""
    folder = tempfile.TemporaryDirectory(prefix="molcalc-")
    with _OPENERS[path.suffix.lower()](path, "rb") as source, open(Path(folder.name, path.stem), "wb") as target:
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


def remove_temporaries(folder: Path) -> None:
    """Delete what writers that were killed left behind; call it under :func:`exclusive`."""
    for path in folder.iterdir():
        if is_temporary(path.name):
            path.unlink(missing_ok=True)


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
    """Keep other processes from writing a folder; the lock ends with the process, however it dies.

    File systems without locks do without.

    Raises
    ------
    ResourceError
        When another process holds the folder for longer than FOLDER_LOCK_WAIT.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + FOLDER_LOCK_WAIT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    break
            if time.monotonic() > end:
                raise ResourceError(f"another process has been writing {folder} for more than {FOLDER_LOCK_WAIT:.0f} s")
            time.sleep(0.01)
        yield
    finally:
        os.close(handle)
