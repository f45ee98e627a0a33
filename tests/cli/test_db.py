"""``molcalc db`` and ``molcalc convert`` of files of structures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from tests.helpers.structures import rattled


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOLCALC_CACHE", str(tmp_path / "cache"))
    with connect(tmp_path / "set.db") as target:
        for k in range(10):
            atoms = rattled("H2O", seed=k)
            atoms.calc = SinglePointCalculator(atoms, energy=-2079.0 + 0.01 * k)
            target.write(atoms, total_charge=0)
    return tmp_path / "set.db"


def test_a_report_is_a_table(run: Any, database: Path) -> None:
    result = run("db", "report", database)
    assert result.status == 0, result.err
    assert "10 structures, 30 atoms" in result.out
    assert "energy" in result.out


def test_parts_can_be_written_and_merged_again(run: Any, database: Path) -> None:
    assert run("db", "split", database, "--valid", 2, "--test", 0.1, "--seed", 4).status == 0
    assert [connect(f"set_{part}.db").count() for part in ("train", "valid", "test")] == [7, 2, 1]
    result = run("db", "merge", "set_train.db", "set_valid.db", "set_test.db", "--output", "all.db", "--json")
    assert json.loads(result.out) == {"file": "all.db", "rows": 10}
    assert connect("all.db").count() == 10


def test_scripts_get_the_parts_of_a_split_as_values(run: Any, database: Path) -> None:
    split = ("db", "split", database, "--valid", 2, "--test", 0, "--force")
    assert json.loads(run(*split, "--json").out) == {
        "database": str(database),
        "parts": [
            {"part": part, "file": str(database.with_name(f"set_{part}.db")), "rows": rows}
            for part, rows in (("train", 8), ("valid", 2), ("test", 0))
        ],
    }
    assert run(*split, "--csv", "-").out.splitlines()[::3] == [
        "part,file,rows", f"test,{database.with_name('set_test.db')},0"
    ]  # fmt: skip
    assert "set_valid.db" in run(*split, "--csv", "set_valid.db").err


def test_a_repair_says_what_it_did(run: Any, database: Path) -> None:
    connect(database).write(molecule("OH"))
    assert run("db", "report", database).status == 3
    assert run("db", "repair", database, "--csv", database).status == 2
    assert json.loads(run("db", "repair", database, "--json").out) == {
        "file": str(database),
        "restored": 0,
        "charged": 0,
    }
    result = run("db", "repair", database, "--charge", -1)
    assert "arrays of 0 rows restored, charge of 1 rows set" in result.out
    assert run("db", "report", database).status == 0


def test_structures_are_converted_by_the_suffix_of_the_target(run: Any, database: Path) -> None:
    result = run("convert", database, "set.h5")
    assert result.status == 0, result.err
    assert "set.h5: 10 structures" in result.out
    refused = run("convert", database, "set.h5")
    assert refused.status == 2
    assert "set.h5 exists: give another name, or --force to replace it" in refused.err
    assert run("convert", "set.h5", "back.db", "--force").status == 0
    assert connect("back.db").count() == 10


def test_mistakes_are_one_line(run: Any, database: Path) -> None:
    for arguments, status, text in (
        (("db", "report", "none.db"), 3, "there is no file none.db"),
        (("db", "report", database, "--units", "energy"), 2, "is not LABEL=UNIT"),
        (("db", "split", database, "--valid", "x"), 2, "'x' is not a number"),
        (("db", "split", ""), 2, "an argument is empty"),
        (("db", "split", database, "--valid", "9" * 400), 2, "is too large: at most 9.2"),
        (("db", "split", database, "--seed", "9" * 400), 2, "is too large: at most 9.2"),
        (("db", "repair", database, "--charge", "-" + "9" * 400), 2, "is not a whole number"),
        (("db", "repor", database), 2, "did you mean 'report'?"),
        (("db", "merge", database, "-o", database), 3, "is an input and the target at the same time"),
        (("convert", "a.jpt", "b.jpt", "models"), 2, "a model is converted from one source"),
    ):
        result = run(*arguments)
        assert result.status == status, result.err
        assert text in result.err
        assert len(result.err.splitlines()) == 1
