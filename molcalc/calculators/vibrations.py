"""Harmonic vibrations with infrared intensities from second derivatives and dipole derivatives."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.vibrations.data import VibrationsData

KM_PER_MOL = 974.88
"""Infrared intensity in km/mol of a mode with |∂μ/∂Q|² = 1 e²/u."""


class InfraredVibrations(VibrationsData):
    """ASE's VibrationsData that also knows the infrared intensity of each mode.

    Parameters
    ----------
    hessian : (n, 3, n, 3) eV/Å².
    dipole_derivatives : (3, n, 3) e, or None when the model has no charges.
    """

    def __init__(self, atoms: Atoms, hessian: np.ndarray, dipole_derivatives: np.ndarray | None) -> None:
        super().__init__(atoms, hessian)
        self._dipole_derivatives = dipole_derivatives

    @property
    def ir_intensities(self) -> np.ndarray:
        """(3n,) km/mol, in the order of the modes.

        Raises
        ------
        AttributeError
            When the model predicts no charges.
        """
        if self._dipole_derivatives is None:
            raise AttributeError("ir_intensities: the model predicts no charges, so there is no dipole")
        by_mode = np.einsum("xnk,mnk->mx", self._dipole_derivatives, self.get_modes(all_atoms=True))
        return KM_PER_MOL * np.square(by_mode).sum(axis=1)
