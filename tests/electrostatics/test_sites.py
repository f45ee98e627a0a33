"""Distributed charges with atomic dipoles and quadrupoles as sources of moments, potential and field."""

import pytest
import torch

from molcalc.electrostatics.sites import ChargeSites
from molcalc.errors import ConfigError

ZERO = torch.zeros(1, 3, dtype=torch.float64)


def cloud(n_sites=12, size=1.0):
    """Charges of one system around the origin."""
    torch.manual_seed(2)
    positions, charges = size * torch.randn(n_sites, 3, dtype=torch.float64), torch.randn(n_sites, dtype=torch.float64)
    return ChargeSites(positions=positions, charges=charges, system_idx=torch.zeros(n_sites, dtype=torch.int64))


def multipoles_of(sites):
    """Charge, dipole (as two charges) and quadrupole of a cloud, all at the origin."""
    xx, yy, zz, xy, yz, zx = sites.quadrupole(ZERO)[0]
    moment = torch.stack([torch.stack(row) for row in ((xx, xy, zx), (xy, yy, yz), (zx, yz, zz))])[None]
    arm = 1e-3 * sites.dipole(ZERO, 1) / sites.dipole(ZERO, 1).norm()
    strength = sites.dipole(ZERO, 1).norm() / 2e-3
    return ChargeSites(
        positions=torch.cat([ZERO, arm, -arm]),
        charges=torch.stack([sites.charges.sum(), strength, -strength]),
        system_idx=torch.zeros(3, dtype=torch.int64),
        centers=ZERO,
        quadrupoles=moment,
        center_idx=torch.zeros(1, dtype=torch.int64),
    )


def test_far_potential_is_that_of_charge_dipole_and_quadrupole():
    sites = cloud()
    points = 60.0 * torch.nn.functional.normalize(torch.randn(30, 3, dtype=torch.float64), dim=1)
    index = torch.zeros(30, dtype=torch.int64)
    exact, near = sites.potential(points, index), multipoles_of(sites)
    without = ChargeSites(positions=near.positions, charges=near.charges, system_idx=near.system_idx)
    error = (near.potential(points, index) - exact).abs().max()
    assert error < 0.1 * (without.potential(points, index) - exact).abs().max()
    torch.testing.assert_close(near.quadrupole(ZERO), sites.quadrupole(ZERO), atol=1e-6, rtol=0)


def test_field_is_minus_the_gradient_of_the_potential():
    sites = multipoles_of(cloud())
    points = (3.0 + torch.rand(20, 3, dtype=torch.float64)).requires_grad_()
    index = torch.zeros(20, dtype=torch.int64)
    (gradient,) = torch.autograd.grad(sites.potential(points, index).sum(), points)
    torch.testing.assert_close(sites.field(points.detach(), index), -gradient, rtol=1e-9, atol=1e-9)


def test_dipoles_of_atoms_are_those_of_two_near_charges():
    """Potential, field, dipole and quadrupole about a center of a dipole that sits beside it."""
    torch.manual_seed(4)
    atoms, dipoles = torch.randn(2, 5, 3, dtype=torch.float64)
    index, arm = torch.zeros(5, dtype=torch.int64), 1e-4 * dipoles / dipoles.norm(dim=1, keepdim=True)
    strength = dipoles.norm(dim=1) / 2e-4
    near = ChargeSites(
        positions=torch.cat([atoms + arm, atoms - arm]), charges=torch.cat([strength, -strength]),
        system_idx=torch.zeros(10, dtype=torch.int64),
    )  # fmt: skip
    points = 6.0 + torch.rand(20, 3, dtype=torch.float64)
    where = torch.zeros(20, dtype=torch.int64)
    zero = torch.zeros(5, dtype=torch.float64)
    sites = ChargeSites(
        positions=atoms, charges=zero, system_idx=index, centers=atoms, center_idx=index, dipoles=dipoles
    )
    torch.testing.assert_close(sites.potential(points, where), near.potential(points, where), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(sites.field(points, where), near.field(points, where), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(sites.quadrupole(ZERO), near.quadrupole(ZERO), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(sites.dipole(atoms, 1), near.dipole(torch.cat([atoms, atoms]), 1))


def test_an_unknown_source_is_an_error():
    with pytest.raises(ConfigError, match="source='distribted'.*did you mean 'distributed'"):
        ChargeSites.of(None, {}, "distribted")
