r"""Energy and dipole of a molecule as power series in its normal coordinates.

In dimensionless normal coordinates q, with energies as wavenumbers,

.. math:: V = \frac12 \sum_i ω_i q_i^2 + \frac16 \sum_{ijk} φ_{ijk} q_i q_j q_k
    + \frac1{24} \sum_{ijkl} φ_{ijkl} q_i q_j q_k q_l

Constants are differences of second derivatives between structures that are displaced along modes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
from ase import Atoms
from ase.units import _c, _hplanck, invcm, kg
from jaxtyping import Float64

from molcalc.calculators.base import MolCalculator
from molcalc.calculators.normal_modes import NormalModes
from molcalc.errors import InputError

MODE_DISPLACEMENT = 0.05
"""Of a dimensionless normal coordinate, to both sides. What differences leave out moves the fundamentals of water by
0.1 cm⁻¹."""
DEGENERATE = 0.5
"""cm⁻¹ by which modes that symmetry makes equal may differ."""
AT_MINIMUM = 1e-3
"""eV/Å of the largest force at which a force field may be found."""
MOST_ATOMS = 12
_ROTATIONAL = _hplanck / (8.0 * np.pi**2 * _c * 100.0) * kg * 1e20
"""Rotational constant in cm⁻¹ times the moment of inertia in u·Å²."""
_LINEAR = 1e-3
"""Share of the largest moment of inertia below which a moment is that of a linear molecule about its axis."""


@dataclass(frozen=True)
class DipoleSeries:
    """Derivatives of the dipole by dimensionless normal coordinates, e·Å.

    Attributes
    ----------
    first : (3, n_modes).
    second : (3, n_modes, n_modes).
    third : (3, n_modes, n_modes); [:, i, j] once by q_i and twice by q_j.
    """

    first: Float64[np.ndarray, "3 n_modes"]
    second: Float64[np.ndarray, "3 n_modes n_modes"]
    third: Float64[np.ndarray, "3 n_modes n_modes"]


@dataclass(frozen=True)
class QuarticField:
    """Force field of fourth order, with what couples vibrations by rotation.

    Attributes
    ----------
    wavenumbers : (n_modes,) cm⁻¹, harmonic.
    cubic : (n_modes, n_modes, n_modes) φ_ijk in cm⁻¹.
    quartic : (n_modes, n_modes, n_modes, n_modes) φ_ijkl in cm⁻¹. Constants of four different modes are zero unless two
        of them are degenerate: without degenerate modes they change no energy in second order.
    coriolis : (3, n_modes, n_modes) ζ about the principal axes.
    rotational : (3,) cm⁻¹, constants about these axes; 0 about the axis of a linear molecule.
    linear : whether all atoms are on a line.
    dipole : None without charges.
    """

    wavenumbers: Float64[np.ndarray, " n_modes"]
    cubic: Float64[np.ndarray, "n_modes n_modes n_modes"]
    quartic: Float64[np.ndarray, "n_modes n_modes n_modes n_modes"]
    coriolis: Float64[np.ndarray, "3 n_modes n_modes"]
    rotational: Float64[np.ndarray, " 3"]
    linear: bool
    dipole: DipoleSeries | None


def quartic_field(
    atoms: Atoms, calc: MolCalculator, progress: Callable[[int, int], None] | None = None
) -> tuple[NormalModes, QuarticField]:
    """Force field of a molecule at a minimum, from second derivatives at structures displaced along its modes.

    Parameters
    ----------
    atoms : relaxed to :data:`AT_MINIMUM` at least.
    calc : computes second derivatives, and those of the dipole.
    progress : is told how many of how many displaced structures are done.

    Returns
    -------
    harmonic modes, and the field in their coordinates

    Raises
    ------
    InputError
        For what is no free molecule at a minimum, has no vibrations, or has more than :data:`MOST_ATOMS` atoms.
    """
    atoms = _checked(atoms)
    fmax = float(np.linalg.norm(calc.get_property("forces", atoms), axis=1).max())
    if fmax > AT_MINIMUM:
        raise InputError(
            f"fmax {fmax:.4f} eV/Å: an anharmonic force field belongs to a minimum; relax to fmax={AT_MINIMUM / 10:g}"
        )
    modes = NormalModes.of(calc.get_vibrations(atoms))
    if len(modes.imaginary):
        raise InputError(
            f"a vibration of {modes.imaginary.max():.0f}i cm⁻¹: perturbation theory needs a minimum; move the atoms "
            "along it, and relax"
        )
    series = _Series(modes, calc, progress)
    coriolis, rotational = _rotation(modes)
    field = QuarticField(
        modes.wavenumbers, *series.constants(), coriolis, rotational, modes.geometry == "linear", series.dipole()
    )
    return modes, field


def _checked(atoms: Atoms) -> Atoms:
    """Copy of a molecule that may have a force field."""
    if atoms.pbc.any() or atoms.constraints:
        held = "has fixed atoms" if atoms.constraints else "is periodic"
        raise InputError(f"{atoms.get_chemical_formula()} {held}: anharmonic vibrations are those of a free molecule")
    if len(atoms) < 2:
        raise InputError(f"{atoms.get_chemical_formula()} has no vibrations")
    n = len(atoms)
    if n > MOST_ATOMS:
        raise InputError(
            f"{atoms.get_chemical_formula()} has {n} atoms; anharmonic vibrations of {MOST_ATOMS} at most are found. "
            f"Perturbation theory would take gigabytes for its {(3 * n - 6) ** 2 // 2:,} states, and fails for the "
            "soft modes of large molecules; infrared spectra of dynamics are anharmonic too"
        )
    return atoms.copy()


class _Series:
    """Second derivatives of energy and dipole at displaced structures.

    ``hessians[k, s]`` and ``slopes[k, s]`` are those at a displacement of mode k to side s, in normal coordinates.
    """

    def __init__(self, modes: NormalModes, calc: MolCalculator, progress: Callable[[int, int], None] | None) -> None:
        self._modes, self._calc = modes, calc
        n = len(modes.wavenumbers)
        gaps = np.diff(modes.wavenumbers)
        self._degenerate = [(i, j) for i, j in combinations(range(n), 2) if (gaps[i:j] < DEGENERATE).all()]
        self._n_done, self._n_all, self._progress = 0, 2 * n + 4 * len(self._degenerate), progress
        sides = np.array([1.0, -1.0])
        both = [[self._at({k: side}) for side in sides] for k in range(n)]
        self._hessians = np.array([[found[0] for found in pair] for pair in both])
        self._slopes = None if both[0][0][1] is None else np.array([[found[1] for found in pair] for pair in both])
        self._center = self._transformed(modes.atoms)
        self._crossed = {
            (i, j): sum(a * b * self._at({i: a, j: b})[0] for a in sides for b in sides) / (4.0 * MODE_DISPLACEMENT**2)
            for i, j in self._degenerate
        }

    def _at(self, sides: dict[int, float]) -> tuple[np.ndarray, np.ndarray | None]:
        moved = self._modes.atoms.copy()
        for mode, side in sides.items():
            moved.positions += side * MODE_DISPLACEMENT * self._modes.per_quantum[mode]
        found = self._transformed(moved)
        self._n_done += 1
        if self._progress is not None:
            self._progress(self._n_done, self._n_all)
        return found

    def _transformed(self, atoms: Atoms) -> tuple[np.ndarray, np.ndarray | None]:
        """Second derivatives of the energy in cm⁻¹, and first ones of the dipole in e·Å, by normal coordinates."""
        found = self._calc.get_vibrations(atoms)
        moves = self._modes.per_quantum.reshape(len(self._modes.wavenumbers), -1)
        slopes = found.dipole_derivatives
        return (
            moves @ found.get_hessian_2d() @ moves.T / invcm,
            None if slopes is None else slopes.reshape(3, -1) @ moves.T,
        )

    def constants(self) -> tuple[np.ndarray, np.ndarray]:
        """Cubic and quartic constants, each the mean of all differences that give it."""
        n = len(self._hessians)
        cubic = (self._hessians[:, 0] - self._hessians[:, 1]) / (2.0 * MODE_DISPLACEMENT)
        diagonal = (self._hessians.sum(axis=1) - 2.0 * self._center[0]) / MODE_DISPLACEMENT**2
        total, count = np.zeros((n,) * 4), np.zeros((n,) * 4)
        for (i, j), values in [*(((k, k), diagonal[k]) for k in range(n)), *self._crossed.items()]:
            first, second = np.indices((n, n))
            modes = (np.full((n, n), i), np.full((n, n), j), first, second)
            for order in permutations(modes):
                np.add.at(total, order, values)
                np.add.at(count, order, 1.0)
        symmetric = sum(cubic.transpose(order) for order in permutations(range(3))) / 6.0
        return symmetric, total / np.maximum(count, 1.0)

    def dipole(self) -> DipoleSeries | None:
        """Derivatives of the dipole, of a model that has one."""
        if self._slopes is None or self._center[1] is None:
            return None
        second = (self._slopes[:, 0] - self._slopes[:, 1]) / (2.0 * MODE_DISPLACEMENT)  # displaced mode, x, mode
        third = (self._slopes.sum(axis=1) - 2.0 * self._center[1]) / MODE_DISPLACEMENT**2
        symmetric = 0.5 * (second.transpose(1, 0, 2) + second.transpose(1, 2, 0))
        return DipoleSeries(self._center[1], symmetric, third.transpose(1, 2, 0))


def _rotation(modes: NormalModes) -> tuple[np.ndarray, np.ndarray]:
    """Coriolis coefficients and rotational constants about the principal axes."""
    atoms = modes.atoms
    masses = atoms.get_masses()
    arms = atoms.positions - atoms.get_center_of_mass()
    inertia = (masses * (arms**2).sum(axis=1)).sum() * np.eye(3) - (masses[:, None] * arms).T @ arms
    moments, axes = np.linalg.eigh(inertia)
    turning = moments > _LINEAR * moments[-1]
    rotational = np.where(turning, _ROTATIONAL / np.where(turning, moments, 1.0), 0.0)
    weighted = modes.displacements * np.sqrt(masses)[:, None]
    crossed = np.cross(weighted[:, None], weighted[None]).sum(axis=2)
    return np.moveaxis(crossed @ axes, 2, 0), rotational
