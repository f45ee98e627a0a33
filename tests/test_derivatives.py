"""Forces and stress are derivatives of the energy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.md.verlet import VelocityVerlet

from molcalc.derivatives import evaluate
from molcalc.io.checkpoint import Checkpoint
from tests.helpers.calculators import periodic_calculator, tiny_calculator, trembling
from tests.helpers.structures import crystal, organic

FORCE_FD = 1e-5  # eV/Å at a displacement of 1e-4 Å
STRESS_FD = 1e-8  # eV/Å³ at a strain of 1e-5


@pytest.fixture(params=["closed shell", "open shell"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    name = request.param.replace(" ", "_")
    return request.getfixturevalue(name)


def test_the_small_model_has_every_contribution(checkpoint: Checkpoint) -> None:
    atoms = organic()
    atoms.calc = tiny_calculator(checkpoint)
    without = tiny_calculator(checkpoint, dispersion=None)
    assert np.abs(atoms.get_charges()).max() > 0.1
    assert np.abs(atoms.get_forces()).max() > 1.0
    assert abs(atoms.get_potential_energy() - without.get_potential_energy(atoms)) > 1e-2
    potential = atoms.calc.potential
    batch = atoms.calc.prepare(atoms)[0]
    charges = {"charges": torch.as_tensor(atoms.get_charges())}
    assert abs(float(potential.terms[0](batch, charges).sum())) > 1e-2


def test_forces_equal_minus_energy_gradient_with_the_right_order(checkpoint: Checkpoint) -> None:
    atoms = organic()
    atoms.calc = tiny_calculator(checkpoint)
    picked = [0, 2, 5]
    exact = atoms.get_forces()[picked]
    errors = [
        np.abs(calculate_numerical_forces(atoms, eps=eps, iatoms=picked) - exact).max() for eps in (1e-2, 1e-3, 1e-4)
    ]
    assert 80 < errors[0] / errors[1] < 125
    assert errors[2] < FORCE_FD


def test_forces_of_a_crystal_equal_minus_energy_gradient(checkpoint: Checkpoint) -> None:
    atoms = crystal()
    atoms.calc = periodic_calculator(checkpoint)
    numerical = calculate_numerical_forces(atoms, eps=1e-4, iatoms=[0, 4])
    assert np.abs(numerical - atoms.get_forces()[[0, 4]]).max() < FORCE_FD


def test_stress_equals_the_strain_derivative_in_voigt_order(checkpoint: Checkpoint) -> None:
    atoms = crystal()
    atoms.calc = periodic_calculator(checkpoint)
    stress = atoms.get_stress()
    assert stress.shape == (6,)
    assert np.abs(stress).min() > 1e-4
    assert len(set(np.round(stress, 6))) == 6
    assert np.abs(calculate_numerical_stress(atoms, eps=1e-5) - stress).max() < STRESS_FD


def test_stress_is_positive_under_tension(closed_shell: Checkpoint) -> None:
    atoms = crystal()
    atoms.calc = periodic_calculator(closed_shell)
    pressure = -np.trace(atoms.get_stress(voigt=False)) / 3
    scale, energies, volumes = 1e-5, [], []
    for sign in (1, -1):
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell * (1 + sign * scale), scale_atoms=True)
        scaled.calc = atoms.calc
        energies.append(scaled.get_potential_energy())
        volumes.append(scaled.get_volume())
    numerical = -(energies[0] - energies[1]) / (volumes[0] - volumes[1])
    assert pressure == pytest.approx(numerical, rel=1e-6)


def test_stress_of_a_slab_scales_with_the_vacuum(closed_shell: Checkpoint) -> None:
    atoms = crystal()
    atoms.set_cell([[4.4, 0.3, 0.0], [0.2, 4.6, 0.0], [0.0, 0.0, 15.0]])
    atoms.pbc = (True, True, False)
    atoms.calc = periodic_calculator(closed_shell)
    before = atoms.get_stress() * atoms.get_volume()
    atoms.set_cell([[4.4, 0.3, 0.0], [0.2, 4.6, 0.0], [0.0, 0.0, 30.0]])
    assert np.allclose(atoms.get_stress() * atoms.get_volume(), before, rtol=1e-9)


@pytest.mark.parametrize("cell", [None, np.eye(3)], ids=["no cell", "dummy cell"])
def test_stress_of_a_molecule_is_refused(closed_shell: Checkpoint, cell: np.ndarray | None) -> None:
    atoms = organic()
    if cell is not None:
        atoms.cell = cell
    atoms.calc = periodic_calculator(closed_shell)
    with pytest.raises(PropertyNotImplementedError, match=r"stress.*3 periodic"):
        atoms.get_stress()
    assert atoms.calc.results == {}


def test_training_gradients_reach_every_weight(closed_shell: Checkpoint) -> None:
    atoms = organic()
    calc = tiny_calculator(closed_shell)
    network = calc.potential.members[0]
    weights = {name: p.requires_grad_() for name, p in network.named_parameters()}
    batch = calc.prepare(atoms)[0]
    results = evaluate(calc.potential, batch, ("forces",), create_graph=True)
    loss = results["forces"].square().sum() + results["energy"].sum()
    gradients = torch.autograd.grad(loss, list(weights.values()))
    network.requires_grad_(False)
    assert all(bool(torch.isfinite(g).all()) and float(g.abs().max()) > 0 for g in gradients)


@pytest.fixture(scope="module")
def moving(closed_shell: Checkpoint) -> Atoms:
    return trembling(tiny_calculator(closed_shell))


def test_energy_error_of_dynamics_is_of_second_order_in_the_time_step(moving: Atoms) -> None:
    spreads = []
    for timestep in (0.5, 0.25):
        atoms = moving.copy()
        atoms.calc = moving.calc
        energies: list[float] = []
        dynamics = VelocityVerlet(atoms, timestep * units.fs)
        dynamics.attach(lambda atoms=atoms, energies=energies: energies.append(atoms.get_total_energy()))
        dynamics.run(int(150 / timestep))
        spreads.append(np.std(energies))
    assert 3.2 < spreads[0] / spreads[1] < 4.8


def test_motion_is_reversible_in_time(moving: Atoms) -> None:
    atoms = moving.copy()
    atoms.calc = moving.calc
    VelocityVerlet(atoms, 0.5 * units.fs).run(200)
    atoms.set_momenta(-atoms.get_momenta())
    VelocityVerlet(atoms, 0.5 * units.fs).run(200)
    assert np.abs(atoms.positions - moving.positions).max() < 1e-8
