"""Molecules with distributed charges: orientation, total charge, long range, motion."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.md.verlet import VelocityVerlet

from molcalc.calculators.base import MolCalculator
from molcalc.derivatives import evaluate
from tests.helpers.calculators import results_of, tiny_calculator, trembling
from tests.helpers.networks import DCM_KINDS, dcm_batch, dcm_potential, tiny_dcm
from tests.helpers.structures import organic, points_around, random_rotation

kinds = pytest.mark.parametrize("kind", DCM_KINDS)


pytestmark = pytest.mark.filterwarnings("ignore::molcalc.errors.OpenShellWarning")


@pytest.fixture(params=DCM_KINDS)
def calc(request: pytest.FixtureRequest) -> MolCalculator:
    return tiny_calculator(tiny_dcm(request.param))


def charged(charge: int) -> Atoms:
    atoms = organic()
    atoms.info["charge"] = charge
    return atoms


@kinds
@pytest.mark.filterwarnings("ignore::molcalc.errors.NonEquivariantWarning")
def test_orientation_spreads_the_potential_of_the_plain_head_only(kind: str) -> None:
    calc, atoms = tiny_calculator(tiny_dcm(kind)), organic()
    points = points_around(atoms.get_center_of_mass(), 6, seed=0)
    values = []
    for seed in range(50):
        matrix, turned = random_rotation(seed), atoms.copy()
        turned.positions = atoms.positions @ matrix.T
        values.append(calc.get_esp(points @ matrix.T, turned))
    spread = np.std(values, axis=0).max()
    assert spread < 1e-10 if kind == "physnet-dcm" else spread > 1e-3
    assert calc.parameters["equivariant"] is (kind == "physnet-dcm")


@pytest.mark.parametrize("charge", [-1, 0, 1, 2])
def test_charges_and_dipole_follow_the_total_charge(calc: MolCalculator, charge: int) -> None:
    found = results_of(calc, charged(charge))
    assert abs(found["charges"].sum() - charge) < 1e-10
    shifted = charged(charge)
    shifted.translate([7.0, -5.0, 3.0])
    assert np.abs(results_of(calc, shifted)["dipole"] - found["dipole"]).max() < 1e-8  # about the center of mass
    arms = organic().positions - organic().get_center_of_mass()
    assert np.abs(calc.extras["charge_dipole"] - found["charges"] @ arms).max() < 1e-8


def test_distant_waters_attract_as_dipoles_do(calc: MolCalculator) -> None:
    def interaction(distance: float) -> float:
        second = molecule("H2O")
        second.translate([0.0, 0.0, distance])
        return float(results_of(calc, molecule("H2O") + second)["energy"]) - 2 * alone

    alone = float(results_of(calc, molecule("H2O"))["energy"])
    near, far = interaction(20.0), interaction(50.0)
    assert abs(near) > 1e-6
    assert near / far == pytest.approx(2.5**3, rel=0.05)
    assert abs(interaction(1000.0)) < 1e-6


@pytest.fixture
def moving(calc: MolCalculator) -> Atoms:
    return trembling(calc)


def total_energies(atoms: Atoms, step_fs: float, n_steps: int) -> np.ndarray:
    return np.array([atoms.get_total_energy() for _ in VelocityVerlet(atoms, step_fs * units.fs).irun(n_steps)])


def test_total_energy_does_not_drift_and_its_error_is_of_second_order(moving: Atoms) -> None:
    coarse, fine = (total_energies(_copy(moving), step, round(60 / step)) for step in (0.5, 0.25))
    assert coarse.std() / fine.std() == pytest.approx(4.0, abs=0.8)
    half = len(fine) // 2
    assert abs(fine[half:].mean() - fine[:half].mean()) < fine.std()


def test_motion_is_reversible_in_time(moving: Atoms) -> None:
    atoms = _copy(moving)
    start = atoms.positions.copy()
    total_energies(atoms, 0.5, 100)
    assert np.abs(atoms.positions - start).max() > 0.01
    atoms.set_momenta(-atoms.get_momenta())
    total_energies(atoms, 0.5, 100)
    assert np.abs(atoms.positions - start).max() < 1e-8


def _copy(atoms: Atoms) -> Atoms:
    copied = atoms.copy()
    copied.calc = atoms.calc
    return copied


@kinds
def test_every_way_of_giving_the_charge_has_the_same_energy(kind: str) -> None:
    checkpoint = tiny_dcm(kind)
    energies = []
    for charge in (-1, 0, 1):
        given = tiny_calculator(checkpoint, charge=charge)
        set_later = tiny_calculator(checkpoint)
        set_later.charge = charge
        by_info, by_initial = molecule("H2O"), molecule("H2O")
        by_info.info["charge"] = charge
        by_initial.set_initial_charges([charge, 0.0, 0.0])
        calc, potential = tiny_calculator(checkpoint), dcm_potential(checkpoint)
        routes = [
            given.get_potential_energy(molecule("H2O")),
            set_later.get_potential_energy(molecule("H2O")),
            calc.get_potential_energy(by_info),
            calc.get_potential_energy(by_initial),
            calc.evaluate([by_info, Atoms("O")], ("energy",))[0]["energy"],
            float(evaluate(potential, dcm_batch(molecule("H2O"), potential, charge), ())["energy"]),
        ]
        assert np.ptp(routes) < 1e-10
        energies.append(routes[0])
    assert min(abs(a - b) for k, a in enumerate(energies) for b in energies[:k]) > 1e-3
