"""Normal modes without rigid motion."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.units import _c, _e, kg

from molcalc.calculators.normal_modes import NormalModes, geometry_of
from molcalc.calculators.vibrations import KM_PER_MOL, InfraredVibrations


def springs(atoms: Atoms, pairs: list[tuple[int, int, float]]) -> np.ndarray:
    """(n, 3, n, 3) eV/Å² of springs at rest: bond and force constant."""
    hessian = np.zeros((len(atoms), 3, len(atoms), 3))
    for i, j, constant in pairs:
        arm = atoms.positions[j] - atoms.positions[i]
        block = constant * np.outer(arm, arm) / (arm @ arm)
        for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
            hessian[a, :, b] += sign * block
    return hessian


def wavenumber(constant: float, mass: float) -> float:
    """cm⁻¹ of an oscillator with a force constant in eV/Å² and a mass in u."""
    omega = np.sqrt(constant * _e * 1e20 * kg / mass)
    return float(omega / (2 * np.pi * _c * 100))


def test_a_diatomic_molecule_has_the_frequency_of_its_spring() -> None:
    atoms = Atoms("CO", positions=[[0, 0, 0], [0.3, 0.4, 1.0]])
    masses = atoms.get_masses()
    slopes = np.zeros((3, 2, 3))
    slopes[0, 0, 2], slopes[0, 1, 2] = -0.4, 0.4
    modes = NormalModes.of(InfraredVibrations(atoms, springs(atoms, [(0, 1, 90.0)]), dipole_derivatives=slopes))
    mass = masses[0] * masses[1] / masses.sum()
    assert modes.geometry == "linear"
    assert modes.wavenumbers == pytest.approx([wavenumber(90.0, mass)], rel=1e-6)
    along = (atoms.positions[1] - atoms.positions[0])[2] / atoms.get_distance(0, 1)
    assert modes.intensities == pytest.approx([KM_PER_MOL * (0.4 * along) ** 2 / mass], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "count", "kind"), [("H2O", 3, "nonlinear"), ("CO2", 4, "linear"), ("H", 0, "monatomic")]
)
def test_translations_and_rotations_are_no_modes(name: str, count: int, kind: str) -> None:
    atoms = molecule(name)
    n = len(atoms)
    noise = np.random.default_rng(0).normal(size=(3 * n, 3 * n))
    hessian = (50 * np.eye(3 * n) + noise + noise.T).reshape(n, 3, n, 3)
    modes = NormalModes.of(InfraredVibrations(atoms, hessian))
    assert (len(modes.wavenumbers), modes.geometry) == (count, kind)
    masses = atoms.get_masses()[:, None]
    arms = atoms.positions - atoms.get_center_of_mass()
    for moves in modes.displacements:
        assert (masses * moves).sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)
        assert np.cross(arms, masses * moves).sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)
        assert (masses * moves**2).sum() == pytest.approx(1.0)


def test_held_atoms_do_not_move_and_nothing_is_projected_out() -> None:
    atoms = molecule("CH4")
    atoms.set_constraint(FixAtoms([0, 1]))
    modes = NormalModes.of(InfraredVibrations(atoms, np.eye(9).reshape(3, 3, 3, 3)))
    assert modes.geometry == "partial"
    assert len(modes.wavenumbers) == 9
    assert not modes.displacements[:, :2].any()


def test_a_crystal_keeps_its_librations() -> None:
    atoms = molecule("H2O")
    atoms.set_cell([5, 5, 5])
    atoms.pbc = True
    assert geometry_of(atoms) == "periodic"
    modes = NormalModes.of(InfraredVibrations(atoms, np.eye(9).reshape(3, 3, 3, 3)))
    assert len(modes.wavenumbers) == 6


def test_imaginary_modes_are_negative_and_come_first() -> None:
    atoms = Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.1]])
    modes = NormalModes.of(InfraredVibrations(atoms, springs(atoms, [(0, 1, -90.0)])))
    assert modes.wavenumbers[0] < 0
    assert modes.imaginary == pytest.approx(-modes.wavenumbers)


def test_a_movie_swings_about_the_structure() -> None:
    atoms = molecule("H2O")
    modes = NormalModes.of(InfraredVibrations(atoms, springs(atoms, [(0, 1, 50.0), (0, 2, 50.0), (1, 2, 10.0)])))
    frames = modes.movie(8, 0.3)
    assert len(frames) == 3 * 8
    assert frames[0].positions == pytest.approx(atoms.positions)
    farthest = max(np.linalg.norm(one.positions - atoms.positions, axis=1).max() for one in frames[:8])
    assert farthest == pytest.approx(0.3)
    assert frames[9].info["wavenumber"] == modes.wavenumbers[1]
