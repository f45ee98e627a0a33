"""Exchanges of equal heavy atoms: which atom of one structure stands for which of another one.

Structures of one molecule come with equal atoms in any order, such as the two methyl groups of a quaternary carbon.
Before distances are measured, every structure gets the order in which its stereochemistry is that of the reference;
what is left to try are exchanges that keep it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from molcalc.conformers.graphs import AtomGraph, mappings
from molcalc.conformers.molecules import Molecule
from molcalc.conformers.stereo import (
    Center,
    Hands,
    changed_hand,
    holds_ligands,
    signs_of,
    stereo_map,
    stereo_of,
    turn,
    with_signs,
)
from molcalc.conformers.superposition import rmsd_matrix

MOST_EXCHANGES = 1000
"""Exchanges that are tried; few molecules have as many, and of those distances may come out too long."""
FEWEST_COMPARED = 4
"""Atoms that make a shape; of molecules with fewer heavy ones all are compared."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Exchanges:
    """Compared atoms of a molecule, and the exchanges of equal ones that keep its stereochemistry.

    Attributes
    ----------
    atoms : (n_compared,) all but hydrogen; all atoms of molecules with fewer than :data:`FEWEST_COMPARED` others.
    graph : of them.
    hands : stereochemistry that they have in the reference.
    maps : (n_maps, n_compared) exchanges, the first of which changes nothing.
    """

    atoms: np.ndarray
    graph: AtomGraph
    hands: Hands
    maps: np.ndarray

    @classmethod
    def of(cls, molecule: Molecule, positions: np.ndarray) -> Exchanges:
        """Exchanges in a molecule whose stereochemistry is that of one structure, (n_atoms, 3) Å."""
        atoms = np.flatnonzero(molecule.numbers != 1)
        if len(atoms) < FEWEST_COMPARED:
            atoms = np.arange(len(molecule.numbers))
        graph = molecule.graph.part(atoms.tolist())
        hands = _hands(molecule, positions, atoms, graph)
        found = itertools.islice(mappings(graph, graph, changed_hand(hands, hands)), MOST_EXCHANGES)
        same = list(range(len(atoms)))
        maps = [same, *(images for images in found if images != same)]
        return cls(atoms=atoms, graph=graph, hands=hands, maps=np.array(maps))

    def compared(self, positions: np.ndarray) -> np.ndarray:
        """Compared atoms of structures, equal ones in the order that has the stereochemistry of the reference.

        Parameters
        ----------
        positions : (n_structures, n_atoms, 3) Å.

        Returns
        -------
        (n_structures, n_compared, 3) Å; atoms of other stereoisomers stay in the order that they have
        """
        return self._ordered(positions[:, self.atoms])[0]

    def same_stereoisomer(self, positions: np.ndarray) -> np.ndarray:
        """Whether structures have the stereochemistry of the reference, whichever of equal atoms is which.

        Parameters
        ----------
        positions : (n_structures, n_atoms, 3) Å.

        Returns
        -------
        (n_structures,) bool; hydrogen atoms of one CH2 or CH3 group never decide
        """
        return self._ordered(positions[:, self.atoms])[1]

    def mirrored(self, compared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mirror images of structures, in the order that has the stereochemistry of the reference.

        Parameters
        ----------
        compared : (n_structures, n_compared, 3) Å.

        Returns
        -------
        images : (n_structures, n_compared, 3) Å.
        same : (n_structures,) bool, whether the image is of this stereoisomer: of chiral molecules it is of the other.
        """
        return self._ordered(-compared)

    def distances(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(n_first, n_second) Å, least over exchanges and proper rotations, of compared atoms of two sets."""
        return rmsd_matrix(first, second, self.maps)

    def _ordered(self, compared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Structures with equal atoms exchanged, and whether an exchange gives them the stereochemistry."""
        patterns, members = np.unique(signs_of(self.hands, compared), axis=0, return_inverse=True)
        ordered, found = compared.copy(), np.zeros(len(compared), dtype=bool)
        for k, pattern in enumerate(patterns):
            images = stereo_map(self.graph, self.hands, self.graph, with_signs(self.hands, pattern))
            if images is not None:
                ordered[members == k] = compared[members == k][:, images]
                found[members == k] = True
        return ordered, found


class DistinctShapes:
    """Shapes that are farther from each other than a limit, numbered as they come.

    Parameters
    ----------
    apart : Å.
    """

    def __init__(self, exchanges: Exchanges, apart: float) -> None:
        self._exchanges, self._apart = exchanges, apart
        self._known = np.empty((0, len(exchanges.atoms), 3))

    def number_of(self, positions: np.ndarray) -> int:
        """Number of the known shape nearest to a structure, (n_atoms, 3) Å; of one that is far from all a new one."""
        shape = self._exchanges.compared(positions[None])
        near = self._exchanges.distances(shape, self._known)[0]
        if len(near) and near.min() <= self._apart:
            return int(near.argmin())
        self._known = np.concatenate([self._known, shape])
        return len(self._known) - 1


def _hands(molecule: Molecule, positions: np.ndarray, atoms: np.ndarray, graph: AtomGraph) -> Hands:
    """Hands that compared atoms show: of those with a hydrogen atom left out three ligands tell."""
    place = {atom: k for k, atom in enumerate(atoms.tolist())}
    double = [(place[i], place[j]) for i, j in molecule.double_bonds if i in place and j in place]
    shown = positions[atoms]
    ends = [bond for bond in double if holds_ligands(graph, *bond)]
    hands = dict(stereo_of(molecule.numbers[atoms], shown, graph, ends))
    for k, atom in enumerate(atoms.tolist()):
        if len(graph.neighbors[k]) == 3 and len(molecule.graph.neighbors[atom]) == 4:
            hands[(k,)] = Center((k,), graph.neighbors[k], turn(shown, k, graph.neighbors[k]))
    return {where: hand for where, hand in hands.items() if hand.sign}
