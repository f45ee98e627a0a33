"""Models beside a reference on one molecule: geometry, vibrations, dipole along a mode, constancy of energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from jaxtyping import Float64

from molcalc.analysis.spectra import FWHM, Spectrum, spectrum_of
from molcalc.calculators.base import MolCalculator
from molcalc.calculators.normal_modes import NormalModes
from molcalc.errors import InputError
from molcalc.train.report.figures import CYCLE, new_figure, style
from molcalc.units import COVALENT_RADII

MODE_REACH = 1.5
"""Dimensionless coordinate to both sides of the minimum along a mode: the ground state reaches 1, its overtone 2."""
N_ALONG_MODE = 25
BOND_LIMIT = 1.3
"""Sums of covalent radii within which two atoms are bonded."""


@dataclass(frozen=True)
class ModelOnMolecule:
    """What a model makes of a molecule.

    Attributes
    ----------
    name : of the model.
    modes : about its own minimum.
    spectrum : harmonic; None without a dipole.
    along : (n_points,) dimensionless coordinate of the mode of the reference along which the molecule is moved.
    energies : (n_points,) eV above the lowest.
    dipoles : (n_points, 3) e·Å, or None.
    relaxation_steps : to its minimum from the start that all have in common.
    times : (n_frames,) ps of dynamics at constant energy.
    total_energies : (n_frames,) eV per atom, beyond the first.
    """

    name: str
    modes: NormalModes
    spectrum: Spectrum | None
    along: Float64[np.ndarray, " n_points"]
    energies: Float64[np.ndarray, " n_points"]
    dipoles: Float64[np.ndarray, "n_points 3"] | None
    relaxation_steps: int
    times: Float64[np.ndarray, " n_frames"]
    total_energies: Float64[np.ndarray, " n_frames"]

    @property
    def atoms(self) -> Atoms:
        """Its minimum."""
        return self.modes.atoms


@dataclass(frozen=True)
class Deviation:
    """Differences of a model from the reference.

    Attributes
    ----------
    positions : Å, root mean square after superposition.
    bonds : Å, largest difference of a bond length.
    wavenumbers : cm⁻¹, mean absolute difference of harmonic vibrations in ascending order.
    worst_wavenumber : cm⁻¹, the largest.
    similarity : of the spectra; None where one has none.
    energies : eV, root mean square along the mode.
    dipoles : e·Å, root mean square along the mode of all three components; None without dipoles.
    """

    positions: float
    bonds: float
    wavenumbers: float
    worst_wavenumber: float
    similarity: float | None
    energies: float
    dipoles: float | None


def strongest_mode(modes: NormalModes) -> int:
    """The mode along which models are compared.

    Returns
    -------
    number of the mode with the largest infrared intensity; of the stiffest without a dipole

    Raises
    ------
    InputError
        For a structure without vibrations.
    """
    if not len(modes.wavenumbers):
        raise InputError(f"{modes.formula} has no vibrations along which models could be compared")
    return int(np.argmax(modes.wavenumbers if modes.intensities is None else modes.intensities))


def along_mode(modes: NormalModes, mode: int) -> tuple[Float64[np.ndarray, " n_points"], list[Atoms]]:
    """Structures along a mode, through its minimum.

    Returns
    -------
    dimensionless coordinates, and structures
    """
    along = np.linspace(-MODE_REACH, MODE_REACH, N_ALONG_MODE)
    images = []
    for value in along:
        atoms = modes.atoms.copy()
        atoms.positions += value * modes.per_quantum[mode]
        images.append(atoms)
    return along, images


def model_on_molecule(
    name: str,
    relaxed: Atoms,
    calc: MolCalculator,
    path: tuple[Float64[np.ndarray, " n_points"], list[Atoms]],
    *,
    relaxation_steps: int,
    times: Float64[np.ndarray, " n_frames"],
    total_energies: Float64[np.ndarray, " n_frames"],
    fwhm: float = FWHM,
) -> ModelOnMolecule:
    """What a model makes of a molecule, beside its relaxation and dynamics, which are given.

    Parameters
    ----------
    relaxed : its own minimum.
    path : as :func:`along_mode` gives it.
    times, total_energies : fs and eV of dynamics at constant energy.
    fwhm : cm⁻¹ of the lines of the spectrum.

    Returns
    -------
    results of the model
    """
    modes = NormalModes.of(calc.get_vibrations(relaxed))
    has_dipole = modes.intensities is not None and bool((modes.wavenumbers > 0).any())
    along, images = path
    found = calc.evaluate(images, ("energy", "dipole") if has_dipole else ("energy",))
    energies = np.array([one["energy"] for one in found])
    return ModelOnMolecule(
        name, modes, spectrum_of(modes, fwhm) if has_dipole else None, along, energies - energies.min(),
        np.array([one["dipole"] for one in found]) if has_dipole else None, relaxation_steps, times / 1000.0,
        (total_energies - total_energies[0]) / len(relaxed),
    )  # fmt: skip


def deviation(one: ModelOnMolecule, reference: ModelOnMolecule) -> Deviation:
    """How a model differs from the reference, both of the same molecule.

    Returns
    -------
    differences
    """
    moved, lengths = one.atoms.copy(), bond_lengths(reference.atoms, reference.atoms)
    minimize_rotation_and_translation(reference.atoms, moved)
    apart = np.abs(one.modes.wavenumbers - reference.modes.wavenumbers)
    spectra = None if one.spectrum is None or reference.spectrum is None else (one.spectrum, reference.spectrum)
    dipoles = None if one.dipoles is None or reference.dipoles is None else one.dipoles - reference.dipoles
    return Deviation(
        positions=float(np.sqrt(np.square(moved.positions - reference.atoms.positions).sum(axis=1).mean())),
        bonds=float(np.abs(bond_lengths(one.atoms, reference.atoms) - lengths).max()),
        wavenumbers=float(apart.mean()),
        worst_wavenumber=float(apart.max()),
        similarity=None if spectra is None else spectra[0].similarity(spectra[1]),
        energies=float(np.sqrt(np.square(one.energies - reference.energies).mean())),
        dipoles=None if dipoles is None else float(np.sqrt(np.square(dipoles).mean())),
    )


def bond_lengths(atoms: Atoms, bonded: Atoms) -> Float64[np.ndarray, " n_bonds"]:
    """(n_bonds,) Å between atoms that are bonded in a structure."""
    first, second = np.triu_indices(len(bonded), 1)
    radii = COVALENT_RADII[bonded.numbers]
    near = bonded.get_all_distances()[first, second] < BOND_LIMIT * (radii[first] + radii[second])
    return np.asarray(atoms.get_all_distances()[first[near], second[near]])


def draw_models_beside(models: Sequence[ModelOnMolecule]) -> Any:
    """Spectra, energy and dipole along the mode, and total energy in time, of models; the first is the reference.

    Returns
    -------
    figure of matplotlib
    """
    reference = models[0].dipoles
    change = np.zeros(3) if reference is None else reference[-1] - reference[0]
    direction = change / (np.linalg.norm(change) or 1.0)
    with style():
        figure, axes = new_figure(2, 2, 9.0, 6.4)
        for one, color in zip(models, CYCLE):
            if one.spectrum is not None:
                axes[0, 0].plot(one.spectrum.wavenumbers, one.spectrum.intensity, color=color, label=one.name)
            axes[0, 1].plot(one.along, one.energies, color=color, label=one.name)
            if one.dipoles is not None:
                axes[1, 0].plot(
                    one.along, (one.dipoles - one.dipoles[len(one.along) // 2]) @ direction, color=color, label=one.name
                )
            axes[1, 1].plot(one.times, 1e3 * one.total_energies, color=color, label=one.name)
        axes[0, 0].invert_xaxis()
        axes[0, 0].set(xlabel="wavenumber (cm⁻¹)", ylabel="absorption (km/mol per cm⁻¹)", title="infrared spectrum")
        axes[0, 1].set(xlabel="dimensionless coordinate", ylabel="energy (eV)", title="energy along the mode")
        axes[1, 0].set(
            xlabel="dimensionless coordinate", ylabel="change of the dipole (e·Å)", title="dipole along the mode"
        )
        axes[1, 1].set(xlabel="time (ps)", ylabel="total energy (meV/atom)", title="dynamics at constant energy")
        axes[0, 0].legend()
        return figure
