"""Anharmonic force fields of molecules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.units import invcm

from molcalc.analysis.quartic_field import quartic_field
from molcalc.analysis.vpt2 import anharmonic_vibrations, perturbed_vibrations
from molcalc.calculators import AIMNet2
from molcalc.calculators.base import MolCalculator
from molcalc.calculators.normal_modes import HBAR
from molcalc.calculators.vibrations import InfraredVibrations
from molcalc.errors import InputError
from tests.helpers.networks import tiny_checkpoint
from tests.helpers.valence_field import ValenceField

LENGTH, DEPTH, STEEPNESS = 1.128323, 11.2, 2.3
"""Å, eV and 1/Å of a Morse curve like that of CO."""


@dataclass
class MorseMolecule:
    """A diatomic molecule with the potential of Morse and a dipole along its bond."""

    slope: float = 0.4

    def get_property(self, name: str, atoms: Atoms) -> np.ndarray:
        """Forces."""
        assert name == "forces"
        arm, first, _ = self._curve(atoms)
        return np.array([first * arm, -first * arm])

    def get_vibrations(self, atoms: Atoms) -> InfraredVibrations:
        """Second derivatives."""
        arm, first, second = self._curve(atoms)
        along = np.outer(arm, arm)
        block = second * along + first / atoms.get_distance(0, 1) * (np.eye(3) - along)
        hessian = np.einsum("ab,xy->axby", np.array([[1, -1], [-1, 1]]), block)
        slopes = self.slope * np.einsum("a,xy->xay", np.array([-1.0, 1.0]), np.eye(3))
        return InfraredVibrations(atoms, hessian, dipole_derivatives=slopes)

    @staticmethod
    def _curve(atoms: Atoms) -> tuple[np.ndarray, float, float]:
        arm = atoms.positions[1] - atoms.positions[0]
        decay = np.exp(-STEEPNESS * (np.linalg.norm(arm) - LENGTH))
        first = 2 * DEPTH * STEEPNESS * (decay - decay**2)
        return arm / np.linalg.norm(arm), first, 2 * DEPTH * STEEPNESS**2 * (2 * decay**2 - decay)


def test_the_levels_of_a_morse_molecule_are_exact() -> None:
    atoms = Atoms("CO", positions=[[0, 0, 0], LENGTH * np.array([0.6, 0.0, 0.8])])
    modes, field = quartic_field(atoms, cast(MolCalculator, MorseMolecule()))
    masses = atoms.get_masses()
    reduced = masses.prod() / masses.sum()
    omega = HBAR * STEEPNESS * np.sqrt(2 * DEPTH / reduced) / invcm
    anharmonicity = HBAR**2 * STEEPNESS**2 / (2 * reduced) / invcm
    assert modes.wavenumbers == pytest.approx([omega], rel=1e-9)
    assert field.rotational == pytest.approx([0.0, 1.9309, 1.9309], abs=1e-3)  # of CO: 1.9313 for its isotope 12C16O
    found = perturbed_vibrations(field)
    assert found.level(0).wavenumber == pytest.approx(omega - 2 * anharmonicity, abs=0.02)
    assert found.level(0, 0).wavenumber == pytest.approx(2 * omega - 6 * anharmonicity, abs=0.05)
    assert found.zero_point == pytest.approx(omega / 2 - anharmonicity / 4, abs=0.01)
    assert found.constants == pytest.approx(-anharmonicity, abs=0.01)
    # Of a dipole that is linear in the bond length; the integrals are known in closed form.
    ratio = found.level(0, 0).intensity / found.level(0).intensity
    assert ratio == pytest.approx(anharmonicity / omega, rel=0.05)


@dataclass
class Springs:
    """A molecule whose atoms are held together by springs, all pairs of them, in any place."""

    constant: float = 30.0

    def get_property(self, name: str, atoms: Atoms) -> np.ndarray:
        """No forces."""
        return np.zeros((len(atoms), 3))

    def get_vibrations(self, atoms: Atoms) -> InfraredVibrations:
        """Second derivatives, which are the same everywhere."""
        rest = molecule("H2O").positions
        hessian = np.zeros((3, 3, 3, 3))
        for i, j in ((0, 1), (0, 2), (1, 2)):
            arm = rest[j] - rest[i]
            block = self.constant * np.outer(arm, arm) / (arm @ arm)
            for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
                hessian[a, :, b] += sign * block
        return InfraredVibrations(atoms, hessian)


def test_coriolis_coefficients_of_a_bent_molecule_obey_the_sum_rule() -> None:
    modes, field = quartic_field(molecule("H2O"), cast(MolCalculator, Springs()))
    about_normal, (a, b, c) = field.coriolis[2], field.rotational
    assert modes.geometry == "nonlinear"
    assert 1 / c == pytest.approx(1 / a + 1 / b)  # of a planar molecule
    assert sum(about_normal[i, j] ** 2 for i, j in ((0, 1), (0, 2), (1, 2))) == pytest.approx(1.0)
    assert np.abs(field.coriolis[:2]).max() < 1e-9
    assert np.abs(field.cubic).max() < 1e-9
    assert field.dipole is None


def test_what_has_no_anharmonic_vibrations_says_why() -> None:
    calc = AIMNet2(tiny_checkpoint(), dtype="float64")
    held, crystal = molecule("H2O"), molecule("H2O", vacuum=3.0)
    held.set_constraint(FixAtoms([0]))
    crystal.pbc = True
    for atoms, words in (
        (Atoms("O"), "has no vibrations"),
        (held, "fixed atoms"),
        (crystal, "is periodic"),
        (molecule("C3H9N"), "13 atoms; anharmonic vibrations of 12 at most"),
        (molecule("H2O"), "belongs to a minimum; relax to fmax=0.0001"),
    ):
        if words is not None:
            with pytest.raises(InputError, match=words):
                anharmonic_vibrations(atoms, calc)


def test_a_saddle_point_is_refused() -> None:
    @dataclass
    class Inverted(MorseMolecule):
        def get_vibrations(self, atoms: Atoms) -> InfraredVibrations:
            return InfraredVibrations(atoms, -super().get_vibrations(atoms).get_hessian())

    atoms = Atoms("CO", positions=[[0, 0, 0], [0, 0, LENGTH]])
    with pytest.raises(InputError, match="i cm⁻¹: perturbation theory needs a minimum"):
        quartic_field(atoms, cast(MolCalculator, Inverted()))


@pytest.mark.slow
def test_motions_out_of_the_plane_of_a_field_of_bonds_and_angles_keep_their_frequencies() -> None:
    """Fourth derivatives along straight lines are large there, and third derivatives make up for them."""
    field = ValenceField()
    modes, quartic = quartic_field(field.atoms, cast(MolCalculator, field))
    found = perturbed_vibrations(quartic)
    across = np.abs(modes.displacements[:, :, 0]).max(axis=1) > 0.5 * np.abs(modes.displacements).max(axis=(1, 2))
    assert across.sum() == 3
    assert max(quartic.quartic[k, k, k, k] for k in np.flatnonzero(across)) > 100.0
    for k in np.flatnonzero(across):
        assert found.level(int(k)).wavenumber == pytest.approx(modes.wavenumbers[k], rel=0.03)
