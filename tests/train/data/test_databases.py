"""Work on databases in place."""

from __future__ import annotations

import functools
import os
import resource
import signal
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.db import connect
from ase.db.sqlite import SQLite3Database

from molcalc.errors import ChargeError, DatasetError, ResourceError
from molcalc.io.locks import Owner
from molcalc.train.data import databases, open_dataset
from molcalc.train.data.databases import Repaired, merge, repair, split_database, write_results, writing
from tests.helpers.forks import Fork
from tests.train.data.conftest import Make


def test_single_precision_arrays_are_restored(make_database: Make) -> None:
    path = make_database(6)
    original = np.array(open_dataset(path).labels["forces"])
    with sqlite3.connect(path) as connection:
        for row in (2, 5):
            (blob,) = connection.execute("SELECT forces FROM systems WHERE id=?", (row,)).fetchone()
            narrow = np.frombuffer(blob).astype(np.float32).tobytes()
            connection.execute("UPDATE systems SET forces=? WHERE id=?", (narrow, row))
    with pytest.raises(DatasetError, match=r"row 2, 5: forces are float32.*molcalc db repair"):
        open_dataset(path)
    assert repair(path) == (2, 0)
    assert np.allclose(open_dataset(path).labels["forces"], original, atol=1e-6)
    assert connect(path).get(id=2).forces.shape == (6, 3)


def test_missing_charges_are_set_where_none_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "set.db"
    with connect(path) as database:
        database.write(molecule("OH"), total_charge=-1)
        database.write(molecule("OH"), name="radical")
    assert repair(path, charge=1) == (0, 1)
    assert open_dataset(path).total_charge.tolist() == [-1, 1]
    row = connect(path).get(total_charge=1)
    assert row.key_value_pairs == {"name": "radical", "total_charge": 1}


@pytest.mark.parametrize("charge", [0.5, 10**400, 9, "x"], ids=lambda charge: str(charge)[:9])
def test_a_charge_that_rows_cannot_have_is_not_set(charge: Any, tmp_path: Path) -> None:
    with connect(tmp_path / "a.db") as database:
        database.write(molecule("CH4"))
        database.write(molecule("H2O"))
    with pytest.raises((ChargeError, DatasetError), match="is not an integer|impossible for 5 atoms|is not a number"):
        repair(tmp_path / "a.db", charge=charge)
    assert all("total_charge" not in row for row in connect(tmp_path / "a.db").select())


@pytest.mark.parametrize("key", ["charge", "total_charge"])
def test_charges_among_the_data_of_a_row_stay(tmp_path: Path, key: str) -> None:
    path = tmp_path / "ions.db"
    with connect(path) as database:
        database.write(molecule("H2O"))
        database.write(molecule("OH"), data={key: -1})
    assert repair(path, charge=0).charged == 1
    assert open_dataset(path).total_charge.tolist() == [0.0, -1.0]


def test_parts_are_files_of_their_own_with_whole_rows(make_database: Make, tmp_path: Path) -> None:
    def fix(atoms, data) -> None:  # type: ignore[no-untyped-def]
        atoms.set_constraint(FixAtoms([0]))

    path = make_database(20, fix)
    connect(path).metadata = {"level": "toy"}
    written = split_database(path, valid=4, test=2, seed=0)
    assert {file.name: count for file, count in written.items()} == {
        "set_train.db": 14, "set_valid.db": 4, "set_test.db": 2,
    }  # fmt: skip
    original = {row.unique_id: row for row in connect(path).select()}
    for file, count in written.items():
        database = connect(file)
        assert database.metadata == {"level": "toy"}
        assert database.count("run>=0") == count
        for row in database.select():
            before = original.pop(row.unique_id)
            assert row.key_value_pairs == before.key_value_pairs
            assert np.array_equal(row.data["esp"], before.data["esp"])
            assert len(row.constraints) == 1
    assert not original
    with pytest.raises(DatasetError, match="set_train.db exists"):
        split_database(path, valid=4, test=2, seed=0)


def test_merged_databases_hold_the_rows_of_all(make_database: Make, tmp_path: Path) -> None:
    first, second = make_database(5, name="a.db", gaps=True), make_database(4, name="b.db")
    assert merge([first, second, first], tmp_path / "all.db") == 3 + 4 + 3
    merged = open_dataset(tmp_path / "all.db")
    assert len(merged) == 10
    database = connect(tmp_path / "all.db")
    assert len({row.unique_id for row in database.select()}) == 10
    assert database.count("O>=1") == sum("O" in row.symbols for row in database.select())
    assert database.write(molecule("H2O"), total_charge=0) > 10


def test_databases_in_other_units_are_not_merged(make_database: Make, tmp_path: Path) -> None:
    first, second = make_database(2, name="a.db"), make_database(2, name="b.db")
    connect(second).metadata = {"units": {"energy": "Hartree"}}
    with pytest.raises(DatasetError, match="b.db declares other units than .*a.db"):
        merge([first, second], tmp_path / "all.db")


def test_the_target_of_a_merge_is_named_as_an_sqlite_database(make_database: Make, tmp_path: Path) -> None:
    first = make_database(3)
    with pytest.raises(DatasetError, match=r"all\.merged: .*ends in \.db"):
        merge([first], tmp_path / "all.merged")


def test_results_are_written_to_their_rows(make_database: Make) -> None:
    path = make_database(5, gaps=True)
    write_results(path, [1, 4], {"energy_error": [0.1, 0.2]}, {"model_forces": [np.ones((3, 3)), np.zeros((4, 3))]})
    rows = {row.id: row for row in connect(path).select()}
    assert (rows[1].energy_error, rows[4].energy_error) == (0.1, 0.2)
    assert rows[1].run == 0
    assert np.array_equal(rows[1].data["model_forces"], np.ones((3, 3)))
    assert "esp" in rows[1].data
    assert "energy_error" not in rows[5]
    with pytest.raises(DatasetError, match="there is no row 2"):
        write_results(path, [1, 2], {"energy_error": [0.3, 0.3]})
    assert connect(path).get(id=1).energy_error == 0.1


def test_the_lock_of_a_writer_that_was_killed_is_taken_over(make_database: Make) -> None:
    path = make_database(2)

    def die() -> None:
        with writing(path):
            os.kill(os.getpid(), signal.SIGKILL)

    assert Fork(die).wait() == -signal.SIGKILL
    assert Path(f"{path}.lock").exists()
    assert repair(path) == Repaired(0, 0)
    assert [name for name in os.listdir(path.parent) if "lock" in name] == []


def test_results_are_written_all_or_none(make_database: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_database(30)
    often = functools.partialmethod(SQLite3Database.managed_connection, commit_frequency=5)
    monkeypatch.setattr(SQLite3Database, "managed_connection", often)
    bad = [*[np.zeros(1)] * 29, np.array([object()])]
    with pytest.raises(AssertionError, match="object"):
        write_results(path, list(range(1, 31)), {"x": [0.1] * 30}, {"y": bad})
    assert "x" not in connect(path).get(id=1)


def test_a_full_disk_is_named_and_the_database_stays(make_database: Make) -> None:
    path = make_database(60)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), hard))
    try:
        with pytest.raises(ResourceError, match=r"cannot write .*set.db: .*it stays as it was"):
            write_results(path, list(range(1, 61)), {}, {"y": [np.ones(1000)] * 60})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_lock_of_an_unknown_process_ends_the_wait(make_database: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "LOCK_WAIT", 0.3)
    path = make_database(2)
    Path(f"{path}.lock").touch()
    with pytest.raises(DatasetError, match=r"set.db.lock has been there for more than .* delete that file"):
        write_results(path, [1], {"x": [1.0]})


def test_the_lock_names_its_process_and_goes_with_it(make_database: Make) -> None:
    path = make_database(2)
    lock = Path(f"{path}.lock")
    with writing(path):
        assert Owner.parse(lock.read_text()) == Owner.this()
    assert not lock.exists()
