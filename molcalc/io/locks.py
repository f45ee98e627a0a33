"""Locks: one writer of a file or folder at a time, across processes, containers and machines.

The lock of ``NAME`` is the file ``.NAME.lock`` beside it, which is there as long as somebody writes. Where the file
system has locks (flock; Linux carries them to the server of a shared folder) they decide, and end with their process,
however it dies. Elsewhere the lock file itself decides: it says who made it (host, start of the machine, container,
process and its start), so that the lock of a process of this machine that has died is taken over, and that of any other
stays until somebody deletes it. A process number alone never decides: containers all have the same ones, and they come
back.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

from molcalc.errors import InUseError, ResourceError

_HELD = (errno.EAGAIN, errno.EACCES)
"""Errors of flock that mean that another holds the lock; others, that the file system has none."""
_PAUSE = 0.02
"""Seconds between two tries for a lock."""
_BEGIN = '{"host"'
"""Of what is in lock files; some writers were killed early, and versions before this one wrote a process number."""
_MAX_OWNER = 4096
"""Bytes of a lock file that are read."""


@dataclass(frozen=True)
class Owner:
    """Process that can be told apart from every other one, also of other machines and of other times.

    Attributes
    ----------
    host : name of the machine.
    boot : what the kernel calls this run of the machine; empty where it says nothing.
    namespace : whose process numbers they are, which containers differ in; empty as above.
    process : number.
    started : when the process started, in ticks of the kernel; empty as above.
    """

    host: str
    boot: str
    namespace: str
    process: int
    started: str

    @classmethod
    def this(cls) -> Owner:
        """The present process."""
        process = os.getpid()
        return cls(platform.node(), _boot(), _namespace(), process, _start_of(process) or "")

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """Owner that a lock file names; None when it names none, as when its writer was killed before it did."""
        try:
            found = json.loads(text)
            words = [str(found[name]) for name in ("host", "boot", "namespace", "started")]
            return cls(words[0], words[1], words[2], int(found["process"]), words[3])
        except (ValueError, TypeError, KeyError):
            return None

    def text(self) -> str:
        """Content of a lock file."""
        return json.dumps(asdict(self))

    def has_died(self) -> bool:
        """Whether the process surely is no more; False where that cannot be seen from here."""
        if self.host != platform.node():
            return False
        if self.boot != _boot():
            return True
        if self.namespace != _namespace():
            return False
        started = _start_of(self.process)
        return started is None or started != self.started

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


def lock_file(target: Path) -> Path:
    """Lock file of a file or folder that is written; that of a link is the one of what it points to."""
    real = Path(os.path.realpath(target))
    return real.with_name(f".{real.name}.lock")


@contextlib.contextmanager
def only_writer(target: Path, *, wait: float = 0.0, lock: Path | None = None) -> Iterator[None]:
    """Keep other writers from a file or folder while the block runs.

    Parameters
    ----------
    target : what is written; it need not be there.
    wait : seconds to wait for another writer.
    lock : lock file, where it is not :func:`lock_file` of the target.

    Raises
    ------
    InUseError
        When another process writes the target, or another thread or block of this one.
    ResourceError
        When the lock file cannot be written: before any work is done.
    """
    path = lock or lock_file(target)
    end = time.monotonic() + wait
    while (file := _taken(path, target)) is None:
        if time.monotonic() >= end:
            raise _in_use(path, target)
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        # Removed before it is let go: who waits for it finds out that it holds a file without a name, and tries anew.
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        file.close()


def _taken(path: Path, target: Path) -> FileIO | None:
    """The lock file, which is held now; None when another has it."""
    try:
        if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
            raise OSError(errno.EINVAL, "is not a file of its own")
        try:
            return _claimed(path, FileIO(path, "x+"), new=True)
        except FileExistsError:
            there = _there(path)
            return None if there is None else _claimed(path, there, new=False)
    except OSError as error:
        raise ResourceError(f"cannot write {target}: {error.strerror or error} ({path})") from error


def _there(path: Path) -> FileIO | None:
    """The lock file that somebody has made; None when its owner has just let it go."""
    try:
        return FileIO(path, "r+")
    except FileNotFoundError:
        return None


def _claimed(path: Path, file: FileIO, *, new: bool) -> FileIO | None:
    """The file with this process as owner; None, and it is closed, when another has the lock."""
    try:
        held = locked(file.fileno())
        text = file.read(_MAX_OWNER).decode(errors="replace")
        owner = Owner.parse(text)
        if held is None:
            held = new or (owner is not None and owner.has_died() and _taken_over(path, file))
        if not (held and _is_at(path, file)):
            file.close()
            return None
        if not (text[: len(_BEGIN)] == _BEGIN[: len(text)] or text.isdecimal()):
            raise OSError(errno.EEXIST, "there is another file in place of the lock")
        try:
            file.seek(0)
            file.truncate()
            file.write(Owner.this().text().encode())
        except OSError:
            path.unlink(missing_ok=True)
            raise
    except OSError:
        file.close()
        raise
    return file


def locked(handle: int) -> bool | None:
    """Lock an open file by the file system, as long as it is open.

    Returns
    -------
    whether it is locked now; False when another has the lock, None where the file system has none
    """
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in _HELD else None
    return True


def _taken_over(path: Path, file: FileIO) -> bool:
    """Whether the place of an owner that has died is free now, and nobody else was faster to take it."""
    grave = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        os.rename(path, grave)  # succeeds for one process only
    except FileNotFoundError:
        return False
    if not _is_at(grave, file):  # of somebody who took it over in between
        os.rename(grave, path)
        return False
    try:
        os.link(grave, path)
    except FileExistsError:
        return False
    finally:
        grave.unlink()
    return True


def _is_at(path: Path, file: FileIO) -> bool:
    """Whether the open file is the one of this name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _in_use(path: Path, target: Path) -> InUseError:
    try:
        owner = Owner.parse(path.read_text(encoding="utf-8", errors="replace")[:_MAX_OWNER])
    except OSError:
        owner = None
    return InUseError(
        f"{target} is being written by {owner or 'another process'}: wait for it, or choose another name (if nothing "
        f"writes it, delete {path})"
    )


def _boot() -> str:
    return _kernel_text("/proc/sys/kernel/random/boot_id")


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _start_of(process: int) -> str | None:
    """When a process of this machine started; empty where nothing says it; None when there is no such process."""
    if Path("/proc/self/stat").exists():
        # The name of the program, in parentheses, may hold anything.
        fields = _kernel_text(f"/proc/{process}/stat").rpartition(")")[2].split()
        return fields[19] if len(fields) > 19 else None
    if sys.platform == "win32":  # where signal 0 would end the process
        return ""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:  # it belongs to another user
        return ""
    return ""


def _kernel_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
