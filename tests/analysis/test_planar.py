"""Averages of potentials in planes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from molcalc.analysis import planar_potential
from molcalc.calculators import AIMNet2
from molcalc.errors import ConfigError, InputError
from molcalc.units import COULOMB
from tests.helpers.networks import tiny_checkpoint


@pytest.fixture(scope="module")
def calc() -> AIMNet2:
    """A small model that takes periodic structures of any kind."""
    plain = tiny_checkpoint()
    return AIMNet2(replace(plain, config=replace(plain.config, coulomb=None, coulomb_range=None)), dispersion=None)


@pytest.fixture
def crystal() -> Atoms:
    """A skewed cell of three molecules' atoms."""
    cell = [[6.0, 0.3, 0.2], [0.5, 7.0, 0.1], [1.5, 0.7, 9.0]]
    scaled = [[0.1, 0.2, 0.3], [0.25, 0.2, 0.32], [0.1, 0.35, 0.3], [0.6, 0.6, 0.7], [0.75, 0.6, 0.72]]
    return Atoms("OHHCO", scaled_positions=scaled, cell=cell, pbc=True)


@pytest.mark.parametrize("axis", ["a", "b", "c"])
def test_a_crystal_has_the_average_of_its_fourier_series(calc: AIMNet2, crystal: Atoms, axis: str) -> None:
    found = planar_potential(crystal, calc, axis, n_planes=50)
    k = "abc".index(axis)
    reciprocal = 2 * np.pi * crystal.cell.reciprocal()[k]
    normal = reciprocal / np.linalg.norm(reciprocal)
    charges = calc.get_property("charges", crystal)
    series = np.zeros(50)
    for n in range(1, 4001):
        g = n * np.linalg.norm(reciprocal)
        phases = g * (found.distance[:, None] - crystal.positions @ normal)
        series += 2 * (np.cos(phases) @ charges) * 4 * np.pi * COULOMB / (crystal.get_volume() * g**2)
    assert found.potential == pytest.approx(series, abs=2e-3 * np.ptp(series))
    assert found.potential.mean() == pytest.approx(0.0, abs=1e-2 * np.ptp(series))
    assert found.vacuum is None


def test_the_vacua_of_a_slab_differ_by_its_dipole(calc: AIMNet2, crystal: Atoms) -> None:
    crystal.pbc = [True, True, False]
    found = planar_potential(crystal, calc)
    charges = calc.get_property("charges", crystal)
    first, second = crystal.cell[:2]
    area = np.linalg.norm(np.cross(first, second))
    normal = np.cross(first, second) / area
    dipole = charges @ (crystal.positions @ normal)
    assert found.step == pytest.approx(4 * np.pi * COULOMB * dipole / area, rel=1e-9)
    assert found.vacuum == pytest.approx((-found.step / 2, found.step / 2))
    assert found.potential[0] == pytest.approx(found.potential[1])  # no field outside


def test_other_structures_have_no_average(calc: AIMNet2, crystal: Atoms) -> None:
    for wrong in ({"axis": "z"}, {"n_planes": 1}, {"n_planes": 2.5}):
        with pytest.raises(ConfigError):
            planar_potential(crystal, calc, **wrong)
    ion = crystal.copy()
    ion.info["charge"] = 2
    with pytest.raises(InputError, match="add up to"):
        planar_potential(ion, calc)
    crystal.pbc = [True, False, True]
    with pytest.raises(InputError, match="periodic along a and b"):
        planar_potential(crystal, calc)
