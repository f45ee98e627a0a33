"""Potential on van der Waals surfaces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from molcalc.analysis import esp_surface
from molcalc.analysis.molecular_potential import MolecularPotential
from molcalc.analysis.surface import SurfaceDescriptors, SurfacePotential, VdwSurface, fibonacci_sphere
from molcalc.calculators import D3, AIMNet2
from molcalc.electrostatics.sites import ChargeSites
from molcalc.errors import ConfigError, InputError, MolcalcError
from molcalc.units import COULOMB, VDW_RADII
from tests.helpers.networks import tiny_checkpoint


def with_charges(atoms: Atoms, charges: list[float]) -> MolecularPotential:
    """Potential of known charges on the atoms."""
    sites = ChargeSites(
        positions=torch.as_tensor(np.array(atoms.positions)),
        charges=torch.tensor(charges, dtype=torch.float64),
        system_idx=torch.zeros(len(atoms), dtype=torch.int64),
    )
    return MolecularPotential(atoms, sites)


def on_surface(atoms: Atoms, charges: list[float], density: float = 10.0) -> SurfacePotential:
    """The same on the surface."""
    surface = VdwSurface.around(atoms, 1.4, density)
    return SurfacePotential(atoms, surface, with_charges(atoms, charges).at(surface.points))


def test_a_charge_has_one_value_on_its_sphere() -> None:
    atoms = Atoms("O", positions=[[1.0, -2.0, 0.5]])
    found, radius = on_surface(atoms, [-1.0]), 1.4 * VDW_RADII[8]
    assert np.abs(found.potential + COULOMB / radius).max() < 1e-12
    assert found.surface.areas.sum() == pytest.approx(4 * np.pi * radius**2, rel=1e-12)
    assert found.descriptors.deviation < 1e-12
    assert found.descriptors.area_positive == 0.0
    assert np.isnan(found.descriptors.mean_positive)


def test_a_dipole_has_the_potential_of_two_charges_and_its_extrema_at_the_ends() -> None:
    atoms = Atoms("N2", positions=[[0, 0, 0.6], [0, 0, -0.6]])
    found = on_surface(atoms, [0.5, -0.5])
    x, y, z = found.points.T
    exact = 0.5 * COULOMB * (1 / np.sqrt(x**2 + y**2 + (z - 0.6) ** 2) - 1 / np.sqrt(x**2 + y**2 + (z + 0.6) ** 2))
    assert np.abs(found.potential - exact).max() < 1e-12
    assert [extremum.atom for extremum in found.maxima] == [0]
    assert [extremum.atom for extremum in found.minima] == [1]
    top = 0.6 + 1.4 * VDW_RADII[7]
    assert found.maxima[0].position == pytest.approx([0, 0, top], abs=0.2)
    assert found.descriptors.v_max == found.maxima[0].potential
    assert found.descriptors.balance == pytest.approx(0.25, abs=1e-3)
    assert found.descriptors.mean == pytest.approx(0.0, abs=2e-3)


def test_points_inside_of_neighbors_are_left_out() -> None:
    atoms = Atoms("OC", positions=[[0, 0, 0], [0, 0, 1.2]])
    surface = VdwSurface.around(atoms, 1.4, 200.0)
    radii = 1.4 * VDW_RADII[atoms.numbers]
    distances = np.linalg.norm(surface.points[:, None] - atoms.positions, axis=2)
    assert (distances >= radii - 1e-9).all()
    assert np.abs(distances[np.arange(len(distances)), surface.atom] - radii[surface.atom]).max() < 1e-9
    # Each sphere lacks a cap, which begins where the two spheres meet.
    meeting = (radii[0] ** 2 - radii[1] ** 2 + 1.2**2) / (2 * 1.2)
    free = 2 * np.pi * radii[0] * (radii[0] + meeting) + 2 * np.pi * radii[1] * (radii[1] + 1.2 - meeting)
    assert surface.areas.sum() == pytest.approx(free, rel=5e-3)


def test_points_of_a_sphere_stand_for_equal_areas() -> None:
    points = fibonacci_sphere(2000)
    assert np.abs(np.linalg.norm(points, axis=1) - 1).max() < 1e-12
    assert np.abs(points.mean(axis=0)).max() < 1e-3
    assert points.T @ points / 2000 == pytest.approx(np.eye(3) / 3, abs=1e-3)


def test_descriptors_are_weighted_by_areas() -> None:
    values, areas = np.array([1.0, 3.0, -2.0, -4.0, -3.0]), np.array([2.0, 1.0, 1.0, 3.0, 1.0])
    found = SurfaceDescriptors.of(values, areas)
    assert found.mean == pytest.approx((2 + 3 - 2 - 12 - 3) / 8)
    assert found.mean_positive == pytest.approx(5 / 3)
    assert found.mean_negative == pytest.approx(-17 / 5)
    assert found.variance_positive == pytest.approx((2 * (2 / 3) ** 2 + (4 / 3) ** 2) / 3)
    up, down = found.variance_positive, found.variance_negative
    assert found.balance == pytest.approx(up * down / (up + down) ** 2)
    assert (found.area_positive, found.area_negative, found.area) == (3.0, 5.0, 8.0)


def test_the_surface_is_that_of_the_calculator() -> None:
    calc, atoms = AIMNet2(tiny_checkpoint()), molecule("CH3OH")
    atoms.calc = calc
    found = esp_surface(atoms)
    assert np.array_equal(found.potential, calc.get_esp(found.points, atoms))


def test_only_molecules_with_charges_have_a_potential() -> None:
    calc, atoms = AIMNet2(tiny_checkpoint()), molecule("H2O")
    for wrong in ({"scale": 0}, {"scale": float("nan")}, {"density": -1}, {"density": 1e9}, {"source": "dipole"}):
        with pytest.raises(ConfigError):
            esp_surface(atoms, calc, **wrong)
    with pytest.raises(InputError, match="no calculator cannot give charges"):
        esp_surface(atoms)
    with pytest.raises(InputError, match="no atoms"):
        esp_surface(Atoms(), calc)
    with pytest.raises(MolcalcError, match="charges"):
        esp_surface(atoms, D3("pbe0"))
    atoms.set_cell([9, 9, 9])
    atoms.pbc = True
    with pytest.raises(InputError, match="planar_potential"):
        esp_surface(atoms, calc)


def test_a_structure_whose_positions_are_not_finite_has_no_surface() -> None:
    atoms = molecule("H2O")
    atoms.positions[1, 2] = np.nan
    with pytest.raises(InputError, match=r"positions are not finite: atom 1 is at \[0\.0, 0\.763239, nan\]"):
        VdwSurface.around(atoms)
