"""Structures the checks are run with, and variations of a given one."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import molecule

RATTLE = 0.05
GAP_BETWEEN_IMAGES = 2.2
CLUSTERS = (("C", 1.6), ("Ni", 2.5), ("Si", 2.4), ("Ar", 3.8))


def default_structures() -> list[Atoms]:
    """Return structures to offer to a calculator, in order of preference.

    Small organic molecules come first; a metal, noble gas and silicon cluster serve calculators with a
    short list of elements.

    Returns
    -------
    molecules, then crystals
    """
    molecules = [molecule("CH3OH"), molecule("H2O"), molecule("CH4")]
    clusters = [_tetrahedron(symbol, distance) for symbol, distance in CLUSTERS]
    return [generic(atoms) for atoms in (*molecules, *clusters)]


def _tetrahedron(symbol: str, distance: float) -> Atoms:
    """Return four atoms at the given distance (Å) from each other."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    return Atoms([symbol] * 4, corners * distance / np.sqrt(8))


def generic(atoms: Atoms) -> Atoms:
    """Return a copy without symmetry: atoms moved at random and nothing parallel to an axis."""
    copy = atoms.copy()
    copy.positions += np.random.default_rng(7).normal(scale=RATTLE, size=copy.positions.shape)
    copy.positions[:] = copy.positions @ random_rotation(11).T
    return copy


def random_rotation(seed: int) -> np.ndarray:
    """Return a proper (3, 3) rotation matrix."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


def transformed(atoms: Atoms, matrix: np.ndarray) -> Atoms:
    """Return a copy with positions and cell multiplied by an orthogonal matrix."""
    copy = atoms.copy()
    copy.set_cell(copy.cell.array @ matrix.T, scale_atoms=False)
    copy.positions[:] = copy.positions @ matrix.T
    return copy


def boxed(atoms: Atoms) -> Atoms:
    """Return the molecule repeated in a narrow triclinic box, so that its images interact.

    The skew is different for each pair of axes: six different stress components.

    Returns
    -------
    copy with a cell
    """
    copy = atoms.copy()
    copy.positions -= copy.positions.min(axis=0)
    a, b, c = np.ptp(copy.positions, axis=0) + GAP_BETWEEN_IMAGES
    copy.set_cell([[a, 0.0, 0.0], [0.25 * a, b, 0.0], [-0.15 * a, 0.35 * b, c]])
    copy.pbc = True
    return copy


def sheared(atoms: Atoms) -> Atoms:
    """Return a crystal with rattled atoms and a strained cell: six different stress components."""
    copy = strained(atoms, 0.03)
    copy.positions += np.random.default_rng(3).normal(scale=RATTLE, size=copy.positions.shape)
    return copy


def strained(atoms: Atoms, size: float) -> Atoms:
    """Return a copy with cell and positions strained, differently in all six directions."""
    strain = size * np.array([[0.3, 0.7, -0.5], [0.7, -0.4, 1.0], [-0.5, 1.0, 0.6]])
    copy = atoms.copy()
    copy.set_cell(copy.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return copy


def doubled(atoms: Atoms) -> Atoms:
    """Return two copies side by side (two cells of a crystal): another size, but the same elements."""
    if atoms.pbc.any():
        return atoms.repeat((2, 1, 1))
    copy = atoms.copy()
    copy.positions[:, 0] += np.ptp(atoms.positions[:, 0]) + GAP_BETWEEN_IMAGES
    pair = atoms.copy()
    pair.extend(copy)
    return pair


def displaced(atoms: Atoms, distance: float, seed: int = 5) -> Atoms:
    """Return a copy with every atom moved by ``distance`` (Å) in a random direction."""
    copy = atoms.copy()
    directions = np.random.default_rng(seed).normal(size=copy.positions.shape)
    copy.positions += distance * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return copy
