"""Groups such as CH3, that turn about one bond and look the same after a third of a turn."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from molcalc.conformers.graphs import AtomGraph

ANGLE = 20.0
"""Degrees, a third of the way from the top of a threefold barrier to its foot."""


def rotors_of(graph: AtomGraph) -> list[tuple[int, int, list[int]]]:
    """Atom with three equal ligands that have no other bonds, the atom that it is bonded to, and the ligands."""
    found = []
    for center, near in enumerate(graph.neighbors):
        ends = [atom for atom in near if len(graph.neighbors[atom]) == 1]
        if len(near) == 4 and len(ends) == 3 and len({graph.labels[atom] for atom in ends}) == 1:
            (axis,) = set(near) - set(ends)
            found.append((center, axis, ends))
    return found


def with_turned_rotors(atoms: Atoms, graph: AtomGraph) -> Atoms:
    """Copy of a structure whose CH3 and similar groups are turned by :data:`ANGLE`."""
    turned = atoms.copy()
    for center, axis, ends in rotors_of(graph):
        turned.positions[ends] = _turned(turned.positions[ends], turned.positions[center], turned.positions[axis])
    return turned


def _turned(positions: np.ndarray, center: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Positions turned about the line through two points (Rodrigues)."""
    axis = (end - center) / np.linalg.norm(end - center)
    vectors, angle = positions - center, np.radians(ANGLE)
    along = np.outer(vectors @ axis, axis)
    return center + np.cos(angle) * vectors + np.sin(angle) * np.cross(axis, vectors) + (1 - np.cos(angle)) * along
