"""Handedness of atoms and double bonds in a structure, and whether a map onto another structure keeps it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from molcalc.conformers.graphs import AtomGraph, Conflict, mappings

FLAT = 0.3
"""Volume that unit vectors to the ligands span, cosine of a torsion and sine of an angle below which no sign counts.
A tetrahedron has 3.1, a pyramid with angles of 100° 0.9."""
KEEP_PYRAMIDS = (14, 15, 16, 32, 33, 34, 50, 51, 52)
"""Elements that, with three ligands, stay the pyramid that they are: silyl anions, phosphines, sulfoxides and below.
Nitrogen turns inside out."""
_LIGANDS_OF_DOUBLE_BOND = (2, 3)
"""Neighbors of an atom that may hold others in place, with the other end among them."""


class Hand(ABC):
    """Part of a molecule that is what it is, or the mirror image of that.

    Attributes
    ----------
    place : atoms that it belongs to: a center, or both ends of a double bond.
    sign : 1, -1, or 0 where the structure is flat.
    """

    place: tuple[int, ...]
    sign: int

    @property
    @abstractmethod
    def involved(self) -> tuple[int, ...]:
        """All atoms that decide the sign."""

    @abstractmethod
    def agrees(self, images: Sequence[int], others: Mapping[tuple[int, ...], Hand]) -> bool:
        """Whether a map takes it to one of the same hand; what has no hand at its place agrees with everything."""

    @abstractmethod
    def signs_in(self, positions: np.ndarray) -> np.ndarray:
        """(n_structures,) sign in each of (n_structures, n_atoms, 3) positions."""

    @abstractmethod
    def with_sign(self, sign: int) -> Hand:
        """The same part of the molecule in a structure where it has this sign."""


@dataclass(frozen=True)
class Center(Hand):
    """Atom with three or four ligands; the sign is that of the volume that they span in this order."""

    place: tuple[int, ...]
    ligands: tuple[int, ...]
    sign: int

    @property
    def involved(self) -> tuple[int, ...]:
        """Center and ligands."""
        return (*self.place, *self.ligands)

    def agrees(self, images: Sequence[int], others: Mapping[tuple[int, ...], Hand]) -> bool:
        """Whether the ligands turn the same way there."""
        other = others.get((images[self.place[0]],))
        if not isinstance(other, Center):
            return True
        order = [other.ligands.index(images[atom]) for atom in self.ligands]
        return self.sign * _parity(order) == other.sign

    def signs_in(self, positions: np.ndarray) -> np.ndarray:
        return turns(positions, self.place[0], self.ligands)

    def with_sign(self, sign: int) -> Center:
        return replace(self, sign=sign)


@dataclass(frozen=True)
class DoubleBond(Hand):
    """Bond about which nothing turns; the sign is 1 where the two ligands are on one side of it (cis)."""

    place: tuple[int, ...]
    ligands: tuple[int, int]
    sign: int

    @property
    def involved(self) -> tuple[int, ...]:
        """Both ends, and a ligand of each."""
        return (*self.place, *self.ligands)

    def agrees(self, images: Sequence[int], others: Mapping[tuple[int, ...], Hand]) -> bool:
        """Whether these ligands are on the same sides there."""
        ends = images[self.place[0]], images[self.place[1]]
        ligands = images[self.ligands[0]], images[self.ligands[1]]
        if ends[0] > ends[1]:
            ends, ligands = ends[::-1], ligands[::-1]
        other = others.get(ends)
        if not isinstance(other, DoubleBond):
            return True
        changed = sum(a != b for a, b in zip(ligands, other.ligands))
        return self.sign * (-1) ** changed == other.sign

    def signs_in(self, positions: np.ndarray) -> np.ndarray:
        return np.array([side(each, self.place[0], self.place[1], *self.ligands) for each in positions], dtype=int)

    def with_sign(self, sign: int) -> DoubleBond:
        return replace(self, sign=sign)


Hands = Mapping[tuple[int, ...], Hand]
"""Hands of a structure by their place."""


def stereo_of(
    numbers: np.ndarray, positions: np.ndarray, graph: AtomGraph, double_bonds: Iterable[tuple[int, int]]
) -> Hands:
    """Stereochemistry of a structure: what no change of conformation changes.

    Atoms with four ligands, those of :data:`KEEP_PYRAMIDS` with three, and double bonds, whether their ligands differ
    or not: maps tell.

    Parameters
    ----------
    positions : (n_atoms, 3) Å.
    double_bonds : pairs (i, j) of atoms with i < j.

    Returns
    -------
    centers and double bonds by their place
    """
    found: dict[tuple[int, ...], Hand] = {}
    for atom, ligands in enumerate(graph.neighbors):
        if len(ligands) == 4 or (len(ligands) == 3 and numbers[atom] in KEEP_PYRAMIDS):
            found[(atom,)] = Center((atom,), ligands, turn(positions, atom, ligands))
    for i, j in double_bonds:
        found[i, j] = DoubleBond((i, j), (ligands := _ends(graph, i, j)), side(positions, i, j, *ligands))
    return found


def pyramids_of(positions: np.ndarray, graph: AtomGraph) -> Hands:
    """Handedness of all atoms with three or four ligands that are not flat: what tells shapes from each other."""
    hands = {
        (atom,): Center((atom,), ligands, turn(positions, atom, ligands))
        for atom, ligands in enumerate(graph.neighbors)
        if len(ligands) in (3, 4)
    }
    return {place: hand for place, hand in hands.items() if hand.sign}


def changed_hand(first: Hands, second: Hands) -> Conflict:
    """Condition on a map: every hand of ``first`` becomes one of the same sign, as soon as all its atoms are mapped."""
    touched: dict[int, list[Hand]] = {}
    for hand in first.values():
        for atom in hand.involved:
            touched.setdefault(atom, []).append(hand)

    def atoms_of_changed(images: Sequence[int], atom: int) -> tuple[int, ...]:
        for hand in touched.get(atom, ()):
            if all(images[each] >= 0 for each in hand.involved) and not hand.agrees(images, second):
                return hand.involved
        return ()

    return atoms_of_changed


def stereo_map(first: AtomGraph, of_first: Hands, second: AtomGraph, of_second: Hands) -> list[int] | None:
    """Map between structures of one stereoisomer.

    Prochiral groups, such as CH2, agree either way: some map exchanges their ligands.

    Returns
    -------
    (n_atoms,) image of each atom; None between different stereoisomers, or different molecules
    """
    n = len(first.labels)
    same = list(range(n))
    alike = first.labels == second.labels and first.neighbors == second.neighbors
    if alike and all(hand.agrees(same, of_second) for hand in of_first.values()):
        return same
    return next(mappings(first, second, changed_hand(of_first, of_second)), None)


def signs_of(hands: Hands, positions: np.ndarray) -> np.ndarray:
    """Signs that the parts of a molecule have in many structures.

    Parameters
    ----------
    hands : of any structure of it.
    positions : (n_structures, n_atoms, 3) Å.

    Returns
    -------
    (n_structures, n_hands), in the order of the hands
    """
    found = [hand.signs_in(positions) for hand in hands.values()]
    return np.stack(found, axis=1) if found else np.zeros((len(positions), 0), dtype=int)


def with_signs(hands: Hands, signs: Sequence[int]) -> Hands:
    """Hands of a structure in which the parts of the molecule have these signs."""
    return {place: hand.with_sign(int(sign)) for (place, hand), sign in zip(hands.items(), signs)}


def turn(positions: np.ndarray, center: int, ligands: Sequence[int]) -> int:
    """Sign of the volume that unit vectors to three or four ligands span in their order; 0 where they are flat."""
    return int(turns(positions[None], center, ligands)[0])


def turns(positions: np.ndarray, center: int, ligands: Sequence[int]) -> np.ndarray:
    """(n_structures,) :func:`turn` of each of (n_structures, n_atoms, 3) positions."""
    vectors = positions[:, list(ligands)] - positions[:, [center]]
    units = vectors / np.linalg.norm(vectors, axis=2, keepdims=True)
    volumes = np.linalg.det(units if len(ligands) == 3 else units[:, :3] - units[:, 3:])
    return np.where(np.abs(volumes) < FLAT, 0, np.sign(volumes)).astype(int)


def side(positions: np.ndarray, i: int, j: int, of_i: int, of_j: int) -> int:
    """1 where ligands of two bonded atoms are on one side of the bond, -1 where they are not, 0 between."""
    axis = _unit(positions[j] - positions[i])
    one, two = (np.cross(axis, _unit(positions[atom] - positions[end])) for atom, end in ((of_i, i), (of_j, j)))
    sines = float(np.linalg.norm(one)), float(np.linalg.norm(two))
    if min(sines) < FLAT:  # atoms in a line
        return 0
    cosine = float(one @ two) / (sines[0] * sines[1])
    return 0 if abs(cosine) < FLAT else int(np.sign(cosine))


def holds_ligands(graph: AtomGraph, i: int, j: int) -> bool:
    """Whether both ends of a bond have as many ligands as a double bond holds in place, and none are linear."""
    return all(len(graph.neighbors[atom]) in _LIGANDS_OF_DOUBLE_BOND for atom in (i, j))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _ends(graph: AtomGraph, i: int, j: int) -> tuple[int, int]:
    """First ligand of each end of a bond."""
    return (
        next(atom for atom in graph.neighbors[i] if atom != j),
        next(atom for atom in graph.neighbors[j] if atom != i),
    )


def _parity(order: Sequence[int]) -> int:
    """1 for an even permutation, -1 for an odd one."""
    inversions = sum(a > b for k, a in enumerate(order) for b in order[k + 1 :])
    return -1 if inversions % 2 else 1
