r"""Vibrations of an anharmonic force field by perturbation theory of second order (VPT2), with resonances taken apart.

What couples distant states is removed by a contact transformation (:mod:`molcalc.analysis.contact_transformation`),
which is applied to the dipole as well; what couples neighbors is diagonalized. Degenerate modes need nothing of their
own, as their states are diagonalized together. Energies in cm⁻¹ are those of Watson's Hamiltonian without rotation;
the -B ℓ² of linear molecules, which belongs to rotation, is not in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.units import invcm
from jaxtyping import Float64

from molcalc.analysis.contact_transformation import (
    ContactTransformation,
    FermiResonance,
    fermi_resonances,
    with_partners,
)
from molcalc.analysis.molecular_potential import calculator_with_charges
from molcalc.analysis.oscillator_states import OscillatorStates, Quanta
from molcalc.analysis.quartic_field import QuarticField, quartic_field
from molcalc.calculators.base import MolCalculator
from molcalc.calculators.normal_modes import HBAR
from molcalc.calculators.vibrations import KM_PER_MOL
from molcalc.errors import InputError

QUANTA = 2
"""Of the states whose energies are found: fundamentals, overtones and combinations of two modes."""


@dataclass(frozen=True)
class Level:
    """A vibrational state above the ground state.

    Attributes
    ----------
    state : quanta that it has most of; see :data:`molcalc.analysis.oscillator_states.Quanta`.
    wavenumber : cm⁻¹ above the ground state.
    unmixed : cm⁻¹, before what resonances couple was diagonalized.
    weight : share of the named quanta in the state; 1 without resonances.
    intensity : km/mol of the absorption from the ground state; None without a dipole.
    """

    state: Quanta
    wavenumber: float
    unmixed: float
    weight: float
    intensity: float | None


@dataclass(frozen=True)
class PerturbedVibrations:
    """Result of perturbation theory.

    Attributes
    ----------
    zero_point : cm⁻¹.
    levels : with one or two quanta, ascending.
    constants : (n_modes, n_modes) anharmonic constants x_ij, cm⁻¹, without the terms of Fermi resonances.
    resonances : that were found.
    """

    zero_point: float
    levels: tuple[Level, ...]
    constants: Float64[np.ndarray, "n_modes n_modes"]
    resonances: tuple[FermiResonance, ...]

    @property
    def lines(self) -> Float64[np.ndarray, "n_levels 2"]:
        """(n_levels, 2) cm⁻¹ and km/mol of the absorption from the ground state.

        Raises
        ------
        InputError
            When the model has no dipole.
        """
        lines = [(one.wavenumber, one.intensity) for one in self.levels if one.intensity is not None]
        if not lines:
            raise InputError("no infrared spectrum: the model predicts no charges, or the structure has no dipole")
        return np.array(lines)

    def level(self, *modes: int) -> Level:
        """The state with a quantum of each mode: ``level(0)`` a fundamental, ``level(0, 0)`` its overtone.

        Returns
        -------
        level

        Raises
        ------
        KeyError
            For a state that is none of one or two quanta.
        """
        found = {one.state: one for one in self.levels}
        return found[tuple(sorted(modes))]


def anharmonic_vibrations(atoms: Atoms, calc: MolCalculator | None = None) -> PerturbedVibrations:
    """Fundamentals, overtones and combinations of a relaxed molecule, with infrared intensities.

    Parameters
    ----------
    atoms : at most twelve, relaxed to 1e-3 eV/Å, better 1e-4.
    calc : any calculator of molcalc; None takes that of the atoms.

    Returns
    -------
    levels, anharmonic constants and resonances

    Raises
    ------
    InputError
        As :func:`molcalc.analysis.quartic_field.quartic_field`; without a calculator of molcalc.
    """
    _, field = quartic_field(atoms, calculator_with_charges(atoms, calc))
    return perturbed_vibrations(field)


def perturbed_vibrations(field: QuarticField) -> PerturbedVibrations:
    """Energies and intensities of fundamentals, overtones and combinations of two modes.

    Returns
    -------
    levels, anharmonic constants and resonances
    """
    n = len(field.wavenumbers)
    resonances = fermi_resonances(field)
    wanted: list[Quanta] = [state for q in range(QUANTA + 1) for state in combinations_with_replacement(range(n), q)]
    around = OscillatorStates.around(with_partners(wanted, resonances), n)
    transformation = ContactTransformation(field, around, resonances)
    unmixed = transformation.unmixed
    energies, mixtures = transformation.diagonalized()
    dipoles = None if field.dipole is None else transformation.dipoles(field.dipole) @ mixtures
    levels = []
    for k, state in enumerate(wanted[1:], start=1):
        above = float(energies[k] - energies[0])
        intensity = None if dipoles is None else _intensity(above, dipoles[:, k])
        levels.append(Level(state, above, float(unmixed[k] - unmixed[0]), float(mixtures[k, k] ** 2), intensity))
    zero_point = float(energies[0]) + 0.5 * float(field.wavenumbers.sum())
    return PerturbedVibrations(
        zero_point if field.linear else zero_point - 0.25 * float(field.rotational.sum()),
        tuple(sorted(levels, key=lambda one: one.wavenumber)),
        _constants(dict(zip(wanted, unmixed.tolist())), n),
        tuple(resonances),
    )


def _intensity(wavenumber: float, dipole: np.ndarray) -> float:
    """km/mol of a transition with a dipole in e·Å."""
    return float(KM_PER_MOL * 2.0 * wavenumber * invcm / HBAR**2 * (dipole**2).sum())


def _constants(energies: dict[Quanta, float], n_modes: int) -> Float64[np.ndarray, "n_modes n_modes"]:
    """Anharmonic constants from the energies of states that nothing mixes."""
    found = np.empty((n_modes, n_modes))
    for i, j in combinations_with_replacement(range(n_modes), 2):
        found[i, j] = found[j, i] = energies[(i, j)] - energies[(i,)] - energies[(j,)] + energies[()]
        if i == j:
            found[i, i] *= 0.5
    return found
