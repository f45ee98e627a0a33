"""``molcalc relax``."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.db import connect
from ase.io import read, write

from molcalc.calculators import AIMNet2
from molcalc.prediction.results import Prediction
from molcalc.predictor import Predictor
from molcalc.simulate import GEOMETRY_OPTIMIZERS
from tests.helpers.pages import data_of
from tests.helpers.structures import crystal

SAME = 1e-12
"""Å, eV/Å between a relaxation in one piece and one in two: neighbor lists may be summed in another order."""


@pytest.fixture
def relax(run: Any, model: Path, water: Path) -> Any:
    """Relax water in double precision."""
    return lambda *options: run("relax", water, "--model", model, "--dtype", "float64", *options)


def at_evaluation(monkeypatch: pytest.MonkeyPatch, number: int, action: Any) -> None:
    """Let ``action(results)`` happen after the given evaluation of any batch (the first is 1)."""
    predict, count = Predictor.predict, [0]

    def counted(self: Predictor, *arguments: Any) -> list[Prediction]:
        found = predict(self, *arguments)
        count[0] += 1
        if count[0] == number:
            action(found[0].results)
        return found

    monkeypatch.setattr(Predictor, "predict", counted)


@pytest.mark.parametrize("optimizer", GEOMETRY_OPTIMIZERS)
def test_the_relaxed_structure_has_small_forces(relax: Any, model: Path, water: Path, optimizer: str) -> None:
    result = relax("-o", "relaxed.xyz", "--fmax", "0.01", "--optimizer", optimizer)
    assert result.status == 0, result.err
    before, after = read(water), read("relaxed.xyz")
    written = after.get_potential_energy()
    for atoms in (before, after):
        atoms.calc = AIMNet2(model, dtype="float64")
    assert np.linalg.norm(after.get_forces(), axis=1).max() < 0.0101
    assert after.get_potential_energy() == pytest.approx(written, abs=1e-6)
    assert written < before.get_potential_energy()
    assert f"{written:.6f} eV, written to relaxed.xyz" in result.out


@pytest.mark.parametrize("optimizer", GEOMETRY_OPTIMIZERS)
def test_a_relaxation_in_two_parts_takes_the_steps_of_one_in_a_piece(relax: Any, optimizer: str) -> None:
    options = ("--fmax", "0.001", "--optimizer", optimizer)
    relax("-o", "whole.xyz", "--trajectory", "whole.traj", "--steps", "12", *options)
    first = relax("-o", "half.xyz", "--trajectory", "parts.traj", "--steps", "5", *options)
    assert first.status == 1
    assert len(read("parts.traj", ":")) == 6
    page = ("--html", "parts.html")
    second = relax("-o", "parts.xyz", "--trajectory", "parts.traj", "--steps", "12", "--restart", *page, *options)
    (view,) = data_of(Path("parts.html"))["views"]
    assert len(view["captions"]) == len(read("parts.traj", ":"))
    assert second.out.splitlines()[1].split()[0] == "5"
    for one, two in zip(read("whole.traj", ":"), read("parts.traj", ":"), strict=True):
        assert two.positions == pytest.approx(one.positions, abs=SAME)
        assert two.get_forces() == pytest.approx(one.get_forces(), abs=SAME)
    assert read("parts.xyz").positions == pytest.approx(read("whole.xyz").positions, abs=SAME)


def test_a_database_that_has_all_of_them_says_that_nothing_is_left(run: Any, model: Path, water: Path) -> None:
    options = ("relax", water, "--model", model, "-o", "minima.db", "--restart")
    first, second = run(*options), run(*options)
    assert (first.status, second.status) == (0, 0)
    assert "nothing is left" not in first.err
    assert "minima.db: 1 of 1 structures are finished: nothing is left to compute" in second.err
    third = run("relax", water, water, *options[2:])
    assert "minima.db: 1 of 2 structures are finished: goes on with the others" in third.err


def test_following_the_advice_of_a_relaxation_that_did_not_converge_goes_on(relax: Any) -> None:
    assert "; give more --steps; with --trajectory NAME.traj a later" in relax("-o", "a.xyz", "--steps", "1").err
    assert "; more --steps with --restart relax it again" in relax("-o", "a.db", "--steps", "1").err
    options = ("-o", "one.xyz", "--trajectory", "one.traj")
    first = relax(*options, "--steps", "1")
    assert "; more --steps with --restart --force go on from here; the trajectory stays" in first.err
    begun = read("one.traj", ":")
    assert relax(*options, "--steps", "50", "--restart", "--force").status == 0
    assert [atoms.positions.tolist() for atoms in read("one.traj", ":")[:2]] == [x.positions.tolist() for x in begun]
    again = relax("-o", "a.db", "--steps", "50", "--restart")
    assert (again.status, "a.db: 0 of 1 structures are finished: goes on" in again.err) == (0, True)


def test_a_restart_evaluates_only_new_structures(relax: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    relax("-o", "a.xyz", "--trajectory", "steps.traj", "--steps", "5", "--fmax", "1e-6")
    evaluations: list[int] = []
    predict = Predictor.predict

    def counted(self: Predictor, *arguments: Any) -> list[Prediction]:
        evaluations.append(1)
        return predict(self, *arguments)

    monkeypatch.setattr(Predictor, "predict", counted)
    relax("-o", "b.xyz", "--trajectory", "steps.traj", "--steps", "8", "--fmax", "1e-6", "--restart")
    assert len(read("steps.traj", ":")) == 9
    assert len(evaluations) == 3


def test_a_finished_relaxation_needs_no_more_steps(relax: Any) -> None:
    assert relax("-o", "a.xyz", "--trajectory", "steps.traj").status == 0
    n_frames = len(read("steps.traj", ":"))
    assert relax("-o", "b.xyz", "--trajectory", "steps.traj", "--restart").status == 0
    assert len(read("steps.traj", ":")) == n_frames
    assert Path("a.xyz").read_text() == Path("b.xyz").read_text()


def test_the_cell_is_relaxed_in_two_parts_as_in_one(run: Any, models: Path) -> None:
    write("crystal.traj", crystal())
    options = ("crystal.traj", "--model", models / "periodic", "--dtype", "float64", "--cell")
    run("relax", *options, "-o", "whole.traj", "--trajectory", "a.traj", "--steps", "4")
    run("relax", *options, "-o", "half.traj", "--trajectory", "b.traj", "--steps", "2")
    result = run("relax", *options, "-o", "parts.traj", "--trajectory", "b.traj", "--steps", "4", "--restart")
    assert result.status == 1, result.err
    whole, parts = read("whole.traj"), read("parts.traj")
    assert parts.cell.array == pytest.approx(whole.cell.array, abs=SAME)
    assert np.abs(whole.cell.array - crystal().cell.array).max() > 1e-3
    assert whole.get_potential_energy() < read("a.traj@0").get_potential_energy()
    assert "stress" in whole.calc.results


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--restart",), "--restart continues a trajectory"),
        (("--cell",), "H2O is not periodic: there is no cell to relax"),
        (("-o", "there.xyz"), "there.xyz exists"),
        (("--trajectory", "there.xyz"), "there.xyz exists"),
        (("-o", "x.nonsense"), "unknown output format"),
        (("-o", "no/where.xyz"), "the folder no does not exist"),
        (("-o", "a.html", "--html", "a.html"), "a.html is named twice"),
    ],
    ids=["restart", "cell", "output", "trajectory", "format", "folder", "page"],
)
def test_impossible_requests_are_refused_before_anything_is_computed(
    relax: Any, options: tuple[str, ...], text: str
) -> None:
    Path("there.xyz").write_text("precious")
    result = relax(*options)
    assert (result.status, result.out) == (2, "")
    assert text in result.err
    assert sorted(path.name for path in Path().iterdir()) == ["there.xyz", "water.xyz"]
    assert Path("there.xyz").read_text() == "precious"


def test_steps_are_not_written_over_the_structure_or_its_relaxed_form(relax: Any) -> None:
    assert "is an input and the target" in relax("--trajectory", "water.xyz", "--force").err
    assert "out.traj is named twice" in relax("-o", "out.traj", "--trajectory", "out.traj").err
    assert [path.name for path in Path().iterdir()] == ["water.xyz"]


def test_only_a_trajectory_of_the_same_run_is_continued(
    relax: Any, run: Any, models: Path, model: Path, water: Path
) -> None:
    steps = ("--trajectory", "steps.traj", "--restart", "--steps", "3", "-o", "a.xyz", "--force")
    assert relax(*steps).status == 1
    write("methane.xyz", molecule("CH4"))
    write("other.traj", molecule("H2O"))
    Path("broken.traj").write_text("hello")
    for text, arguments in {
        "was made with --optimizer auto, this run has --optimizer FIRE": (*steps, "--optimizer", "FIRE"),
        "was made with --dispersion d3bj:pbe0, this run has --dispersion none": (*steps, "--dispersion", "none"),
        "was made with --dtype float64, this run has --dtype float32": (*steps, "--dtype", "float32"),
        "leave out --charge 2, or change or remove what": (*steps, "--charge", "2"),
        "was not written by 'molcalc relax'": ("--trajectory", "other.traj", "--restart"),
        "broken.traj is not a readable trajectory": ("--trajectory", "broken.traj", "--restart"),
    }.items():
        result = relax(*arguments)
        assert result.status == 2, arguments
        assert text in result.err
    other = run("relax", "methane.xyz", "--model", model, "--dtype", "float64", *steps)
    assert other.status == 2
    assert "holds H2O, the structure file CH4" in other.err
    assert len(read("steps.traj", ":")) == 4


def test_steps_that_do_not_suffice_are_status_1_and_nothing_is_lost(relax: Any) -> None:
    result = relax("--steps", "2", "--fmax", "1e-5")
    assert result.status == 1
    assert "not converged after 2 steps: fmax" in result.err
    assert "> 1e-05 eV/Å" in result.err
    assert "converged after" not in result.out
    assert "forces" in read("water-relaxed.xyz").calc.results


def test_a_result_that_is_not_finite_stops_at_its_step(relax: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at_evaluation(monkeypatch, 4, lambda results: results["forces"].fill(np.nan))
    result = relax("--trajectory", "steps.traj", "-o", "out.xyz")
    assert result.status == 5
    assert result.err.startswith("molcalc: error: step 3: ")
    assert len(read("steps.traj", ":")) == 3
    assert not Path("out.xyz").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"])
def test_an_interrupted_relaxation_continues_as_if_nothing_had_happened(
    relax: Any, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    relax("-o", "whole.xyz", "--trajectory", "whole.traj", "--fmax", "0.001")
    with monkeypatch.context() as patch:
        at_evaluation(patch, 4, lambda results: os.kill(os.getpid(), number))
        stopped = relax("-o", "parts.xyz", "--trajectory", "parts.traj", "--fmax", "0.001")
    assert stopped.status == status
    assert stopped.err == "molcalc: stopped after step 2; parts.traj has every step: --restart continues\n"
    assert len(read("parts.traj", ":")) == 3
    assert not Path("parts.xyz").exists()
    assert relax("-o", "parts.xyz", "--trajectory", "parts.traj", "--fmax", "0.001", "--restart").status == 0
    assert read("parts.xyz").positions == pytest.approx(read("whole.xyz").positions, abs=SAME)
    assert signal.getsignal(signal.SIGINT) is handler


def test_charge_info_and_constraints_survive(run: Any, model: Path) -> None:
    atoms = molecule("CH3OH")
    atoms.info["name"] = "methoxide?"
    atoms.set_constraint(FixAtoms([0]))
    write("in.traj", atoms)
    options = ("--model", model, "--charge", "-2", "--steps", "3", "--trajectory", "steps.traj")
    assert run("relax", "in.traj", *options, "-o", "out.traj").status == 1
    for frame in (*read("steps.traj", ":"), read("out.traj")):
        assert frame.info == {"name": "methoxide?", "charge": -2}
        assert frame.positions[0] == pytest.approx(atoms.positions[0], abs=0.0)
        assert frame.get_charges().sum() == pytest.approx(-2.0, abs=1e-5)


def test_a_structure_from_standard_input_is_relaxed(
    run: Any, model: Path, water: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(water) as stream:
        monkeypatch.setattr("sys.stdin", stream)
        result = run("relax", "-", "--model", model)
    assert result.status == 0, result.err
    assert isinstance(read("stdin-relaxed.xyz"), Atoms)


def test_several_structures_are_relaxed_and_a_bad_one_ends_nothing(run: Any, model: Path, water: Path) -> None:
    close = Atoms("H2", [[0, 0, 0], [0, 0, 0.01]])
    write("mixed.xyz", [read(water), close, molecule("CO2")])
    options = (
        "--model",
        model,
        "--fmax",
        "0.5",
        "--trajectory",
        "steps.traj",
        "--csv",
        "out.csv",
        "--unit",
        "kcal/mol",
    )
    result = run("relax", "mixed.xyz", *options)
    assert result.status == 2
    assert "error: mixed.xyz, frame 1: step 0: atoms 0 and 1" in result.err or "frame 1: atoms 0 and 1" in result.err
    assert result.err.endswith("1 failed, 2 are done\n")
    relaxed = read("mixed-relaxed.xyz", ":")
    assert [atoms.get_chemical_formula() for atoms in relaxed] == ["H2O", "CO2"]
    lines = Path("out.csv").read_text().splitlines()
    assert lines[0].startswith("file,frame,formula,charge,converged,steps,energy (kcal/mol),max_force (kcal/mol/Å)")
    assert [line.split(",")[1:5] for line in lines[1:]] == [["0", "H2O", "0", "yes"], ["2", "CO2", "0", "yes"]]
    assert relaxed[0].get_potential_energy() == pytest.approx(
        float(lines[1].split(",")[6]) * units.kcal / units.mol, abs=1e-6
    )
    assert {path.name for path in Path().glob("steps*")} >= {"steps-0.traj", "steps-2.traj"}


def test_relaxations_and_runs_say_whether_the_networks_agree(run: Any, models: Path, water: Path) -> None:
    options = ("--model", models / "ensemble", "--steps", "1")
    for words in (("relax", water), ("md", water, "--seed", "1")):
        result = run(*words, *options)
        assert "the networks disagree on the last structure: standard deviation" in result.out, result.err


def test_a_database_fills_and_a_restart_leaves_out_what_it_has(run: Any, model: Path) -> None:
    write("mixed.xyz", [molecule("H2O"), Atoms("H2", [[0, 0, 0], [0, 0, 0.01]]), molecule("OH", info={"charge": -1})])
    options = ("--model", model, "--fmax", "0.5", "-o", "out.db")
    assert run("relax", "mixed.xyz", *options).status == 2
    with connect("out.db") as database:
        rows = list(database.select())
        assert [(row.input_number, row.formula, row.total_charge) for row in rows] == [(0, "H2O", 0), (2, "HO", -1)]
        assert all(row.converged and row.max_force < 0.5 for row in rows)
    assert "out.db exists: give another name, or --force" in run("relax", "mixed.xyz", *options).err
    before = Path("out.db").read_bytes()
    left = Path("..1-2.tmp.out.db.lock")  # by who was killed just after it had put the database there
    left.touch()
    again = run("relax", "mixed.xyz", *options, "--restart")
    assert again.status == 2
    assert not left.exists()
    assert "mixed.xyz, frame 1: atoms 0 and 1" in again.err
    assert "1 failed, 2 are done" in again.err
    assert Path("out.db").read_bytes() == before
    other = run("relax", "mixed.xyz", "--model", model, "--fmax", "0.4", "-o", "out.db", "--restart")
    assert other.status == 2
    assert "out.db was made with --fmax 0.5, this run has --fmax 0.4" in other.err
