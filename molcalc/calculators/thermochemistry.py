"""Ideal-gas thermochemistry of a molecule: rigid rotor and harmonic oscillators, by ASE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.thermochemistry import IdealGasThermo
from ase.units import invcm

from molcalc.calculators.normal_modes import NormalModes, geometry_of
from molcalc.errors import ConfigError, InputError

TEMPERATURE = 298.15
"""K."""
PRESSURE = 101325.0
"""Pa."""
SYMMETRIC = 0.05
"""Å by which atoms may miss the places of their images."""
TEMPERATURES = (1e-2, 1e5)
PRESSURES = (1e-12, 1e12)
"""K and Pa; outside, no gas is ideal or molecule whole, and functions of them overflow."""
_APART = 0.1
"""Sine of the angle between two atoms, seen from the center, from which they tell a rotation."""


@dataclass(frozen=True, kw_only=True)
class Thermochemistry:
    """Thermodynamic functions of one molecule in an ideal gas.

    Attributes
    ----------
    temperature, pressure : K, Pa.
    symmetry_number : rotations that take the molecule into itself.
    multiplicity : 2S+1.
    energy : eV, of the structure.
    zero_point_energy : eV.
    enthalpy, gibbs_energy : eV, the energy of the structure included.
    entropy : eV/K.
    """

    temperature: float
    pressure: float
    symmetry_number: int
    multiplicity: int
    energy: float
    zero_point_energy: float
    enthalpy: float
    entropy: float
    gibbs_energy: float


def thermochemistry(
    modes: NormalModes,
    energy: float,
    temperature: float = TEMPERATURE,
    pressure: float = PRESSURE,
    multiplicity: int = 1,
    symmetry_number: int | None = None,
    lowest: float = 0.0,
) -> Thermochemistry:
    """Thermodynamic functions of a molecule from its vibrations.

    Parameters
    ----------
    modes : of a minimum.
    energy : eV, of the structure.
    temperature : K.
    pressure : Pa.
    multiplicity : 2S+1.
    symmetry_number : rotations that take the molecule into itself; None finds it.
    lowest : cm⁻¹ that every vibration is taken to have at least: soft ones are no harmonic ones, and rule the entropy
        (Ribeiro et al., J. Phys. Chem. B 115, 14556 (2011), take 100).

    Returns
    -------
    functions in eV and eV/K

    Raises
    ------
    InputError
        For a structure that is no molecule, or no minimum.
    ConfigError
        For numbers without sense.
    """
    if modes.geometry not in ("monatomic", "linear", "nonlinear"):
        raise InputError(
            f"thermochemistry of an ideal gas needs a molecule that moves freely, not a {modes.geometry} one"
        )
    if len(modes.imaginary):
        raise InputError(
            f"a vibration of {modes.imaginary.max():.0f}i cm⁻¹: this is no minimum; move the atoms along it, and relax"
        )
    check_conditions(temperature, pressure)
    if symmetry_number is None:
        symmetry_number = rotational_symmetry(modes.atoms)
    elif symmetry_number < 1:
        raise ConfigError(f"symmetry_number={symmetry_number!r} is not a positive whole number")
    energies = np.maximum(modes.energies, lowest * invcm)
    gas = IdealGasThermo(
        vib_energies=energies.tolist(),
        geometry=modes.geometry,
        potentialenergy=energy,
        atoms=modes.atoms,
        symmetrynumber=symmetry_number,
        spin=(multiplicity - 1) / 2,
    )
    enthalpy = float(gas.get_enthalpy(temperature, verbose=False))
    entropy = float(gas.get_entropy(temperature, pressure, verbose=False))
    return Thermochemistry(
        temperature=float(temperature),
        pressure=float(pressure),
        symmetry_number=symmetry_number,
        multiplicity=multiplicity,
        energy=float(energy),
        zero_point_energy=float(0.5 * energies.sum()),
        enthalpy=enthalpy,
        entropy=entropy,
        gibbs_energy=enthalpy - temperature * entropy,
    )


def check_conditions(temperature: float, pressure: float) -> None:
    """Refuse a temperature in K and a pressure in Pa beyond :data:`TEMPERATURES` and :data:`PRESSURES`.

    Raises
    ------
    ConfigError
    """
    for name, value, (low, high), unit in (
        ("temperature", temperature, TEMPERATURES, "K"),
        ("pressure", pressure, PRESSURES, "Pa"),
    ):
        if not low <= value <= high:
            raise ConfigError(f"{name}={value!r} is out of any sense; {low:g} to {high:g} {unit} can be asked for")


def rotational_symmetry(atoms: Atoms, tolerance: float = SYMMETRIC) -> int:
    """Number of rotations that take a molecule into itself: its symmetry number.

    A rotation is told by where it brings two atoms that are not on a line with the center; all images of the two are
    tried.

    Parameters
    ----------
    tolerance : Å by which atoms may miss the places of their images.

    Returns
    -------
    1 for most molecules, 2 for water, 12 for benzene and methane, 24 for SF6; on a line 1 or 2; 1 for an atom
    """
    kind = geometry_of(atoms)
    arms = atoms.positions - atoms.get_center_of_mass()
    labels = atoms.numbers + 1000.0 * atoms.get_masses()  # isotopes differ
    if kind == "monatomic":
        return 1
    if kind == "linear":
        return 1 + int(_maps_to_itself(-arms, arms, labels, tolerance))
    first, second = _telling_pair(arms, labels, tolerance)
    # Frames of a pair of atoms and of its possible images.
    frame = _frame(arms[first], arms[second])
    rotations: list[np.ndarray] = []
    for image in _images(arms, labels, first, tolerance):
        for other in _images(arms, labels, second, tolerance):
            if abs(arms[image] @ arms[other] - arms[first] @ arms[second]) > 4 * tolerance * np.abs(arms).max():
                continue
            if np.linalg.norm(np.cross(arms[image], arms[other])) < 1e-3:
                continue
            rotation = _frame(arms[image], arms[other]).T @ frame
            new = all(np.abs(rotation - known).max() > 0.1 for known in rotations)
            if new and _maps_to_itself(arms @ rotation.T, arms, labels, tolerance):
                rotations.append(rotation)
    return len(rotations)


def _telling_pair(arms: np.ndarray, labels: np.ndarray, tolerance: float) -> tuple[int, int]:
    """Two atoms in different directions from the center, with as few images as can be."""
    distances = np.linalg.norm(arms, axis=1)
    counts = np.array([len(_images(arms, labels, k, tolerance)) for k in range(len(arms))])
    order = sorted(np.flatnonzero(distances > 0.2).tolist(), key=lambda k: (counts[k], -distances[k]))
    first = order[0]
    sines = np.linalg.norm(np.cross(arms[first], arms), axis=1) / (distances[first] * np.maximum(distances, 1e-9))
    apart = [k for k in order if sines[k] > _APART]
    return first, apart[0] if apart else int(sines.argmax())


def _images(arms: np.ndarray, labels: np.ndarray, k: int, tolerance: float) -> list[int]:
    """Atoms that an atom may be brought to: of its kind, at its distance from the center."""
    distances = np.linalg.norm(arms, axis=1)
    return np.flatnonzero((labels == labels[k]) & (np.abs(distances - distances[k]) <= tolerance)).tolist()


def _frame(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(3, 3) orthonormal rows: along the first, towards the second, and across."""
    along = first / np.linalg.norm(first)
    across = np.cross(along, second)
    across /= np.linalg.norm(across)
    return np.stack([along, np.cross(across, along), across])


def _maps_to_itself(moved: np.ndarray, fixed: np.ndarray, labels: np.ndarray, tolerance: float) -> bool:
    distances = np.linalg.norm(moved[:, None] - fixed, axis=2)
    distances[labels[:, None] != labels] = np.inf
    nearest = distances.argmin(axis=1)
    return bool((distances.min(axis=1) <= 2 * tolerance).all()) and len(set(nearest.tolist())) == len(fixed)
