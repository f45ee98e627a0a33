"""Normal modes of a structure, with its translations and rotations taken out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.units import _e, _hbar, invcm, kg
from jaxtyping import Float64

from molcalc.calculators.vibrations import InfraredVibrations, infrared_intensities
from molcalc.units import charged_formula

SAME_LINE = 1e-3
"""Share of the largest extent by which atoms may miss a line and still be on it."""
AMPLITUDE = 0.35
"""Å that the atom moves which moves most, where modes are shown."""
HBAR = _hbar * 1e10 * np.sqrt(kg / _e)
"""ħ in eV^½·u^½·Å: energy of a vibration by the root of its eigenvalue, eV/(Å²·u)."""


@dataclass(frozen=True)
class NormalModes:
    """Vibrations of a structure, the softest first.

    Attributes
    ----------
    atoms : the structure, with the masses that count.
    wavenumbers : (n_modes,) cm⁻¹; of imaginary vibrations negative.
    displacements : (n_modes, n_atoms, 3) Å/(Å·√u): change of the positions with the normal coordinate; zero for atoms
        that are held.
    intensities : (n_modes,) km/mol, or None without a dipole.
    geometry : "monatomic", "linear" or "nonlinear" molecule, "periodic" structure, or "partial" where atoms are held.
    """

    atoms: Atoms
    wavenumbers: Float64[np.ndarray, " n_modes"]
    displacements: Float64[np.ndarray, "n_modes n_atoms 3"]
    intensities: Float64[np.ndarray, " n_modes"] | None
    geometry: str

    @classmethod
    def of(cls, vibrations: InfraredVibrations) -> NormalModes:
        """Modes of second derivatives.

        Of a molecule all of whose atoms move, translations and rotations are projected out before the modes are found,
        so that they are no modes and mix with none; of a periodic structure translations; where atoms are held nothing.

        Returns
        -------
        modes; 3n − 6 for a molecule of n atoms, 3n − 5 on a line
        """
        atoms, indices = vibrations.get_atoms(), vibrations.get_indices()
        n = len(indices)
        kind = geometry_of(atoms, n)
        masses = atoms.get_masses()[indices]
        roots = np.repeat(np.sqrt(masses), 3)
        weighted = vibrations.get_hessian_2d() / np.outer(roots, roots)
        basis = _vibrating(atoms.positions[indices], masses, roots, kind)
        values, vectors = np.linalg.eigh(basis.T @ weighted @ basis)
        moves = (basis @ vectors / roots[:, None]).T.reshape(-1, n, 3)
        displacements = np.zeros((len(values), len(atoms), 3))
        displacements[:, indices] = moves
        energies = HBAR * np.sign(values) * np.sqrt(np.abs(values))
        slopes = vibrations.dipole_derivatives
        intensities = None if slopes is None else infrared_intensities(slopes, moves)
        return cls(atoms, energies / invcm, displacements, intensities, kind)

    @property
    def formula(self) -> str:
        """Formula of the structure with its charge, as far as ``atoms.info`` has it."""
        return charged_formula(self.atoms.numbers, int(self.atoms.info.get("charge", 0)))

    @property
    def energies(self) -> Float64[np.ndarray, " n_modes"]:
        """(n_modes,) ħω in eV; of imaginary vibrations negative."""
        return self.wavenumbers * invcm

    @property
    def imaginary(self) -> Float64[np.ndarray, " n_imaginary"]:
        """(n_imaginary,) cm⁻¹, positive: of the vibrations along which the energy falls."""
        return -self.wavenumbers[self.wavenumbers < 0]

    @property
    def per_quantum(self) -> Float64[np.ndarray, "n_modes n_atoms 3"]:
        """(n_modes, n_atoms, 3) Å: change of the positions with the dimensionless normal coordinate."""
        return self.displacements * (HBAR / np.sqrt(np.abs(self.energies)))[:, None, None]

    def swings(self, amplitude: float = AMPLITUDE) -> Float64[np.ndarray, "n_modes n_atoms 3"]:
        """Outermost displacements of modes that are shown, on the side where the atom that moves most goes outwards.

        Parameters
        ----------
        amplitude : Å that the atom moves which moves most.

        Returns
        -------
        (n_modes, n_atoms, 3) Å
        """
        lengths = np.linalg.norm(self.displacements, axis=2)
        most, arms = lengths.argmax(axis=1), self.atoms.positions - self.atoms.positions.mean(axis=0)
        outwards = (self.displacements[np.arange(len(most)), most] * arms[most]).sum(axis=1)
        factors = np.where(outwards < 0, -amplitude, amplitude) / lengths.max(axis=1)
        return self.displacements * factors[:, None, None]

    def movie(self, n_frames: int, amplitude: float = AMPLITUDE) -> list[Atoms]:
        """One oscillation along each mode after the other, to look at.

        Parameters
        ----------
        n_frames : of each mode.
        amplitude : Å that the atom moves which moves most.

        Returns
        -------
        structures with the number and wavenumber of the mode in ``info``
        """
        frames = []
        for k, (wavenumber, moves) in enumerate(zip(self.wavenumbers.tolist(), self.swings(amplitude))):
            for phase in np.sin(2.0 * np.pi * np.arange(n_frames) / n_frames):
                atoms = self.atoms.copy()
                atoms.set_constraint()
                atoms.positions += phase * moves
                atoms.info.update(mode=k, wavenumber=wavenumber)
                frames.append(atoms)
        return frames

    @property
    def reduced_masses(self) -> Float64[np.ndarray, " n_modes"]:
        """(n_modes,) u, of displacements that are normalized in Å."""
        return 1.0 / np.square(self.displacements).sum(axis=(1, 2))


def geometry_of(atoms: Atoms, n_moving: int | None = None) -> str:
    """Kind of a structure, which decides what of its motion is no vibration.

    Parameters
    ----------
    n_moving : atoms that are not held; None for all.

    Returns
    -------
    "monatomic", "linear", "nonlinear", "periodic" or "partial"
    """
    if n_moving is not None and n_moving < len(atoms):
        return "partial"
    if atoms.pbc.any():
        return "periodic"
    if len(atoms) == 1:
        return "monatomic"
    extents = np.linalg.svd(atoms.positions - atoms.positions.mean(axis=0), compute_uv=False)
    return "linear" if len(extents) < 2 or extents[1] <= SAME_LINE * extents[0] else "nonlinear"


def _vibrating(
    positions: Float64[np.ndarray, "n 3"], masses: Float64[np.ndarray, " n"], roots: np.ndarray, kind: str
) -> Float64[np.ndarray, "n_coordinates n_modes"]:
    """Orthonormal mass-weighted displacements that are no rigid motion."""
    n_coordinates = 3 * len(positions)
    rigid_motions = {"monatomic": 3, "linear": 5, "nonlinear": 6, "periodic": 3, "partial": 0}[kind]
    if rigid_motions == 0:
        return np.eye(n_coordinates)
    rigid = [np.tile(axis, len(positions)) for axis in np.eye(3)]
    if rigid_motions > 3:
        arms = positions - masses @ positions / masses.sum()
        rigid += [np.cross(axis, arms).ravel() for axis in np.eye(3)]
    left, _, _ = np.linalg.svd((np.array(rigid) * roots).T, full_matrices=True)
    return np.asarray(left[:, rigid_motions:])
