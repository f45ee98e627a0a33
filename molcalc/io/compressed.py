"""Compressed files as streams that end with an error where the budget of the file ends."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from molcalc.errors import InputError
from molcalc.io.budget import budget_of, expansion_message

OPENERS: Mapping[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
"""By the ending of the name."""


FREE_CONTENT = 1 << 24
"""Bytes that any compressed file may have as its content."""
LOOKED_THROUGH = 1 << 28
"""Bytes of content that are counted before the first is used: reading frames takes a hundred times as long."""
_CHUNK = 1 << 20


def open_compressed(path: Path) -> BinaryIO:
    """Content of a compressed file, which is refused where it becomes more than the budget of its size.

    Returns
    -------
    stream of bytes; reading may raise InputError, too

    Raises
    ------
    InputError
        When more of it than the budget is found among its first bytes.
    OSError, EOFError, zlib.error, lzma.LZMAError
        When the file is damaged.
    """
    with contextlib.closing(_Bounded(path)) as content:
        buffer, total = bytearray(_CHUNK), 0
        while total < LOOKED_THROUGH and (count := content.readinto(buffer)):
            total += count
    return io.BufferedReader(_Bounded(path))


class _Bounded(io.RawIOBase):
    """Decompressed bytes, counted."""

    def __init__(self, path: Path) -> None:
        self._path, self._size, self._total = path, os.path.getsize(path), 0
        self._source = OPENERS[path.suffix.lower()](path, "rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = int(self._source.readinto(buffer))
        self._total += count
        if self._total > budget_of(self._size, FREE_CONTENT):
            where = f"{self._path}, decompressed,"
            raise InputError(expansion_message(where, self._total, self._size, FREE_CONTENT))
        return count

    def close(self) -> None:
        self._source.close()
        super().close()
