"""Structures of ASE databases: lists of JSON are numbers as they stand, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.db import connect

from molcalc.errors import DatasetError, MolcalcError
from molcalc.train.data import open_dataset
from molcalc.train.data.formats.database_structures import structures_of_database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """One water molecule with an energy."""
    with connect(tmp_path / "a.json") as database:
        database.write(Atoms("OH2", [[0, 0, 0], [0, 0, 1], [0, 1, 0]]))
    return tmp_path / "a.json"


def edited(path: Path, **values: Any) -> None:
    """Put plain lists of JSON into the row, as somebody's script writes them."""
    document = json.loads(path.read_text())
    document["1"].update(values)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("numbers", [[8, 1, 1], [8.0, 1.0, 1.0]], ids=str)
def test_plain_lists_are_read(path: Path, numbers: list[float]) -> None:
    edited(path, numbers=numbers, positions=[[0, 0, 0], [0, 0, 1], [0, 1, 0]])
    (atoms,) = structures_of_database(str(path), "a.json")
    assert atoms.get_chemical_formula() == "H2O"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("numbers", [8, 1, True]),
        ("numbers", ["8", "1", "1"]),
        ("numbers", [-8, 1, 1]),
        ("positions", [["0"] * 3] * 3),
        ("cell", [[True] * 3] * 3),
        ("pbc", [2, 0, 0]),
        ("pbc", "TTT"),
        ("initial_charges", ["0"] * 3),
    ],
    ids=str,
)
def test_what_is_no_number_is_refused_by_all_who_read_it(path: Path, name: str, value: Any) -> None:
    edited(path, energy=-1.0, **{name: value})
    with pytest.raises((MolcalcError, ValueError), match="row 1"):
        structures_of_database(str(path), "a.json")
    with pytest.raises(DatasetError, match="row 1"):
        open_dataset(path)


def test_a_truth_value_is_no_energy(path: Path) -> None:
    edited(path, energy=True)
    with pytest.raises(DatasetError, match="row 1: energy is not a number"):
        open_dataset(path)
