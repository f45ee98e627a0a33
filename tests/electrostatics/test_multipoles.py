"""Dipole, quadrupole, potential and field of point charges."""

import numpy as np
import pytest
import torch
from ase.build import molecule

from molcalc.electrostatics import point_potential
from molcalc.electrostatics.multipoles import (
    buckingham_quadrupole,
    center_of_mass,
    dipole,
    electric_field,
    electrostatic_potential,
    moment_about,
    quadrupole,
)
from molcalc.units import BOHR, DEBYE, HARTREE
from tests.helpers.checks import random_charges
from tests.helpers.structures import random_atoms, random_rotation

WATER = molecule("H2O")
WATER_CHARGES = torch.tensor([-0.8, 0.4, 0.4], dtype=torch.float64)


def tensors(atoms):
    """Positions, masses and system index of one structure."""
    n = len(atoms)
    return torch.tensor(atoms.positions), torch.tensor(atoms.get_masses()), torch.zeros(n, dtype=torch.int64)


def points_around(seed=0, n_points=20):
    return torch.tensor(np.random.default_rng(seed).normal(0, 4.0, (n_points, 3)))


def indices(n):
    return torch.zeros(n, dtype=torch.int64)


@pytest.fixture
def two_systems():
    """Positions, charges, masses and system index of three and five atoms."""
    first, second = random_atoms(3), random_atoms(5, seed=2)
    positions = torch.tensor(np.concatenate([first.positions, second.positions]))
    masses = torch.tensor(np.concatenate([first.get_masses(), second.get_masses()]))
    return positions, random_charges(8, total=0.6), masses, torch.tensor([0] * 3 + [1] * 5)


def test_dipole_of_water_is_in_e_angstrom_and_points_to_the_hydrogens():
    positions, masses, system_idx = tensors(WATER)
    moment = dipole(positions, WATER_CHARGES, masses, system_idx, 1)[0]
    height = WATER.positions[1:, 2].mean() - WATER.positions[0, 2]
    np.testing.assert_allclose(moment, [0.0, 0.0, 0.8 * height], atol=1e-14)
    assert 2.0 < abs(float(moment[2])) / DEBYE < 2.5


def test_dipole_of_an_ion_is_about_its_center_of_mass():
    positions, masses, system_idx = tensors(WATER)
    charges = WATER_CHARGES + 1 / 3
    moment = dipole(positions, charges, masses, system_idx, 1)
    torch.testing.assert_close(dipole(positions + 5.0, charges, masses, system_idx, 1), moment)
    expected = (charges.numpy()[:, None] * (WATER.positions - WATER.get_center_of_mass())).sum(axis=0)
    np.testing.assert_allclose(moment[0], expected, atol=1e-14)


def test_moments_of_a_batch_equal_those_of_single_systems(two_systems):
    positions, charges, masses, system_idx = two_systems
    together = dipole(positions, charges, masses, system_idx, 2)
    center = center_of_mass(positions, masses, system_idx, 2)
    second_moments = quadrupole(center, positions, charges, system_idx)
    for k in range(2):
        mine = system_idx == k
        part = positions[mine], charges[mine]
        alone = dipole(*part, masses[mine], indices(int(mine.sum())), 1)
        torch.testing.assert_close(together[k], alone[0])
        torch.testing.assert_close(second_moments[k], quadrupole(center[k : k + 1], *part, indices(int(mine.sum())))[0])


def test_distributed_charges_have_the_moment_of_their_sum_plus_their_offsets():
    positions, masses, system_idx = tensors(WATER)
    offsets = torch.tensor(np.random.default_rng(1).normal(0, 0.2, (3, 4, 3)))
    charges = random_charges(12).reshape(3, 4)
    center = center_of_mass(positions, masses, system_idx, 1)
    sites = (positions[:, None] + offsets).reshape(-1, 3)
    moment = moment_about(center, sites, charges.reshape(-1), system_idx.repeat_interleave(4))
    expected = dipole(positions, charges.sum(dim=1), masses, system_idx, 1) + (charges[:, :, None] * offsets).sum(
        (0, 1)
    )
    torch.testing.assert_close(moment, expected)


def test_quadrupole_of_a_linear_molecule():
    """+q −2q +q along z at distance a: Θ_zz = 2 q a², Θ_xx = Θ_yy = −q a² (Buckingham)."""
    positions = torch.tensor([[0, 0, -1.5], [0, 0, 0], [0, 0, 1.5]], dtype=torch.float64)
    charges = torch.tensor([0.4, -0.8, 0.4], dtype=torch.float64)
    center = torch.zeros(1, 3, dtype=torch.float64)
    theta = buckingham_quadrupole(center, positions, charges, indices(3))[0]
    torch.testing.assert_close(theta, 0.4 * 1.5**2 * torch.diag(torch.tensor([-1.0, -1.0, 2.0], dtype=torch.float64)))
    moments = quadrupole(center, positions, charges, indices(3))[0]
    np.testing.assert_allclose(moments, 0.4 * 1.5**2 * np.array([-2, -2, 4, 0, 0, 0]) / 3, atol=1e-14)


def test_quadrupole_turns_as_a_tensor_and_has_no_trace(two_systems):
    positions, charges, masses, system_idx = two_systems
    turn = torch.tensor(random_rotation(4))
    center = center_of_mass(positions, masses, system_idx, 2)
    theta = buckingham_quadrupole(center, positions, charges, system_idx)
    turned = buckingham_quadrupole(center @ turn, positions @ turn, charges, system_idx)
    torch.testing.assert_close(turned, turn.T @ theta @ turn)
    torch.testing.assert_close(theta, theta.mT)
    assert float(theta.diagonal(dim1=1, dim2=2).sum(dim=1).abs().max()) < 1e-12


def test_potential_of_one_charge_at_one_angstrom():
    origin, one = torch.zeros(1, 3, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    point = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    potential = electrostatic_potential(point, origin, one, indices(1), indices(1))
    assert float(potential) == pytest.approx(14.3996, abs=1e-4)
    assert float(potential) / HARTREE == pytest.approx(BOHR, rel=1e-14)
    field = electric_field(point, origin, one, indices(1), indices(1))
    np.testing.assert_allclose(field, [[0.0, float(potential), 0.0]])


def test_potential_far_away_is_that_of_the_dipole():
    positions, masses, system_idx = tensors(WATER)
    center = center_of_mass(positions, masses, system_idx, 1)
    moment = dipole(positions, WATER_CHARGES, masses, system_idx, 1)[0]
    direction = torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64)
    potential = electrostatic_potential(center + 100.0 * direction, positions, WATER_CHARGES, indices(1), system_idx)
    assert float(potential) == pytest.approx(HARTREE * BOHR * float(moment @ direction) / 100.0**2, rel=2e-2)


def test_each_point_feels_only_its_own_system_in_any_order(two_systems):
    positions, charges, _, system_idx = two_systems
    points = points_around()
    point_system = torch.tensor(np.random.default_rng(7).integers(0, 2, len(points)))
    for function in (electrostatic_potential, electric_field):
        together = function(points, positions, charges, point_system, system_idx)
        for k in range(2):
            mine, atoms = point_system == k, system_idx == k
            alone = function(
                points[mine], positions[atoms], charges[atoms], indices(int(mine.sum())), indices(int(atoms.sum()))
            )
            torch.testing.assert_close(together[mine], alone)


def test_many_points_are_taken_in_chunks_with_the_same_result(two_systems, monkeypatch):
    positions, charges, _, system_idx = two_systems
    arguments = (points_around(), positions, charges, torch.ones(20, dtype=torch.int64), system_idx)
    whole = electrostatic_potential(*arguments), electric_field(*arguments)
    monkeypatch.setattr(point_potential, "POINT_PAIRS_AT_ONCE", 16)
    torch.testing.assert_close((electrostatic_potential(*arguments), electric_field(*arguments)), whole)


def test_field_is_minus_the_gradient_of_the_potential(two_systems):
    positions, charges, _, system_idx = two_systems
    points, point_system = points_around().requires_grad_(), torch.ones(20, dtype=torch.int64)
    potential = electrostatic_potential(points, positions, charges, point_system, system_idx)
    (gradient,) = torch.autograd.grad(potential.sum(), points)
    field = electric_field(points.detach(), positions, charges, point_system, system_idx)
    torch.testing.assert_close(field, -gradient, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("function", [electrostatic_potential, electric_field])
def test_derivatives_equal_finite_differences(function, two_systems):
    positions, charges, _, system_idx = two_systems
    point_system = torch.tensor([0, 1, 1, 0])
    inputs = tuple(t.clone().requires_grad_() for t in (points_around(n_points=4), positions, charges))

    def of(points, positions, charges):
        return function(points, positions, charges, point_system, system_idx)

    assert torch.autograd.gradcheck(of, inputs, atol=1e-7)
    assert torch.autograd.gradgradcheck(of, inputs, atol=1e-6)


def test_moments_are_differentiable(two_systems):
    positions, charges, masses, system_idx = two_systems
    inputs = tuple(t.clone().requires_grad_() for t in (positions, charges))

    def of(positions, charges):
        center = center_of_mass(positions, masses, system_idx, 2)
        return dipole(positions, charges, masses, system_idx, 2), quadrupole(center, positions, charges, system_idx)

    assert torch.autograd.gradcheck(of, inputs)
    assert torch.autograd.gradgradcheck(of, inputs)


def test_no_points_give_no_values():
    positions, _, system_idx = tensors(WATER)
    none = torch.empty(0, 3, dtype=torch.float64)
    assert electrostatic_potential(none, positions, WATER_CHARGES, indices(0), system_idx).shape == (0,)
    assert electric_field(none, positions, WATER_CHARGES, indices(0), system_idx).shape == (0, 3)


def test_float32_charges_give_a_float64_potential():
    positions, _, system_idx = tensors(WATER)
    potential = electrostatic_potential(points_around(), positions, WATER_CHARGES.float(), indices(20), system_idx)
    assert potential.dtype == torch.float64
