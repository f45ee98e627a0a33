"""Bonds, angles and torsions of a molecule, and their values in many structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molcalc.conformers.graphs import AtomGraph
from molcalc.conformers.molecules import Molecule
from molcalc.conformers.rotors import rotors_of
from molcalc.conformers.torsions import torsion_angles
from molcalc.units import SYMBOLS

STRAIGHT_ANGLE = 170.0
"""Degrees of an angle about which no torsion is defined."""


@dataclass(frozen=True, eq=False, kw_only=True)
class InternalCoordinates:
    """Bonds, angles, and torsions about bonds that turn, in the order of the atoms.

    Attributes
    ----------
    bonds : (n_bonds, 2) atoms.
    bond_types : (n_bonds,) elements of each, such as "C–N".
    angles : (n_angles, 3) atoms, the middle one second.
    angle_types : (n_angles,) elements of each, such as "C–N–H".
    torsions : (n_torsions, 4) atoms: of each bond that turns and is in no ring, the one with the longest branches at
        both ends. Groups that look the same after a third of a turn are left out.
    torsion_names : (n_torsions,) such as "C1–N3–C4–C7".
    neighbors : (n_maps, 2) torsions about bonds that share an atom.
    """

    bonds: np.ndarray
    bond_types: tuple[str, ...]
    angles: np.ndarray
    angle_types: tuple[str, ...]
    torsions: np.ndarray
    torsion_names: tuple[str, ...]
    neighbors: np.ndarray

    @classmethod
    def of(cls, molecule: Molecule, positions: np.ndarray) -> InternalCoordinates:
        """Coordinates of a molecule.

        Parameters
        ----------
        positions : (n_atoms, 3) Å of one structure of it, which shows what is straight.

        Returns
        -------
        all of them
        """
        graph = molecule.graph
        bonds = np.array(graph.bonds, dtype=int).reshape(-1, 2)
        angles = np.array(
            [(i, j, k) for j, near in enumerate(graph.neighbors) for i in near for k in near if i < k], dtype=int
        ).reshape(-1, 3)
        torsions = np.array(_torsions(molecule, positions), dtype=int).reshape(-1, 4)
        centers = torsions[:, 1:3].tolist()
        neighbors = [
            (m, n) for m, one in enumerate(centers) for n, other in enumerate(centers[:m]) if set(one) & set(other)
        ]
        return cls(
            bonds=bonds,
            bond_types=tuple(_type(molecule, each) for each in bonds.tolist()),
            angles=angles,
            angle_types=tuple(_type(molecule, each) for each in angles.tolist()),
            torsions=torsions,
            torsion_names=tuple(
                "–".join(f"{SYMBOLS[molecule.numbers[a]]}{a}" for a in each) for each in torsions.tolist()
            ),
            neighbors=np.array([(n, m) for m, n in neighbors], dtype=int).reshape(-1, 2),
        )

    def lengths(self, positions: np.ndarray) -> np.ndarray:
        """(n_structures, n_bonds) Å in structures (n_structures, n_atoms, 3)."""
        return np.asarray(np.linalg.norm(positions[:, self.bonds[:, 0]] - positions[:, self.bonds[:, 1]], axis=2))

    def angles_in(self, positions: np.ndarray) -> np.ndarray:
        """(n_structures, n_angles) degrees in structures (n_structures, n_atoms, 3)."""
        one, center, two = (positions[:, self.angles[:, k]] for k in range(3))
        return _angle(one - center, two - center)

    def torsions_in(self, positions: np.ndarray) -> np.ndarray:
        """(n_structures, n_torsions) degrees from -180 to 180 in structures (n_structures, n_atoms, 3)."""
        return np.asarray(np.degrees(torsion_angles(positions, self.torsions)))


def _torsions(molecule: Molecule, positions: np.ndarray) -> list[tuple[int, int, int, int]]:
    graph = molecule.graph
    rotors = {center for center, _, _ in rotors_of(graph)}
    found = []
    for j, k in graph.bonds:
        turns = min(len(graph.neighbors[j]), len(graph.neighbors[k])) > 1 and not {j, k} & rotors
        if not turns or (j, k) in molecule.double_bonds or _in_ring(graph, j, k):
            continue
        i, m = _longest(molecule, j, k), _longest(molecule, k, j)
        if max(_angle(positions[[i, m]] - positions[[j, k]], positions[[k, j]] - positions[[j, k]])) < STRAIGHT_ANGLE:
            found.append((i, j, k, m))
    return found


def _longest(molecule: Molecule, center: int, other: int) -> int:
    """Neighbor of one end of a bond where most atoms follow; of equal ones the heaviest, then the first."""

    def rank(atom: int) -> tuple[int, int, int]:
        return len(_reached(molecule.graph, atom, center)), int(molecule.numbers[atom]), -atom

    return max((atom for atom in molecule.graph.neighbors[center] if atom != other), key=rank)


def _in_ring(graph: AtomGraph, i: int, j: int) -> bool:
    """Whether two bonded atoms are connected by other bonds, too."""
    return any(j in _reached(graph, atom, i) for atom in graph.neighbors[i] if atom != j)


def _reached(graph: AtomGraph, start: int, barrier: int) -> set[int]:
    """Atoms that are reached from one without crossing another."""
    seen, queue = {start, barrier}, [start]
    for atom in queue:  # grows while it is walked through
        near = [each for each in graph.neighbors[atom] if each not in seen]
        seen.update(near)
        queue += near
    return seen - {barrier}


def _type(molecule: Molecule, atoms: Sequence[int]) -> str:
    symbols = [SYMBOLS[molecule.numbers[atom]] for atom in atoms]
    return "–".join(min(symbols, symbols[::-1]))


def _angle(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Degrees between vectors (..., 3)."""
    sines = np.linalg.norm(np.cross(first, second), axis=-1)
    return np.asarray(np.degrees(np.arctan2(sines, _dot(first, second))))


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.asarray(np.sum(first * second, axis=-1))
