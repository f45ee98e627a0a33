"""Harmonic vibrations, infrared intensities, and the potential of the charges."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.optimize import BFGS

from molcalc.calculators import D3, AIMNet2
from molcalc.errors import InputError


def test_water_has_its_three_bands(member64: AIMNet2) -> None:
    atoms = molecule("H2O")
    atoms.calc = member64
    BFGS(atoms, logfile=None).run(fmax=1e-7)
    vibrations = member64.get_vibrations(atoms)
    frequencies = vibrations.get_frequencies()
    assert np.abs(frequencies[:6]).max() < 1.0
    assert frequencies[6:].real == pytest.approx([1600, 3830, 3940], rel=0.03)
    assert vibrations.ir_intensities.shape == (9,)
    assert (vibrations.ir_intensities[6:] > 1.0).all()


def test_intensity_is_the_squared_slope_of_the_dipole(member64: AIMNet2) -> None:
    atoms = molecule("H2O")
    vibrations = member64.get_vibrations(atoms)
    mode = vibrations.get_modes(all_atoms=True)[-1]
    dipoles = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * 1e-4 * mode
        dipoles.append(member64.get_dipole_moment(moved))
    slope = (dipoles[0] - dipoles[1]) / 2e-4 / units.Debye
    assert vibrations.ir_intensities[-1] == pytest.approx(42.2561 * slope @ slope, rel=1e-4)


def test_model_without_charges_has_no_intensities() -> None:
    vibrations = D3("pbe0").get_vibrations(molecule("C2H6"))
    assert vibrations.get_frequencies().shape == (24,)
    with pytest.raises(AttributeError, match="no charges"):
        _ = vibrations.ir_intensities
    with pytest.raises(PropertyNotImplementedError, match="charges"):
        D3("pbe0").get_esp(np.ones((1, 3)), molecule("H2O"))


def test_potential_is_that_of_the_charges(member64: AIMNet2) -> None:
    atoms = molecule("H2O")
    points = np.array([[0.0, 0.0, 3.0], [2.0, -1.0, 0.5]])
    distances = np.linalg.norm(points[:, None] - atoms.positions[None], axis=2)
    expected = (14.399645 * member64.get_charges(atoms) / distances).sum(axis=1)
    assert member64.get_esp(points, atoms) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("points", "message"),
    [(np.zeros(3), r"shape \(3,\)"), (np.zeros((0, 3)), "n_points ≥ 1"), (molecule("H2O").positions, "on a charge")],
    ids=["one point", "no points", "on an atom"],
)
def test_wrong_points_are_refused(member64: AIMNet2, points: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        member64.get_esp(points, molecule("H2O"))
