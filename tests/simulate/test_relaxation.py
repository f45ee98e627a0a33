"""Relaxation as a function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.optimize
import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms
from ase.io import read

import molcalc
from molcalc.calculators import AIMNet2
from molcalc.errors import AtomsTooCloseError, ConfigError, InputError, NonFiniteResultError, RelaxationWarning
from molcalc.prediction.results import Prediction
from molcalc.predictor import Predictor
from molcalc.simulate import RelaxationSettings, relax_all, side_by_side
from molcalc.simulate.relaxation_run import Relaxation, RelaxationStep
from tests.helpers.structures import crystal, rattled

TIGHT = RelaxationSettings(fmax=0.01)
FEW = RelaxationSettings(fmax=1e-6, steps=5)
"""So few steps that the rounding of sums in another order stays small."""


def test_structures_are_relaxed_in_their_order_and_stay_as_they_were(
    images: list[Atoms], calculator: AIMNet2, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [atoms.copy() for atoms in images]
    done = relax_all(images, calculator, TIGHT)
    assert [each.atoms.get_chemical_formula() for each in done] == ["H2O", "CO2"]
    assert images == before
    for each in done:
        assert each.converged
        assert np.linalg.norm(each.atoms.get_forces(), axis=1).max() == each.last.fmax < 0.01
        assert each.atoms.get_potential_energy() == each.last.energy
    assert capsys.readouterr() == ("", "")


def test_one_structure_makes_a_list_of_one(images: list[Atoms], calculator: AIMNet2) -> None:
    (alone,) = relax_all(images[1], calculator, FEW)
    second = relax_all(images, calculator, FEW)[1]
    assert alone.atoms.positions == pytest.approx(second.atoms.positions, abs=1e-8)
    assert alone.last.step == second.last.step
    assert alone.last.energy == pytest.approx(second.last.energy, abs=1e-8)


def test_the_observer_sees_every_new_step_of_every_system(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path
) -> None:
    seen: list[RelaxationStep] = []
    path = tmp_path / "steps.traj"
    first = relax_all(images, calculator, RelaxationSettings(fmax=1e-6, steps=2), observer=seen.append)
    assert [(step.system, step.step) for step in seen] == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]
    assert [each.last for each in first] == seen[4:]
    relax_all(images[0], calculator, RelaxationSettings(fmax=1e-6, steps=2), trajectory=path)
    seen.clear()
    relax_all(
        images[0], calculator, RelaxationSettings(fmax=1e-6, steps=4), trajectory=path, restart=True,
        observer=seen.append,
    )  # fmt: skip
    assert [step.step for step in seen] == [2, 3, 4]


def test_a_relaxation_in_two_parts_is_the_one_in_a_piece_to_the_last_bit(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path
) -> None:
    paths: dict[str, list[Any]] = {name: [tmp_path / f"{name}{k}.traj" for k in (0, 1)] for name in ("whole", "parts")}
    long, short = RelaxationSettings(fmax=1e-4, steps=7), RelaxationSettings(fmax=1e-4, steps=3)
    whole = relax_all(images, calculator, long, trajectory=paths["whole"])
    relax_all(images, calculator, short, trajectory=paths["parts"])
    parts = relax_all(images, calculator, long, trajectory=paths["parts"], restart=True)
    for one, two in zip(whole, parts):
        assert np.array_equal(one.atoms.positions, two.atoms.positions)
        assert one.last == two.last
    for one, two in zip(paths["whole"], paths["parts"]):
        assert [np.array_equal(a.positions, b.positions) for a, b in zip(read(one, ":"), read(two, ":"))] == [True] * 8


def test_a_trajectory_is_replaced_or_continued_when_asked_to_only(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path
) -> None:
    path, few = tmp_path / "steps.traj", RelaxationSettings(fmax=1e-6, steps=1)
    relax_all(images[0], calculator, few, trajectory=path)
    with pytest.raises(InputError, match="steps.traj exists"):
        relax_all(images[0], calculator, few, trajectory=path)
    relax_all(images[1], calculator, few, trajectory=path, force=True)
    assert read(path).get_chemical_formula() == "CO2"
    with pytest.raises(ConfigError, match="was made with optimizer=auto, this run has optimizer=FIRE"):
        relax_all(images[1], calculator, RelaxationSettings(optimizer="FIRE"), trajectory=path, restart=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "BGFS"}, r"optimizer='BGFS' \(did you mean 'BFGS'\?\); choose one of auto, BFGS, LBFGS"),
        ({"fmax": 0.0}, "fmax=0.0 must be a positive, finite number"),
        ({"fmax": float("nan")}, "fmax=nan"),
        ({"steps": -1}, "steps=-1 is not a whole number ≥ 0"),
        ({"steps": 2.5}, "steps=2.5 is not a whole number ≥ 0"),
    ],
    ids=["optimizer", "zero", "nan", "steps", "half a step"],
)
def test_impossible_settings_are_refused_with_the_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RelaxationSettings(**changes)


def test_a_cell_that_is_not_there_is_refused_before_anything_is_computed(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path
) -> None:
    outcomes = relax_all(images, calculator, RelaxationSettings(cell=True), trajectory=[tmp_path / "a.traj", None])
    assert all(isinstance(outcome, InputError) for outcome in outcomes)
    assert "H2O is not periodic: there is no cell to relax" in str(outcomes[0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["FIRE", "BFGS", "LBFGS"])
def test_optimizers_of_ase_take_the_steps_that_they_take_alone(
    images: list[Atoms], calculator: AIMNet2, name: str
) -> None:
    done = relax_all(images, calculator, RelaxationSettings(fmax=0.01, optimizer=name.lower()))
    for atoms, outcome in zip(images, done):
        assert isinstance(outcome, Relaxation)
        alone = atoms.copy()
        alone.calc = calculator
        optimizer = getattr(ase.optimize, name)(alone, logfile=None)
        optimizer.run(fmax=0.01, steps=500)
        assert outcome.last.step == optimizer.nsteps
        assert outcome.atoms.positions == pytest.approx(alone.positions, abs=1e-8)


@pytest.mark.parametrize("reason", ["speed", "memory"])
def test_structures_enter_as_others_leave(
    images: list[Atoms], calculator: AIMNet2, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    sizes: list[int] = []
    predict = Predictor.predict

    def counted(self: Predictor, batches: Any, gradients: Any) -> list[Prediction]:
        sizes.append(sum(batch.n_atoms for batch in batches))
        return predict(self, batches, gradients)

    together = relax_all(images * 3, calculator, FEW)
    monkeypatch.setattr(Predictor, "predict", counted)
    if reason == "speed":
        monkeypatch.setattr(side_by_side, "GROUP_ATOMS", 7)
    else:
        monkeypatch.setattr(side_by_side, "device_memory", lambda device: (14.5 * side_by_side.BYTES_OF_AN_ATOM, 1e12))
    ended: list[int] = []
    few = relax_all(images * 3, calculator, FEW, ended=lambda k, _: ended.append(k))
    assert max(sizes) == 6
    assert sorted(ended) == list(range(6))
    assert [each.last.step for each in few] == [each.last.step for each in together]
    for one, two in zip(few, together):
        assert one.atoms.positions == pytest.approx(two.atoms.positions, abs=1e-8)


def test_molecules_and_crystals_charges_and_constraints_stand_side_by_side(periodic_calculator: AIMNet2) -> None:
    anion = rattled("OH", seed=1)
    anion.info["charge"] = -1
    held_one = rattled("CH3OH", seed=2)
    held_one.set_constraint(FixAtoms([0, 1]))
    images = [anion, crystal(), held_one]
    done = molcalc.relax(images, periodic_calculator, fmax=0.5, progress=False)
    assert all(atoms.info["converged"] for atoms in done)
    assert "stress" in done[1].calc.results
    assert np.array_equal(done[2].positions[:2], held_one.positions[:2])
    for atoms in done:
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.5
        again = atoms.copy()
        again.calc = periodic_calculator
        assert again.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    assert done[0].get_charges().sum() == pytest.approx(-1.0, abs=1e-6)


def test_what_cannot_be_relaxed_comes_back_with_the_reason(images: list[Atoms], calculator: AIMNet2) -> None:
    broken = images[0].copy()
    broken.positions[1] = broken.positions[0]
    unknown = Atoms("Xe")
    with pytest.warns(RelaxationWarning, match="2 of 4 structures were not relaxed; structure 0: atoms 0 and 1 are"):
        done = molcalc.relax([broken, images[0], unknown, images[1]], calculator, progress=False)
    assert [atoms.info["converged"] for atoms in done] == [False, True, False, True]
    assert "0.000 Å apart" in done[0].info["error"]
    assert "Xe" in done[2].info["error"]
    assert np.array_equal(done[0].positions, broken.positions)
    assert "error" not in done[1].info
    with pytest.raises(AtomsTooCloseError, match="atoms 0 and 1"):
        molcalc.relax(broken, calculator, progress=False)
    with pytest.raises(InputError, match="the list is empty"):
        molcalc.relax([], calculator, progress=False)
    with pytest.raises(InputError, match="structure 1 is 5"):
        molcalc.relax([images[0], 5], calculator, progress=False)


def test_a_structure_that_explodes_on_its_way_does_not_stop_the_others(
    images: list[Atoms], calculator: AIMNet2, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict, calls = Predictor.predict, [0]

    def exploding(self: Predictor, batches: Any, gradients: Any) -> list[Prediction]:
        found = predict(self, batches, gradients)
        calls[0] += 1
        if calls[0] == 3:
            found[0].results["forces"][0] = np.nan
        return found

    monkeypatch.setattr(Predictor, "predict", exploding)
    first, second = relax_all(images, calculator, TIGHT)
    assert isinstance(first, NonFiniteResultError)
    assert str(first).startswith("step 2: ")
    assert isinstance(second, Relaxation)
    assert second.converged
