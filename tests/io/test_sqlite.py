"""Databases whose writer was killed: read as they were before, and replaced without a trace."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc.errors import DatasetError, InputError, InUseError
from molcalc.io import sqlite
from molcalc.io.files import replacing
from molcalc.io.sqlite import recovered, refuse_programs
from molcalc.train.data import open_dataset
from molcalc.train.data.databases import merge
from molcalc.train.data.declaration import Declaration
from molcalc.train.data.formats.sqlite import SQLiteDatabase
from tests.helpers.killed_writers import leave_half_written

N_ROWS = 40


def make_database(path: Path, n: int = N_ROWS, energy: float = -1.0) -> Path:
    """Database of water molecules."""
    with connect(path, use_lock_file=False) as database:
        for _ in range(n):
            atoms = molecule("H2O")
            atoms.calc = SinglePointCalculator(atoms, energy=energy)
            database.write(atoms)
    return path


def energies(path: Path) -> set[float]:
    """Energies that a reader finds, which may not write."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {row[0] for row in connection.execute("SELECT energy FROM systems")}


@pytest.fixture
def without_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder that cannot be written, as far as the system says (the tests may run as root)."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    real = os.access

    def access(path: str | Path, mode: int) -> bool:
        return not (mode & os.W_OK and folder in (Path(path), *Path(path).parents)) and real(path, mode)

    monkeypatch.setattr(os, "access", access)
    return folder


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_what_a_killed_writer_left_is_rolled_back(mode: str, tmp_path: Path) -> None:
    path = make_database(tmp_path / "a.db")
    leave_half_written(path, mode)
    assert recovered(path) == path
    assert os.listdir(tmp_path) == ["a.db"]
    assert energies(path) == {-1.0}


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_what_lies_beside_the_file_that_a_link_points_to_is_rolled_back(mode: str, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    leave_half_written(make_database(tmp_path / "far" / "a.db"), mode)
    link = tmp_path / "b.db"
    link.symlink_to("far/a.db")
    assert recovered(link) == link
    assert energies(link) == {-1.0}


def test_a_folder_whose_name_is_no_text_is_read_and_written(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    path = make_database(folder / "a.db", n=12)
    assert len(open_dataset(path)) == 12
    assert len(open_dataset(path)) == 12  # of the cache, whose index names the file
    assert merge([path, path], folder / "b.db") == 24


@pytest.mark.parametrize("ending", ["-journal", "-wal", "-shm"])
def test_a_pipe_in_the_place_of_a_journal_is_refused_without_waiting(ending: str, tmp_path: Path) -> None:
    path = make_database(tmp_path / "a.db", n=1)
    os.mkfifo(tmp_path / f"a.db{ending}")
    with pytest.raises(DatasetError, match=f"a.db{ending} is in the place of a file of SQLite"):
        SQLiteDatabase(path, Declaration())
    with pytest.raises(InputError, match=f"a.db{ending} is in the place of a file of SQLite"), replacing(path) as new:
        make_database(new, n=1)


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_where_nothing_can_be_written_a_copy_is_rolled_back(mode: str, without_rights: Path) -> None:
    path = make_database(without_rights / "a.db")
    left = leave_half_written(path, mode)
    before = {name: (without_rights / name).read_bytes() for name in ["a.db", *left]}
    found = recovered(path)
    assert found != path
    assert energies(found) == {-1.0}
    assert recovered(path) == found
    assert {name: (without_rights / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_database_with_a_writer_at_work_is_read_as_it_was_committed(mode: str, tmp_path: Path) -> None:
    path = make_database(tmp_path / "a.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute(f"PRAGMA journal_mode={mode}")
        writer.execute("BEGIN")
        writer.execute("UPDATE systems SET energy = 0 WHERE id = 1")
        assert energies(recovered(path)) == {-1.0}
        writer.execute("COMMIT")
    assert energies(recovered(path)) == {-1.0, 0.0}


def test_a_journal_that_cannot_be_rolled_back_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_database(tmp_path / "a.db")
    leave_half_written(path)

    def refuse(*args: object, **options: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(
        DatasetError, match=r"its writer was killed, and what it left \(a.db-journal\) cannot be rolled"
    ):
        recovered(path)


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("old", ["there", "deleted"])
def test_a_new_database_takes_nothing_from_the_old_one(old: str, mode: str, tmp_path: Path) -> None:
    path = make_database(tmp_path / "a.db")
    leave_half_written(path, mode)
    if old == "deleted":
        path.unlink()
    with replacing(path) as temporary:
        make_database(temporary, 30, energy=-2.0)
    assert os.listdir(tmp_path) == ["a.db"]
    assert energies(path) == {-2.0}


def test_files_beside_something_else_stay(tmp_path: Path) -> None:
    (tmp_path / "a.db-journal").write_text("of somebody")
    with replacing(tmp_path / "a.db") as temporary:
        temporary.write_text("no database")
    assert (tmp_path / "a.db-journal").read_text() == "of somebody"


def test_a_database_that_is_being_written_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WAIT", 0.1)
    path = make_database(tmp_path / "a.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute("UPDATE systems SET energy = 0 WHERE id = 1")
        assert (tmp_path / "a.db-journal").exists()
        with pytest.raises(InUseError, match=r"a.db is being written by another program"), replacing(path) as temporary:
            make_database(temporary, 2)
        with pytest.raises(InUseError, match=r"a.db is being written by another program"):
            recovered(path)
        writer.execute("COMMIT")
    assert energies(path) == {-1.0, 0.0}


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW v AS SELECT 1",
        "CREATE TRIGGER t AFTER INSERT ON systems BEGIN DELETE FROM systems; END",
        "CREATE VIRTUAL TABLE f USING fts5(a)",
        "ALTER TABLE systems ADD COLUMN c GENERATED ALWAYS AS (zeroblob(999999999))",
    ],
    ids=["view", "trigger", "module", "expression"],
)
def test_databases_that_compute_are_refused(statement: str, tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE systems (id INTEGER)")
        refuse_programs(file)
        connection.execute(statement)
    with pytest.raises(DatasetError, match=r"x\.db: .* is not read"):
        refuse_programs(file)


def test_a_view_does_not_hide_behind_what_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE VIEW systems AS SELECT 1 AS id")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = CAST(sql || x'202d2df4' AS TEXT)")
    with pytest.raises(DatasetError, match="'systems' is a view"):
        refuse_programs(file)


def test_a_schema_that_is_no_text_is_damage(tmp_path: Path) -> None:
    file = make_database(tmp_path / "x.db", 1)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET name = CAST(x'f4' AS TEXT), sql = 'x' WHERE name = 'species'")
    refuse_programs(file)
    with pytest.raises(DatasetError, match="x.db is damaged"):
        SQLiteDatabase(file, Declaration())
