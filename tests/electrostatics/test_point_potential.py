"""The compiled potential of point charges against torch, for ragged systems."""

import pytest
import torch

from molcalc.electrostatics import point_potential as module
from molcalc.electrostatics.multipoles import electrostatic_potential
from molcalc.electrostatics.point_potential import (
    moment_potential,
    moments_torch,
    point_potential,
    potential_torch,
)
from molcalc.units import BOHR, HARTREE


@pytest.fixture
def ragged():
    """Points, sites and charges of three systems; the second has no points."""
    torch.manual_seed(0)
    point_idx = torch.tensor([0] * 4 + [2] * 6)
    site_idx = torch.tensor([0] * 3 + [1] * 2 + [2] * 2)
    points, sites = torch.randn(10, 3, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64)
    return points, sites, torch.randn(7, dtype=torch.float64), point_idx, site_idx


def test_unit_charge_makes_14_volt_at_one_angstrom():
    origin, point = torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 1.0]])
    index = torch.zeros(1, dtype=torch.int64)
    value = float(electrostatic_potential(point, origin, torch.ones(1), index, index))
    assert value == pytest.approx(14.3996, abs=1e-4)
    assert value / HARTREE == pytest.approx(0.529177, abs=1e-6)
    assert value == pytest.approx(HARTREE * BOHR, rel=1e-12)


def test_compiled_values_and_gradients_equal_torch(ragged):
    points, sites, charges, *indices = ragged
    results = []
    for function in (point_potential, potential_torch):
        leaves = [tensor.clone().requires_grad_() for tensor in (sites, charges)]
        value = function(points, *leaves, *indices)
        results.append((value.detach(), *torch.autograd.grad((value * torch.arange(10.0)).sum(), leaves)))
    for found, expected in zip(*results):
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


def test_all_derivatives_equal_finite_differences(ragged):
    points, sites, charges, *indices = ragged
    inputs = [tensor.clone().requires_grad_() for tensor in (points, sites, charges)]
    assert torch.autograd.gradcheck(lambda *x: point_potential(*x, *indices), inputs)
    assert torch.autograd.gradgradcheck(lambda *x: point_potential(*x, *indices), inputs)


def with_moments(ragged):
    """The same points and sites, with dipoles and symmetric quadrupoles."""
    points, sites, _, *indices = ragged
    tensors = torch.randn(7, 3, 3, dtype=torch.float64)
    tensors = tensors + tensors.mT
    return [points, sites, torch.randn(7, 3, dtype=torch.float64), tensors], indices


def test_compiled_potential_and_gradients_of_moments_equal_torch(ragged):
    (points, sites, *moments), indices = with_moments(ragged)
    results = []
    for function in (moment_potential, moments_torch):
        leaves = [tensor.clone().requires_grad_() for tensor in moments]
        value = function(points, sites, *leaves, *indices)
        results.append((value.detach(), *torch.autograd.grad((value * torch.arange(10.0)).sum(), leaves)))
    for found, expected in zip(*results):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_all_derivatives_of_moments_equal_finite_differences(ragged):
    given, indices = with_moments(ragged)
    inputs = [tensor.clone().requires_grad_() for tensor in given]
    assert torch.autograd.gradcheck(lambda *x: moment_potential(*x, *indices), inputs, nondet_tol=1e-12)


def test_points_may_come_in_any_order(ragged):
    points, sites, charges, point_idx, site_idx = ragged
    order = torch.randperm(10)
    shuffled = point_potential(points[order], sites, charges, point_idx[order], site_idx)
    torch.testing.assert_close(shuffled, point_potential(points, sites, charges, point_idx, site_idx)[order])
    (points, *others), _ = with_moments(ragged)
    shuffled = moment_potential(points[order], *others, point_idx[order], site_idx)
    torch.testing.assert_close(shuffled, moment_potential(points, *others, point_idx, site_idx)[order])


def test_blocks_of_points_do_not_change_the_result(ragged, monkeypatch):
    whole = point_potential(*ragged)
    monkeypatch.setattr(module, "BLOCK_POINTS", 4)
    torch.testing.assert_close(point_potential(*ragged), whole, rtol=1e-14, atol=1e-14)


def test_no_points_give_no_values(ragged):
    _, sites, charges, _, site_idx = ragged
    nothing = torch.empty(0, dtype=torch.int64)
    assert point_potential(torch.empty(0, 3, dtype=torch.float64), sites, charges, nothing, site_idx).shape == (0,)


def test_sites_may_depend_on_charges(ragged):
    """The second derivative must not take the path from charges to sites twice."""
    points, sites, charges, *indices = ragged
    direction = torch.randn(7, 3, dtype=torch.float64)

    def function(q):
        return point_potential(points, sites + q[:, None] * direction, q, *indices)

    assert torch.autograd.gradgradcheck(function, [charges.clone().requires_grad_()])
