"""Parts of files, patterns of names, lists of Atoms, and limits of forces and energies."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from molcalc.errors import DatasetError
from molcalc.train.data import open_dataset
from molcalc.train.data.convert import convert
from molcalc.train.data.selection import within_limits


def frame(k: int) -> Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=k)
    forces = np.zeros((3, 3))
    forces[0, 0] = k
    atoms.calc = SinglePointCalculator(atoms, energy=-2080.0 + k, forces=forces)
    return atoms


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames in a database, of which the last is broken, in XYZ, and in two trajectories."""
    folder = tmp_path_factory.mktemp("selection")
    frames = [frame(k) for k in range(10)]
    with connect(folder / "a.db") as database:
        for k, atoms in enumerate(frames):
            atoms = atoms.copy()
            atoms.calc = SinglePointCalculator(atoms, energy=np.inf if k == 9 else -2080.0 + k)
            database.write(atoms, converged=k % 2 == 0)
    write(folder / "a.xyz", frames)
    write(folder / "b1.traj", frames[:4])
    write(folder / "b2.traj", frames[4:])
    return folder


def energies(data: object, folder: Path) -> list[float]:
    found = open_dataset(data, cache=folder / "cache").labels["energy"] + 2080.0  # type: ignore[arg-type]
    return found.round().tolist()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.db@converged=True", [0, 2, 4, 6, 8]),
        ("a.db@energy<-2078,converged=True", [0]),
        ("a.db@id<4", [0, 1, 2]),
        ("a.db@:3", [0, 1, 2]),
        ("a.xyz@:2", [0, 1]),
        ("a.xyz@-2:", [8, 9]),
        ("a.xyz@::4", [0, 4, 8]),
        ("a.xyz@3", [3]),
        ("b*.traj", list(range(10))),
        ("b*.traj@-1", [3, 9]),
    ],
)
def test_rows_and_files_are_chosen_by_name(name: str, found: list[float], folder: Path) -> None:
    assert energies(str(folder / name), folder) == found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.xyz@energy<0", "'energy<0' is no slice such as :100 or ::10; queries are for ASE databases"),
        ("a.xyz@20:", "a.xyz@20: selects none of its 10 frames"),
        ("a.db@energy<x", "ASE does not understand this"),
        ("a.db@natoms=7", "a.db@natoms=7 selects no row"),
        ("c*.db", r"no file has a name like .*c\*.db"),
        ("a.db", "row 10: energy is not finite"),
        ("missing.db@:3", "there is no file .*missing.db"),
    ],
)
def test_a_choice_of_nothing_is_refused(name: str, message: str, folder: Path) -> None:
    with pytest.raises(DatasetError, match=message):
        open_dataset(str(folder / name), cache=folder / "cache")


def test_conversion_takes_the_chosen_rows(folder: Path, tmp_path: Path) -> None:
    assert convert(str(folder / "a.xyz@2:5"), tmp_path / "some.db") == 3


def test_lists_of_atoms_stand_for_files(folder: Path) -> None:
    frames = [frame(k) for k in range(3)]
    assert energies(frames, folder) == [0, 1, 2]
    assert energies(frames[0], folder) == [0]
    assert energies({"pbe0": frames[:2], "gfn2": [frame(5)]}, folder) == [0, 1, 5]
    frames[2].calc.results["energy"] = -2070.0  # type: ignore[union-attr]
    assert energies(frames, folder) == [0, 1, 10]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda file: [frame(0), 3], "data: 3 is neither a file nor Atoms"),
        (lambda file: [None], "data: None is neither a file nor Atoms"),
        (lambda file: 5, "data: 5 is neither a file nor Atoms"),
        (lambda file: [file, None], "data: None is neither"),
        (lambda file: [file, frame(0)], "data: files and Atoms in one list"),
        (lambda file: [file, f"{file.parent}/*.xyz"], "a.xyz is named 2 times, and its rows would count as often"),
        (lambda file: {"": file}, "has no name: give it one"),
    ],
    ids=range(7),
)
def test_data_that_are_none_or_named_twice_are_refused(data: Any, message: str, tmp_path: Path) -> None:
    write(tmp_path / "a.xyz", frame(0))
    with pytest.raises(DatasetError, match=message):
        open_dataset(data(tmp_path / "a.xyz"), cache=tmp_path / "cache")


def test_results_of_another_structure_are_refused(folder: Path) -> None:
    first, second = frame(0), frame(1)
    second.calc = first.calc
    with pytest.raises(DatasetError, match="structure 1 of the list: its calculator has results of another structure"):
        open_dataset([first, second], cache=folder / "cache")
    bare = molecule("H2O")
    bare.calc = EMT()
    assert open_dataset([bare], cache=folder / "cache").counts() == {}


def test_limits_leave_out_and_name(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = open_dataset(folder / "a.xyz", cache=folder / "cache")
    with caplog.at_level(logging.WARNING, "molcalc"):
        assert len(within_limits(data, 6.5, None)) == 7
        assert len(within_limits(data, None, 3.5)) == 4
    assert "max_force=6.5 leaves out 3 of 10 structures: a.xyz frame 7, a.xyz frame 8, a.xyz frame 9" in caplog.text
    assert "max_energy=3.5 leaves out 6 of 10" in caplog.text
    assert within_limits(data, None, None) is data
    with pytest.raises(DatasetError, match="no structure has forces"):
        within_limits(open_dataset(str(folder / "a.db@:3"), cache=folder / "cache"), 1.0, None)


def test_rows_carry_weights_into_batches_and_conversion(tmp_path: Path) -> None:
    with connect(tmp_path / "a.db") as database:
        for k in range(4):
            how: dict = {1: {}, 2: {"data": {"weight": 1.0}}}.get(k, {"weight": 0.5 * k})
            database.write(frame(k), **how)
    convert(tmp_path / "a.db", tmp_path / "b.xyz")
    for name in ("a.db", "b.xyz"):
        data = open_dataset(tmp_path / name, cache=tmp_path)
        assert data.weight.tolist() == [0, 1, 1, 1.5]
        assert data.subset([3, 0]).batch([0, 1], cutoff=0.0).labels["weight"].tolist() == [1.5, 0]
    write(tmp_path / "c.xyz", frame(7))
    both = open_dataset([tmp_path / "b.xyz", tmp_path / "c.xyz"], cache=tmp_path)
    assert both.weight.tolist() == [0, 1, 1, 1.5, 1]


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), "much", True])
def test_weights_that_are_no_numbers_are_refused(weight: object, tmp_path: Path) -> None:
    atoms = frame(0)
    atoms.info["weight"] = weight
    with pytest.raises(DatasetError, match="structure 0: the key weight is no number from 0 to 1e"):
        open_dataset([atoms], cache=tmp_path)
