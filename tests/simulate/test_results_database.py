"""Database that fills while structures are relaxed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.constraints import FixAtoms
from ase.db import connect

import molcalc
from molcalc.calculators import AIMNet2
from molcalc.errors import ConfigError, InputError, InUseError, MolcalcError, ResourceError
from molcalc.io.locks import only_writer
from molcalc.predictor import Predictor
from molcalc.simulate import results_database, side_by_side
from tests.helpers.networks import tiny_checkpoint
from tests.helpers.structures import rattled


def crowd() -> list[Atoms]:
    """An ion, a molecule with a fixed atom and what else a row may carry, one that cannot be relaxed, and others."""
    images = [rattled(name, seed=k) for k, name in enumerate(("H2O", "OH", "CO2", "N2", "NH3", "CH3OH"))]
    images[1].info.update(charge=-1, name="hydroxide")
    images[2].set_constraint(FixAtoms([0]))
    images[2].info.update(weights=[1, 2], batch=3)
    images[3].positions[1] = images[3].positions[0]
    return images


def relaxed(path: Path, calculator: AIMNet2, **options: Any) -> list[Atoms]:
    settings: dict[str, Any] = {"fmax": 0.05, "progress": False, "database": path, **options}
    with pytest.warns(molcalc.errors.RelaxationWarning, match="1 of 6 structures were not relaxed; structure 3"):
        return molcalc.relax(crowd(), calculator, **settings)


def numbers(path: Path) -> list[int]:
    with connect(path) as database:
        return [row.input_number for row in database.select()]


@pytest.fixture
def interrupted(calculator: AIMNet2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Database of a call that ended in the middle, with rows in another order."""
    path = tmp_path / "out.db"
    predict, calls = Predictor.predict, [0]

    def stopping(self: Predictor, *arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 25:
            raise KeyboardInterrupt
        return predict(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(side_by_side, "GROUP_ATOMS", 9)
        patch.setattr(results_database, "COMMIT_AFTER", 0.0)
        patch.setattr(Predictor, "predict", stopping)
        with pytest.raises(KeyboardInterrupt):
            molcalc.relax(crowd(), calculator, fmax=0.05, database=path, progress=False)
    return path


def test_the_same_call_with_restart_computes_what_is_missing_and_puts_it_in_order(
    interrupted: Path, calculator: AIMNet2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = numbers(interrupted)
    assert 1 <= len(there) < 5
    asked: list[str] = []
    prepare = Predictor.prepare

    def noted(self: Predictor, atoms: Atoms, *arguments: Any, **options: Any) -> Any:
        asked.append(atoms.get_chemical_formula())
        return prepare(self, atoms, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "prepare", noted)
        parts = relaxed(interrupted, calculator, restart=True)
    assert not set(asked) & {crowd()[k].get_chemical_formula() for k in there}
    assert numbers(interrupted) == [0, 1, 2, 4, 5]
    whole = relaxed(tmp_path / "whole.db", calculator)
    for one, two in zip(whole, parts):
        assert one.positions == pytest.approx(two.positions, abs=1e-8)
        assert one.info.keys() == two.info.keys()
        assert one.info["converged"] == two.info["converged"]
        assert one.has("initial_charges") == two.has("initial_charges")
        assert len(one.constraints) == len(two.constraints)
        if one.calc is not None:
            assert one.get_potential_energy() == pytest.approx(two.get_potential_energy(), abs=1e-8)
            assert one.get_forces() == pytest.approx(two.get_forces(), abs=1e-7)
            assert one.calc.parameters == two.calc.parameters
    with connect(interrupted) as database:
        row = database.get(input_number=1)
        assert (row.total_charge, row.charge, row.name, row.converged) == (-1, pytest.approx(-1.0), "hydroxide", True)
        assert database.get(input_number=2).data["weights"] == [1, 2]
    before = interrupted.read_bytes()
    relaxed(interrupted, calculator, restart=True)
    assert interrupted.read_bytes() == before


def test_structures_that_may_take_more_steps_go_on_in_their_rows(calculator: AIMNet2, tmp_path: Path) -> None:
    path = tmp_path / "out.db"
    few = relaxed(path, calculator, fmax=0.01, steps=3)
    assert not any(atoms.info["converged"] for atoms in few)
    relaxed(path, calculator, fmax=0.01, steps=200, restart=True)
    assert numbers(path) == [0, 1, 2, 4, 5]
    with connect(path) as database:
        assert all(row.converged and row.steps > 3 and row.max_force < 0.01 for row in database.select())


def test_a_database_of_one_member_is_not_continued_with_the_ensemble(tmp_path: Path) -> None:
    call: dict[str, Any] = {"steps": 1, "progress": False, "database": tmp_path / "m0.db", "restart": True}
    two = tiny_checkpoint(n_members=2)
    one, all_of_them = AIMNet2(two, member=0), AIMNet2(two)
    molcalc.relax(crowd()[0], one, **call)
    with pytest.raises(ConfigError, match=r"m0\.db was made with member=0, this run has member=none: use the same"):
        molcalc.relax(crowd()[0], all_of_them, **call)


def test_another_run_or_database_is_not_continued(calculator: AIMNet2, tmp_path: Path) -> None:
    path, other = tmp_path / "out.db", tmp_path / "other.db"
    call: dict[str, Any] = {"steps": 1, "progress": False, "database": path}
    image = crowd()[0]
    molcalc.relax(image, calculator, **call)
    with pytest.raises(InputError, match=r"out\.db exists"):
        molcalc.relax(image, calculator, **call)
    call["restart"] = True
    with pytest.raises(ConfigError, match=r"out\.db was made with fmax=0\.05, this run has fmax=0\.02"):
        molcalc.relax(image, calculator, fmax=0.02, **call)
    with pytest.raises(ConfigError, match=r"was made with dtype=float64, this run has dtype=float32"):
        molcalc.relax(image, AIMNet2(tiny_checkpoint()), **call)
    with pytest.raises(
        ConfigError, match=r"structure 0 was computed with charge=0, this run has charge=2: use the same"
    ):
        molcalc.relax(Atoms(image, info={"charge": 2}), calculator, **call)
    with pytest.raises(InputError, match=r"row 1: structure 0 of its run is H2O, and another one is given"):
        molcalc.relax(crowd()[2], calculator, **call)
    with connect(other) as database:
        database.write(image)
    with pytest.raises(InputError, match=r"other\.db was not written by 'molcalc relax'"):
        molcalc.relax(image, calculator, **{**call, "database": other})
    with pytest.raises(InputError, match=r"out\.json: a database that grows ends in \.db"):
        molcalc.relax(image, calculator, **{**call, "database": tmp_path / "out.json"})
    with only_writer(path), pytest.raises(InUseError, match=r"out\.db is being written by"):
        molcalc.relax(image, calculator, **call)


RENUMBERED = (
    "UPDATE systems SET key_value_pairs = REPLACE(key_value_pairs, '\"input_number\": 1', '\"input_number\": {}')"
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("half", "is damaged or not what its name says"),
        (RENUMBERED.format("0.5"), "0.5 is not a whole number"),
        (RENUMBERED.format("0"), "structure 0 of its run is there twice"),
        ("UPDATE systems SET key_value_pairs = REPLACE(key_value_pairs, 'max_force', 'other')", "max_force"),
    ],
    ids=["cut off", "half a number", "a number twice", "no force"],
)  # fmt: skip
def test_a_database_that_was_damaged_or_edited_is_not_continued(
    calculator: AIMNet2, tmp_path: Path, change: str, words: str
) -> None:
    path = tmp_path / "out.db"
    call: dict[str, Any] = {"steps": 1, "progress": False, "database": path}
    molcalc.relax([crowd()[0]] * 2, calculator, **call)
    if change == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        with closing(sqlite3.connect(path)) as database, database:
            assert database.execute(change).rowcount
    with pytest.raises(MolcalcError, match=words):
        molcalc.relax([crowd()[0]] * 2, calculator, restart=True, **call)


def test_a_disk_that_is_full_says_so(calculator: AIMNet2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*details: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    call: dict[str, Any] = {"progress": False, "database": tmp_path / "out.db", "restart": True}
    molcalc.relax([crowd()[0]], calculator, steps=1, **call)
    monkeypatch.setattr(results_database, "write_row", full)
    with pytest.raises(ResourceError, match=r"cannot write .*out\.db: database or disk is full"):
        molcalc.relax([crowd()[0]], calculator, steps=2, **call)


KILLED = """
import os, sys, threading, time
import molcalc
from molcalc.simulate import results_database
from tests.simulate.test_results_database import many, small
results_database.COMMIT_AFTER = 0.0
commit, commits = results_database.ResultsDatabase.commit, []
def counted(self):
    commit(self)
    commits.append(1)
    if len(commits) == 20:
        threading.Timer(0.003, os.kill, (os.getpid(), 9)).start()
results_database.ResultsDatabase.commit = counted
molcalc.relax(many(), small(), fmax=1e-6, steps=8, database=sys.argv[1], restart=True, progress=False)
"""


def many() -> list[Atoms]:
    return [rattled(("H2O", "CO2", "NH3")[k % 3], seed=k) for k in range(120)]


def small() -> AIMNet2:
    return AIMNet2(tiny_checkpoint(), dtype="float64")


@pytest.mark.slow
def test_a_call_that_is_killed_again_and_again_ends_with_every_structure_once(tmp_path: Path) -> None:
    path, root = tmp_path / "out.db", Path(__file__).parents[2]
    sizes = []
    for _ in range(3):
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, str(path)],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            check=False,
        )
        assert killed.returncode == -9
        sizes.append(len(numbers(path)))
    assert sizes == sorted(set(sizes))
    call: dict[str, Any] = {"fmax": 1e-6, "steps": 8, "progress": False}
    parts = molcalc.relax(many(), small(), database=path, restart=True, **call)
    assert numbers(path) == list(range(120))
    assert [atoms.get_chemical_formula() for atoms in parts] == [atoms.get_chemical_formula() for atoms in many()]
