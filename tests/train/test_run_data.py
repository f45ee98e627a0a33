"""How the data of a run are written down, and read again."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import molecule

from molcalc.errors import ConfigError
from molcalc.train.run_data import check_plain, described, separated


def test_numbers_of_held_out_systems_are_options_and_files_are_data() -> None:
    files, options = separated({"data": "a.db", "valid": 0.1, "test": "t.db", "units": None, "epochs": 3})
    assert files == {"data": "a.db", "test": "t.db"}
    assert options == {"valid": 0.1, "epochs": 3}


def test_files_are_written_down_with_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = {"pbe0": ["a.db", Path("b.db")], "gfn2": "/c/d.db"}
    assert described({"data": data, "skip_bad": True}) == {
        "data": {"pbe0": [f"{tmp_path}/a.db", f"{tmp_path}/b.db"], "gfn2": "/c/d.db"},
        "skip_bad": True,
    }


@pytest.mark.parametrize("data", [[molecule("H2O")], {"pbe0": [molecule("H2O")], "gfn2": "a.db"}], ids=["list", "dict"])
def test_structures_in_memory_have_an_empty_place_that_can_be_read(data: object) -> None:
    written = described({"data": data})
    assert written == {"data": None}
    assert separated(written) == ({}, {})


@pytest.mark.parametrize(
    "arguments", [{"data": 5}, {"valid": [1]}, {"skip_bad": "no"}, {"labels": ["energy"]}], ids=str
)
def test_what_names_no_data_is_refused_with_its_place(arguments: dict) -> None:
    with pytest.raises(ConfigError, match=f"my.yaml: {next(iter(arguments))}: "):
        check_plain(arguments, "my.yaml")
