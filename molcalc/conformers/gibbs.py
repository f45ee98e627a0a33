"""Gibbs energies of conformers in the harmonic approximation: rigid rotors in an ideal gas."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from molcalc.calculators.normal_modes import NormalModes
from molcalc.calculators.thermochemistry import Thermochemistry, thermochemistry
from molcalc.calculators.vibrations import InfraredVibrations
from molcalc.errors import InputError

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator

LOWEST = 100.0
"""cm⁻¹ that a vibration has at least, see :func:`~molcalc.calculators.thermochemistry.thermochemistry`."""
IMAGINARY = 50.0
"""cm⁻¹ of an imaginary vibration that small forces may bring about; a larger one is that of a saddle point."""


class SaddlePointError(InputError):
    """A structure is no minimum: it has an imaginary vibration."""


def thermochemistry_of(
    atoms: Atoms, calculator: MolCalculator, *, multiplicity: int, temperature: float, pressure: float
) -> Thermochemistry:
    """Thermodynamic functions of a relaxed structure.

    Parameters
    ----------
    atoms : with its energy; masses are its own.
    multiplicity : 2S+1.
    temperature : K.
    pressure : Pa.

    Returns
    -------
    functions, with the symmetry number

    Raises
    ------
    SaddlePointError
        When a vibration is imaginary.
    InputError
        When atoms are held.
    """
    modes = NormalModes.of(InfraredVibrations(atoms, calculator.get_hessian(atoms)))
    if modes.imaginary.max(initial=0.0) > IMAGINARY:
        raise SaddlePointError(f"a vibration of {modes.imaginary.max():.0f}i cm⁻¹: this is no minimum")
    soft = replace(modes, wavenumbers=np.abs(modes.wavenumbers))
    energy = atoms.get_potential_energy()
    return thermochemistry(soft, energy, temperature, pressure, multiplicity=multiplicity, lowest=LOWEST)
