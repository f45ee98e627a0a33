"""Compressed files as streams that end with an error where the budget of the file ends."""

from __future__ import annotations

import bz2
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


def open_compressed(path: Path) -> BinaryIO:
    """Content of a compressed file; reading raises InputError where it becomes more than the budget of its size.

    Returns
    -------
    stream of bytes
    """
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
        if self._total > budget_of(self._size):
            raise InputError(expansion_message(f"{self._path}, decompressed,", self._total, self._size))
        return count

    def close(self) -> None:
        self._source.close()
        super().close()
