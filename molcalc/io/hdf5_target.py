"""A file for HDF5 to write to, whose disk may be full.

The HDF5 library ends the process (a segmentation fault) when a write fails. This file never fails: it keeps the first
error, and from then on what is written in memory, until whoever writes asks for the error.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np


class HDF5Target(io.RawIOBase):
    """Binary file, new, whose error is raised when it is asked for.

    Parameters
    ----------
    path : of the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "x+b", buffering=0)  # noqa: SIM115 - open as long as this
        self._error: OSError | None = None
        self._position = 0
        self._size = 0
        self._kept: list[tuple[int, bytes]] = []

    def check(self) -> None:
        """Raise what a write failed with.

        Raises
        ------
        OSError
        """
        if self._error is not None:
            raise self._error

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence] + offset
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self._size = self._position if size is None else size
        self._attempt(lambda: self._file.truncate(self._size))
        return self._size

    def write(self, data: object) -> int:
        content = bytes(memoryview(data))  # type: ignore[arg-type]
        if not self._attempt(lambda: self._write_all(content)):
            self._kept.append((self._position, content))
        self._position += len(content)
        self._size = max(self._size, self._position)
        return len(content)

    def readinto(self, buffer: object) -> int:
        target = np.frombuffer(buffer, dtype=np.uint8)  # type: ignore[call-overload]
        target[:] = 0
        self._file.seek(self._position)
        self._file.readinto(target)
        for start, content in self._kept:
            first, last = max(start, self._position), min(start + len(content), self._position + len(target))
            if first < last:
                part = np.frombuffer(content, np.uint8)[first - start : last - start]
                target[first - self._position : last - self._position] = part
        self._position += len(target)
        return len(target)

    def flush(self) -> None:
        """Nothing is buffered here."""

    def close(self) -> None:
        """Close the file; its error can still be asked for."""
        try:
            self._file.close()
        except OSError as error:
            self._error = self._error or error
        super().close()

    def _write_all(self, content: bytes) -> None:
        self._file.seek(self._position)
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) :]

    def _attempt(self, step: Callable[[], object]) -> bool:
        """Whether a step succeeds; after the first that fails nothing reaches the disk any more."""
        if self._error is not None:
            return False
        try:
            step()
        except OSError as error:
            self._error = error
            return False
        return True
