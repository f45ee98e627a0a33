"""Harmonic vibrations with infrared intensities from second derivatives and dipole derivatives."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import jsonio
from ase.vibrations.data import VibrationsData

KM_PER_MOL = 974.88
"""Infrared intensity in km/mol of a mode with |∂μ/∂Q|² = 1 e²/u."""
_OBJECT_TYPE = "__ase_objtype__"


class InfraredVibrations(VibrationsData):
    """ASE's VibrationsData that also knows the infrared intensity of each mode.

    Everything that ASE makes of vibrations keeps the intensities: other masses, files, parts of a structure. What is
    written can be read by ASE as well, without them.

    Parameters
    ----------
    atoms : the structure, with the masses that count.
    hessian : (n, 3, n, 3) eV/Å², of the atoms in ``indices``.
    indices : atoms that vibrate; None takes those that FixAtoms and FixCartesian leave free, as ASE does.
    dipole_derivatives : (3, n, 3) e, of the same atoms; None where there is no dipole.

    Raises
    ------
    ValueError
        When the arrays do not fit the number of atoms that vibrate.
    """

    def __init__(
        self,
        atoms: Atoms,
        hessian: np.ndarray,
        indices: Sequence[int] | np.ndarray | None = None,
        dipole_derivatives: np.ndarray | None = None,
    ) -> None:
        super().__init__(atoms, hessian, indices)
        if dipole_derivatives is not None:
            expected = (3, len(self._indices), 3)
            if np.shape(dipole_derivatives) != expected:
                raise ValueError(f"dipole_derivatives have shape {np.shape(dipole_derivatives)}; expected {expected}")
            dipole_derivatives = np.array(dipole_derivatives, dtype=np.float64)
        self._dipole_derivatives = dipole_derivatives

    @classmethod
    def from_2d(
        cls,
        atoms: Atoms,
        hessian_2d: Sequence[Sequence[Any]] | np.ndarray,
        indices: Sequence[int] | None = None,
        dipole_derivatives: np.ndarray | None = None,
    ) -> InfraredVibrations:
        """Vibrations from a Hessian of shape (3n, 3n); without ``indices`` it is that of all atoms, as in ASE.

        Returns
        -------
        vibrations of the atoms in ``indices``

        Raises
        ------
        ValueError
            When the arrays do not fit the number of atoms that vibrate.
        """
        plain = VibrationsData.from_2d(atoms, hessian_2d, indices)
        return cls(atoms, plain.get_hessian(), plain.get_indices(), dipole_derivatives)

    @property
    def ir_intensities(self) -> np.ndarray:
        """(3n,) km/mol, in the order of the modes.

        Raises
        ------
        AttributeError
            When there is no dipole: the model predicts no charges, or the structure is a network without end.
        """
        if self._dipole_derivatives is None:
            raise AttributeError(
                "ir_intensities: there is no dipole, because the model predicts no charges, or the structure is a "
                "periodic network without end"
            )
        return infrared_intensities(self._dipole_derivatives, self.get_modes())

    @property
    def dipole_derivatives(self) -> np.ndarray | None:
        """(3, n, 3) e, of the atoms that vibrate; None where there is no dipole."""
        return self._dipole_derivatives

    def with_new_masses(self, masses: Sequence[Any] | np.ndarray) -> InfraredVibrations:
        """The same second derivatives with other masses, (n_atoms,) in u: frequencies and intensities of isotopes."""
        plain = super().with_new_masses(masses)
        return type(self)(plain.get_atoms(), plain.get_hessian(), plain.get_indices(), self._dipole_derivatives)

    def todict(self) -> dict[str, Any]:
        """Everything that makes them again, for :meth:`fromdict` and files."""
        return {  # all atoms named: before ASE 3.29 its own method fails where some do not vibrate
            "atoms": self.get_atoms(),
            "hessian": self.get_hessian(),
            "indices": self.get_indices(),
            "dipole_derivatives": self._dipole_derivatives,
        }

    @classmethod
    def fromdict(cls, data: dict[str, Any]) -> InfraredVibrations:
        """Vibrations of what :meth:`todict` gave, of these or of ASE's own class."""
        return cls(data["atoms"], data["hessian"], data["indices"], data.get("dipole_derivatives"))

    @classmethod
    def read(cls, source: Any) -> InfraredVibrations:
        """Vibrations of a file that :meth:`write` made, by its name or open for reading.

        Returns
        -------
        vibrations, with intensities if the file has them

        Raises
        ------
        ValueError
            When it holds something else.
        """
        if isinstance(source, (str, os.PathLike)):
            with open(source, encoding="utf-8") as stream:
                text = stream.read()
        else:
            text = source.read()
        values = json.loads(text)
        if not isinstance(values, dict) or values.pop(_OBJECT_TYPE, None) != cls.ase_objtype:
            raise ValueError(f"{source} does not hold vibrations, as InfraredVibrations.write makes them")
        return cls.fromdict(jsonio.decode(json.dumps(values)))


def infrared_intensities(dipole_derivatives: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """Integrated absorption of harmonic vibrations.

    Parameters
    ----------
    dipole_derivatives : (3, n, 3) e.
    modes : (n_modes, n, 3) displacements with the normal coordinate, u^(−½).

    Returns
    -------
    (n_modes,) km/mol
    """
    by_mode = np.einsum("xnk,mnk->mx", dipole_derivatives, modes)
    return np.asarray(KM_PER_MOL * np.square(by_mode).sum(axis=1))
