"""Molecules with distributed charges: orientation, total charge, long range, motion."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from molcalc.calculators.base import MolCalculator
from molcalc.derivatives import evaluate
from tests.helpers.tiny import organic, random_rotation
from tests.helpers.tiny_dcm import KINDS, dcm_batch, dcm_calculator, dcm_potential, tiny_dcm

kinds = pytest.mark.parametrize("kind", KINDS)


pytestmark = pytest.mark.filterwarnings("ignore::molcalc.errors.OpenShellWarning")


@pytest.fixture(params=KINDS)
def calc(request: pytest.FixtureRequest) -> MolCalculator:
    return dcm_calculator(tiny_dcm(request.param))


def results(calc: MolCalculator, atoms: Atoms) -> dict[str, np.ndarray]:
    atoms = atoms.copy()
    calc.calculate(atoms)
    return {name: np.array(value) for name, value in calc.results.items()}


def charged(charge: int) -> Atoms:
    atoms = organic()
    atoms.info["charge"] = charge
    return atoms


@kinds
@pytest.mark.filterwarnings("ignore::molcalc.errors.NonEquivariantWarning")
def test_orientation_spreads_the_potential_of_the_plain_head_only(kind: str) -> None:
    calc, atoms = dcm_calculator(tiny_dcm(kind)), organic()
    directions = np.random.default_rng(0).normal(size=(6, 3))
    points = atoms.get_center_of_mass() + 5.0 * directions / np.linalg.norm(directions, axis=1)[:, None]
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
    found = results(calc, charged(charge))
    assert abs(found["charges"].sum() - charge) < 1e-10
    shifted = charged(charge)
    shifted.translate([7.0, -5.0, 3.0])
    assert np.abs(results(calc, shifted)["dipole"] - found["dipole"]).max() < 1e-8  # about the center of mass
    arms = organic().positions - organic().get_center_of_mass()
    assert np.abs(calc.extras["charge_dipole"] - found["charges"] @ arms).max() < 1e-8


def test_distant_waters_attract_as_dipoles_do(calc: MolCalculator) -> None:
    def interaction(distance: float) -> float:
        second = molecule("H2O")
        second.translate([0.0, 0.0, distance])
        return float(results(calc, molecule("H2O") + second)["energy"]) - 2 * alone

    alone = float(results(calc, molecule("H2O"))["energy"])
    near, far = interaction(20.0), interaction(50.0)
    assert abs(near) > 1e-6
    assert near / far == pytest.approx(2.5**3, rel=0.05)
    assert abs(interaction(1000.0)) < 1e-6


@pytest.fixture
def trembling(calc: MolCalculator) -> Atoms:
    """A molecule near a minimum of the random potential, with small velocities."""
    atoms = molecule("CH3OH")
    atoms.calc = calc
    BFGS(atoms, logfile=None).run(fmax=0.02, steps=200)
    atoms.set_velocities(np.random.default_rng(0).normal(scale=0.004, size=(len(atoms), 3)))
    return atoms


def total_energies(atoms: Atoms, step_fs: float, n_steps: int) -> np.ndarray:
    return np.array([atoms.get_total_energy() for _ in VelocityVerlet(atoms, step_fs * units.fs).irun(n_steps)])


def test_total_energy_does_not_drift_and_its_error_is_of_second_order(trembling: Atoms) -> None:
    coarse, fine = (total_energies(_copy(trembling), step, round(60 / step)) for step in (0.5, 0.25))
    assert coarse.std() / fine.std() == pytest.approx(4.0, abs=0.8)
    half = len(fine) // 2
    assert abs(fine[half:].mean() - fine[:half].mean()) < fine.std()


def test_motion_is_reversible_in_time(trembling: Atoms) -> None:
    atoms = _copy(trembling)
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
        given = dcm_calculator(checkpoint, charge=charge)
        set_later = dcm_calculator(checkpoint)
        set_later.charge = charge
        by_info, by_initial = molecule("H2O"), molecule("H2O")
        by_info.info["charge"] = charge
        by_initial.set_initial_charges([charge, 0.0, 0.0])
        calc, potential = dcm_calculator(checkpoint), dcm_potential(checkpoint)
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
