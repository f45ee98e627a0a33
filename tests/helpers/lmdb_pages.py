"""First pages of LMDB files."""

from __future__ import annotations

import struct

from molcalc.io.lmdb_file import MAGIC

PAGE = 4096
"""Bytes of a page."""


def page(last_page: int, transaction: int, magic: int = MAGIC) -> bytes:
    """One of the first two: header, magic and version, address and size of the map, two tables, and the rest."""
    tables = struct.pack("<I", PAGE) + bytes(92)
    body = bytes(16) + struct.pack("<II", magic, 1) + bytes(16) + tables + struct.pack("<QQ", last_page, transaction)
    return body.ljust(PAGE, b"\0")
