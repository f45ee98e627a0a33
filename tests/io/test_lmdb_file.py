"""LMDB files that are shorter than what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms
from ase.db import connect
from ase.io import write

from molcalc.errors import DatasetError, ResourceError
from molcalc.io.budget import limited_addresses
from molcalc.io.lmdb_file import check_whole
from molcalc.train.data import convert, open_dataset
from molcalc.train.data.formats.database_structures import structures_of_database
from tests.helpers.lmdb_pages import PAGE, page


def test_the_last_transaction_says_how_long_the_file_is(tmp_path: Path) -> None:
    path = tmp_path / "a.aselmdb"
    path.write_bytes(page(9, 4) + page(3, 5) + bytes(2 * PAGE))
    check_whole(path)
    path.write_bytes(page(3, 5) + page(9, 4) + bytes(2 * PAGE - 1))
    with pytest.raises(ValueError, match="it is cut off: 16383 bytes of 16384"):
        check_whole(path)
    with pytest.raises(DatasetError, match=r"a\.aselmdb.*it is cut off: 16383 bytes of 16384"):
        open_dataset(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cut off in its first pages"),
        (page(3, 5)[:100], "cut off in its first pages"),
        (page(3, 5), "cut off in its first pages"),
        (page(3, 5, magic=1) + page(3, 5), "no LMDB file"),
        (page(3, 5) + page(3, 5, magic=1), "no LMDB file"),
    ],
    ids=["empty", "first page", "second page", "first magic", "second magic"],
)
def test_what_has_no_beginning_is_refused(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.aselmdb").write_bytes(data)
    with pytest.raises(ValueError, match=words):
        check_whole(tmp_path / "a.aselmdb")


def test_a_database_is_read_within_its_budget_and_nothing_is_written_beside_it(tmp_path: Path) -> None:
    """LMDB maps two terabytes of addresses."""
    pytest.importorskip("lmdb")
    pytest.importorskip("ase_db_backends")
    path = tmp_path / "a.aselmdb"
    with connect(path, use_lock_file=False) as database:
        database.write(Atoms("OH", [[0, 0, 0], [0, 0, 1]]), total_charge=-1)
    path.with_name("a.aselmdb-lock").unlink()
    (atoms,) = structures_of_database(str(path), "a.aselmdb")
    assert atoms.info["total_charge"] == -1
    assert len(open_dataset(path)) == 1
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["a.aselmdb"]


def test_addresses_that_the_system_does_not_give_are_no_bug(tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    pytest.importorskip("ase_db_backends")
    write(tmp_path / "a.xyz", Atoms("H"))
    with limited_addresses(1 << 34), pytest.raises(ResourceError, match=r"cannot write .*a\.aselmdb.*ulimit -v"):
        convert([tmp_path / "a.xyz"], tmp_path / "a.aselmdb")
