"""The lock file of a database, as ASE uses it, with the number of the process that holds it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from molcalc.errors import DatasetError, ResourceError

LOCK_WAIT = 8.0
"""Seconds to wait for another writer; ASE itself waits for ever."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Hold the lock file of a database, as ASE does, with the number of this process in it.

    Raises
    ------
    DatasetError
        When another process holds it for longer than LOCK_WAIT, or one that has died left it behind.
    """
    lock = path.with_name(path.name + ".lock")
    end = time.monotonic() + LOCK_WAIT
    while True:
        try:
            handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            break
        except FileExistsError:
            _check_holder(lock)
        except OSError as error:
            raise ResourceError(f"cannot write {lock}: {error.strerror or error}") from error
        if time.monotonic() > end:
            raise DatasetError(
                f"{path} is locked: {lock} has been there for more than {LOCK_WAIT:.0f} s; if no program writes the "
                "database, delete that file"
            )
        time.sleep(0.1)
    try:
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)
        with suppress(OSError):
            lock.unlink()


def _check_holder(lock: Path) -> None:
    """Raise when the process that made a lock file is no more."""
    try:
        process = int(lock.read_text())
    except (OSError, ValueError):  # it is gone, or ASE made it, which leaves it empty
        return
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        raise DatasetError(
            f"{lock} was left behind by process {process}, which has died: delete that file and try again"
        ) from None
    except OSError:  # it belongs to another user
        return
