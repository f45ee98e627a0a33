"""Check of LMDB files, which their library maps into memory: reading a part that is missing ends the process.

A file begins with two pages of the same form; the one with the higher transaction counts. It says how long a page is
and which is the last one in use. See ``MDB_meta`` in the source of LMDB.
"""

from __future__ import annotations

import struct
from pathlib import Path

LMDB = ".aselmdb"
"""Ending of the databases of ASE that are such files."""
MAGIC = 0xBEEFC0DE
_META = struct.Struct("<16xII16xI92xQQ")
"""Of a page: magic number, version, page size, last page, transaction; its header and the rest are passed over."""


def check_whole(path: Path) -> None:
    """Refuse a file that is shorter than what it says.

    Raises
    ------
    ValueError
        When it is cut off, or no LMDB file.
    OSError
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        first = _meta(file.read(_META.size))
        file.seek(first[0])
        second = _meta(file.read(_META.size))
    page_size, last_page, _ = max(first, second, key=lambda found: found[2])
    if (last_page + 1) * page_size > size:
        raise ValueError(f"it is cut off: {size} bytes of {(last_page + 1) * page_size}")


def _meta(data: bytes) -> tuple[int, int, int]:
    """Page size, last page and transaction."""
    if len(data) < _META.size:
        raise ValueError("it is cut off in its first pages")
    magic, _, page_size, last_page, transaction = _META.unpack(data)
    if magic != MAGIC:
        raise ValueError("it is no LMDB file")
    return page_size, last_page, transaction
