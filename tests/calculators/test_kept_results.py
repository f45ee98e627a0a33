"""Results of the last few structures: found again, never wrong, and not too many."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import Trajectory
from ase.mep import NEB
from ase.optimize import BFGS

from molcalc.calculators.base import MolCalculator
from molcalc.calculators.kept_results import KeptResult, KeptResults
from molcalc.io.checkpoint import Checkpoint
from molcalc.prediction.results import Prediction
from molcalc.state import State
from tests.helpers.calculators import tiny_calculator
from tests.helpers.structures import organic


@pytest.fixture
def calc(closed_shell: Checkpoint) -> MolCalculator:
    found: MolCalculator = tiny_calculator(closed_shell)
    return found


def count_passes(calc: MolCalculator, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """List that grows by one at every pass of the potential."""
    passes: list[int] = []
    predict = calc.predictor.predict
    monkeypatch.setattr(calc.predictor, "predict", lambda *args: (passes.append(1), predict(*args))[1])
    return passes


def test_a_path_with_one_calculator_takes_one_pass_for_each_image_that_moves(
    calc: MolCalculator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    start, end = molecule("NH3"), molecule("NH3")
    end.positions[1:, 2] *= -1
    images = [start, *(start.copy() for _ in range(3)), end]
    for image in images:
        image.calc = calc
    neb = NEB(images, allow_shared_calculator=True, method="improvedtangent")
    neb.interpolate()
    passes = count_passes(calc, monkeypatch)
    optimizer = BFGS(neb, logfile=None, trajectory=str(tmp_path / "neb.traj"))
    optimizer.run(fmax=1e-4, steps=2)
    assert len(passes) == 2 + 3 * 3  # both ends once, and three images at three places
    with Trajectory(tmp_path / "neb.traj") as written:
        energies = [image.get_potential_energy() for image in written[-5:]]
    assert energies == [calc.get_potential_energy(image) for image in images]
    assert len(passes) == 11


def test_what_is_kept_belongs_to_its_state_and_its_positions(calc: MolCalculator) -> None:
    atoms = organic()
    energies = {}
    for charge in (0, 2, 0, 2):
        atoms.info["charge"] = charge
        energies.setdefault(charge, calc.get_potential_energy(atoms))
        assert calc.get_potential_energy(atoms) == energies[charge]
        assert calc.todict()["charge"] == charge
    moved = atoms.copy()
    moved.positions[0, 0] += 1e-6
    assert calc.get_potential_energy(moved) != energies[2]
    assert energies[0] != energies[2]


def test_equal_bytes_of_another_type_or_shape_are_other_positions(calc: MolCalculator) -> None:
    water = molecule("H2O")
    calc.get_potential_energy(water)
    for other in (water.positions.view(">f8"), water.positions.ravel()):
        odd = water.copy()
        odd.arrays["positions"] = other
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is, it is no old result
            calc.get_property("energy", odd)


def test_edited_results_do_not_come_back(calc: MolCalculator) -> None:
    first, second = organic(1), organic(2)
    calc.get_potential_energy(first)
    forces = calc.results["forces"].copy()
    calc.results["forces"][:] = 0.0
    calc.get_potential_energy(second)
    for _ in range(2):
        assert np.array_equal(calc.get_forces(first), forces)
        calc.results["forces"][:] = 1.0
        calc.get_potential_energy(second)


def test_a_reset_and_a_new_option_forget_all(calc: MolCalculator, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = count_passes(calc, monkeypatch)
    for forget in (calc.reset, lambda: calc.set(charge=0), lambda: setattr(calc, "min_distance", 0.1)):
        for k in (1, 2):
            calc.get_potential_energy(organic(k))
        forget()
    assert len(passes) == 6
    assert calc.calculation_required(organic(1), ["energy"])


def test_copies_start_without_kept_results(calc: MolCalculator) -> None:
    for k in (1, 2):
        calc.get_potential_energy(organic(k))
    for other in (copy.deepcopy(calc), pickle.loads(pickle.dumps(calc)), calc.clone()):  # noqa: S301
        assert not other.calculation_required(organic(2), ["energy"])
        assert other.calculation_required(organic(1), ["energy"])
    assert not calc.calculation_required(organic(1), ["energy"])


def test_the_oldest_are_dropped() -> None:
    kept = KeptResults(max_structures=3, max_atoms=30)

    def add(n_atoms: int) -> Atoms:
        atoms = Atoms("H" * n_atoms, np.arange(3.0 * n_atoms).reshape(-1, 3))
        kept.add(KeptResult(atoms, State(0, 1), Prediction({"forces": np.zeros((n_atoms, 3))}, {})))
        return atoms

    small = [add(n) for n in (1, 2, 3)]
    assert kept.find(small[0], State(0, 1)) is not None
    add(4)
    assert [kept.find(atoms, State(0, 1)) is not None for atoms in small] == [True, False, True]
    add(27)
    assert len(kept) == 2  # the last ones that fit
    assert kept.find(add(31), State(0, 1)) is None
    assert kept.find(small[0], State(1, 2)) is None


def test_results_written_beside_the_structure_are_those_of_its_own(calc: MolCalculator) -> None:
    images = [organic(1), organic(2)]
    for image in images:
        image.calc = calc
        image.get_forces()
    frozen = [SinglePointCalculator(image, **calc.results) for image in images if image.get_forces() is not None]
    assert [each.results["energy"] for each in frozen] == [image.get_potential_energy() for image in images]
