"""Validity of structures: whether they have the bonds, lengths, distances and stereochemistry of their molecule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molcalc.conformers.graphs import AtomGraph
from molcalc.conformers.metrics.exchanges import Exchanges
from molcalc.conformers.molecules import Molecule
from molcalc.units import VDW_RADII

STRETCHED = 0.25
"""Share of its usual length by which a bond may be longer or shorter."""
CLASH = 0.7
"""Sum of van der Waals radii below which atoms that are far apart in bonds overlap."""
NEAR_BONDS = 3
"""Bonds between atoms that may come as near as they like: angles and torsions bring them together."""
DONORS = (7, 8, 9, 16)
"""Elements whose hydrogen atoms come as near to each other as hydrogen bonds are long: these are no overlap."""
VALIDITY_PARTS = ("bonds", "lengths", "overlaps", "stereo")


@dataclass(frozen=True, eq=False)
class Validity:
    """What is right in each of many structures, (n_structures,) bool each.

    Attributes
    ----------
    bonds : none broken and none formed (:meth:`~molcalc.conformers.molecules.Molecule.bonds_kept`).
    lengths : all within :data:`STRETCHED` of their median in the reference.
    overlaps : no two atoms more than :data:`NEAR_BONDS` bonds apart below :data:`CLASH` of their van der Waals radii,
        hydrogen bonds aside.
    stereo : that of the molecule, whichever of equal atoms is which.
    """

    bonds: np.ndarray
    lengths: np.ndarray
    overlaps: np.ndarray
    stereo: np.ndarray

    @property
    def all(self) -> np.ndarray:
        """(n_structures,) bool, everything."""
        return np.asarray(self.bonds & self.lengths & self.overlaps & self.stereo)

    def shares(self) -> dict[str, float]:
        """Share of structures in which each part is right, and ``all``."""
        return {name: float(getattr(self, name).mean()) for name in (*VALIDITY_PARTS, "all")}


def validity_of(molecule: Molecule, exchanges: Exchanges, usual: np.ndarray, positions: np.ndarray) -> Validity:
    """Validity of structures of a molecule.

    Parameters
    ----------
    exchanges : of its atoms, which know the right stereochemistry.
    usual : (n_bonds,) Å, median lengths of ``molecule.graph.bonds`` in the reference.
    positions : (n_structures, n_atoms, 3) Å.

    Returns
    -------
    what is right in each
    """
    first, second = np.array(molecule.graph.bonds, dtype=int).reshape(-1, 2).T
    lengths = np.linalg.norm(positions[:, first] - positions[:, second], axis=2)
    return Validity(
        bonds=molecule.bonds_kept(positions),
        lengths=np.all(np.abs(lengths / usual - 1.0) <= STRETCHED, axis=1),
        overlaps=~_overlap(molecule, positions),
        stereo=exchanges.same_stereoisomer(positions),
    )


def _overlap(molecule: Molecule, positions: np.ndarray) -> np.ndarray:
    first, second = _far_pairs(molecule)
    radii = VDW_RADII[molecule.numbers]
    found = np.zeros(len(positions), dtype=bool)
    for i, j, least in zip(first, second, CLASH * (radii[first] + radii[second])):
        found |= np.linalg.norm(positions[:, i] - positions[:, j], axis=1) < least
    return found


def _far_pairs(molecule: Molecule) -> tuple[np.ndarray, np.ndarray]:
    """Atoms of pairs more than :data:`NEAR_BONDS` bonds apart that no hydrogen bond brings together."""
    numbers, graph = molecule.numbers, molecule.graph
    near = _within(graph, NEAR_BONDS)
    donor = np.array([z == 1 and any(numbers[j] in DONORS for j in graph.neighbors[i]) for i, z in enumerate(numbers)])
    acceptor = np.isin(numbers, DONORS)
    hydrogen_bond = donor[:, None] & acceptor[None, :]
    first, second = np.nonzero(np.triu(~near & ~hydrogen_bond & ~hydrogen_bond.T, k=1))
    return first, second


def _within(graph: AtomGraph, n_bonds: int) -> np.ndarray:
    """(n_atoms, n_atoms) whether atoms are at most so many bonds apart."""
    n = len(graph.labels)
    bonded = np.zeros((n, n), dtype=bool)
    for i, j in graph.bonds:
        bonded[i, j] = bonded[j, i] = True
    reached = np.eye(n, dtype=bool)
    for _ in range(n_bonds):
        reached |= reached @ bonded
    return reached
