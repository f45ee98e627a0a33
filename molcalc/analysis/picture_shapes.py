"""Shapes that stand for atoms, bonds and point charges in pictures of every kind."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from jaxtyping import Float64, Int
from scipy.spatial import cKDTree

from molcalc.errors import InputError
from molcalc.units import COVALENT_RADII

BALL = 0.45
"""Radius of an atom in covalent radii."""
STICK = 0.10
"""Å, radius of a bond."""
BOND_REACH = 1.25
"""Two atoms closer than this many sums of covalent radii are drawn with a bond."""
LARGEST_SITE = 0.14
"""Å, radius of the ball of a point charge of 1 e or more."""
SMALLEST_SITE = 0.05
"""e; smaller charges are drawn as large as this one."""
MODE_ARROW = 1.1
"""Å, of the atom that moves most along a mode; from the atoms at rest, so that arrows come out of the balls."""
SMALLEST_MOVE = 0.1
"""Share of the longest arrow below which one is left out."""


def check_drawable(atoms: Atoms) -> None:
    """Raise InputError for a structure without atoms."""
    if not len(atoms):
        raise InputError("the structure has no atoms, and nothing to draw")


def ball_radii(atoms: Atoms) -> Float64[np.ndarray, " n_atoms"]:
    """(n_atoms,) Å, radii of the balls of atoms."""
    return np.asarray(BALL * COVALENT_RADII[atoms.numbers])


def site_radii(charges: Float64[np.ndarray, " n_sites"]) -> Float64[np.ndarray, " n_sites"]:
    """(n_sites,) Å, radii of the balls of point charges, whose volumes are as the charges."""
    return LARGEST_SITE * np.cbrt(np.clip(np.abs(charges), SMALLEST_SITE, 1.0))


def drawn_bonds(atoms: Atoms) -> Int[np.ndarray, "n_bonds 2"]:
    """Pairs of near atoms, which a picture connects, whatever a chemist calls them; none across borders of a cell.

    Returns
    -------
    (n_bonds, 2) indices, the smaller one first
    """
    radii = COVALENT_RADII[atoms.numbers]
    if len(atoms) < 2:
        return np.empty((0, 2), dtype=np.int64)
    pairs = cKDTree(atoms.positions).query_pairs(2.0 * BOND_REACH * float(radii.max()), output_type="ndarray")
    lengths = np.linalg.norm(atoms.positions[pairs[:, 0]] - atoms.positions[pairs[:, 1]], axis=1)
    bonded = pairs[lengths < BOND_REACH * radii[pairs].sum(axis=1)]
    return np.asarray(bonded[np.lexsort(bonded.T[::-1])], dtype=np.int64)
