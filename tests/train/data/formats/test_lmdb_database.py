"""ASE databases in LMDB files: within their budget, nothing beside them, refused where they are damaged or hostile."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.io import write

from molcalc.errors import DatasetError, ResourceError
from molcalc.io.budget import limited_addresses
from molcalc.train.data import open_dataset
from molcalc.train.data.convert import convert
from molcalc.train.data.formats.database_structures import structures_of_database
from molcalc.train.data.formats.lmdb_database import new_lmdb, read_lmdb

lmdb: Any = pytest.importorskip("lmdb")
pytest.importorskip("lmdb.verify")
pytest.importorskip("ase_db_backends")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of three hydroxide ions."""
    written = tmp_path / "a.aselmdb"
    database = new_lmdb(written)
    with database:
        for _ in range(3):
            database.write(Atoms("OH", [[0, 0, 0], [0, 0, 1]]), total_charge=-1)
    database.close()
    return written


def changed(path: Path, **entries: bytes) -> None:
    """Put entries into a file."""
    with lmdb.open(str(path), subdir=False, lock=False) as environment, environment.begin(write=True) as writing:
        for key, value in entries.items():
            writing.put(key.removeprefix("row_").encode(), value)


def test_a_database_is_read_within_its_budget_and_nothing_is_written_beside_it(path: Path) -> None:
    with limited_addresses(1 << 31):  # it is not mapped as large as it was when it was written
        atoms, *_ = structures_of_database(str(path), "a.aselmdb")
        assert atoms.info["total_charge"] == -1
        assert len(open_dataset(path)) == 3
    assert [file.name for file in path.parent.iterdir() if file.is_file()] == ["a.aselmdb"]


def test_a_damaged_file_is_refused_in_one_line(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(DatasetError, match=r"a\.aselmdb is damaged.*page \d+ is beyond EOF or truncated"):
        open_dataset(path)


def test_rows_are_those_that_are_there_whatever_the_file_counts(path: Path) -> None:
    changed(path, nextid=zlib.compress(b"1000000000000"), deleted_ids=zlib.compress(bytes(1 << 26)))
    assert [row.id for row in read_lmdb(path).select()] == [1, 2, 3]


def test_a_number_of_a_row_that_is_spelled_otherwise_is_damage(path: Path) -> None:
    changed(path, row_007=zlib.compress(b"{}"))
    with pytest.raises(DatasetError, match=r"a\.aselmdb is damaged"):
        open_dataset(path)


def test_addresses_that_the_system_does_not_give_are_no_bug(tmp_path: Path) -> None:
    write(tmp_path / "a.xyz", Atoms("H"))
    with limited_addresses(1 << 34), pytest.raises(ResourceError, match=r"cannot write .*a\.aselmdb.*ulimit -v"):
        convert([tmp_path / "a.xyz"], tmp_path / "a.aselmdb")
    assert {file.name for file in tmp_path.iterdir()} == {"a.xyz"}


def test_an_entry_that_unpacks_to_more_than_the_budget_is_refused_before_it_is_unpacked(path: Path) -> None:
    packing, blanks = zlib.compressobj(1), bytes(1 << 20)
    changed(path, row_2=b"".join(packing.compress(blanks) for _ in range(300)) + packing.flush())
    for read in (open_dataset, lambda file: structures_of_database(str(file), "a.aselmdb")):
        with pytest.raises(DatasetError, match=r"entry b'2', claims 2\.69e\+08 bytes.*MOLCALC_EXPANSION"):
            read(path)
