"""LMDB files that are damaged: refused before their library maps them, which would end the process."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from molcalc.io.lmdb_file import check_sound

pytest.importorskip("lmdb.verify")
PAGE = 4096


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Of a thousand entries on pages below others, one of them on pages of its own."""
    import lmdb

    path = tmp_path / "a.aselmdb"
    environment = lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 24)
    with environment, environment.begin(write=True) as writing:
        for k in range(1000):
            writing.put(str(k).encode(), bytes(200) if k != 500 else bytes(3 * PAGE))
    return path


def test_a_file_of_lmdb_is_sound(database: Path) -> None:
    check_sound(database)


@pytest.mark.parametrize("size", [0, 100, PAGE, PAGE + 100, 5 * PAGE, -1], ids=str)
def test_a_file_that_is_cut_off_is_refused(database: Path, size: int) -> None:
    database.write_bytes(database.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"beyond|truncated|not an LMDB data file"):
        check_sound(database)


def test_a_number_of_a_page_beyond_the_file_is_refused(database: Path) -> None:
    """A branch has flag 1 in its header of 16 bytes, then the places of its nodes; they begin with numbers of pages."""
    data = database.read_bytes()
    branches = [
        start for start in range(2 * PAGE, len(data), PAGE) if struct.unpack_from("<H", data, start + 10) == (1,)
    ]
    assert branches
    for start in branches:
        (end,) = struct.unpack_from("<H", data, start + 12)
        for place in range(start + 16, start + end, 2):
            changed = bytearray(data)
            (node,) = struct.unpack_from("<H", data, place)
            struct.pack_into("<I", changed, start + node, len(data) // PAGE + 1000)
            database.write_bytes(changed)
            with pytest.raises(ValueError, match="out-of-range page"):
                check_sound(database)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.aselmdb").write_bytes(b"SQLite format 3\0" + bytes(2 * PAGE))
    with pytest.raises(ValueError, match="not an LMDB data file"):
        check_sound(tmp_path / "a.aselmdb")
