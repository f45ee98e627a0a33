"""Molecules whose conformers are ranked: what their conformers have in common, and when a structure is none of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms

from molcalc.conformers.graphs import AtomGraph
from molcalc.conformers.stereo import Hands, holds_ligands, stereo_map, stereo_of
from molcalc.errors import InputError
from molcalc.neighbors import pair_list
from molcalc.state import State
from molcalc.units import COVALENT_RADII, SYMBOLS

BONDED, BROKEN, FORMED = 1.2, 1.35, 1.15
"""Distances by the sum of covalent radii: up to the first, two atoms of a structure are taken for bonded. Bonds that
were there are broken beyond the second, others have formed below the third; what is between is strained or shared."""
_STRUCTURES_AT_ONCE = 100
"""Structures whose distances are looked at together."""
DOUBLE = {(6, 6): 1.40, (6, 7): 1.315, (7, 6): 1.315, (7, 7): 1.30}
"""Å, by the elements: shorter bonds hold their ligands. Amides, 1.35 Å, turn."""
LARGEST_RING = 7
"""Atoms of a ring in which a double bond has one form only."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Molecule:
    """Molecule of one constitution and configuration.

    Attributes
    ----------
    name : as the source has it.
    label : where it comes from, for messages.
    numbers : (n_atoms,) atomic numbers, in the order of all its structures.
    masses : (n_atoms,) u; isotopes have their own.
    graph : of its atoms; masses tell isotopes apart.
    double_bonds : pairs (i, j), i < j, that hold their ligands in place.
    charge : e.
    multiplicity : 2S+1.
    smiles : of the stereoisomer; empty where no bond orders are known.
    template : the same molecule of RDKit with all hydrogen atoms; None where only structures are known.
    """

    name: str
    label: str
    numbers: np.ndarray
    masses: np.ndarray
    graph: AtomGraph
    double_bonds: tuple[tuple[int, int], ...] = ()
    charge: int = 0
    multiplicity: int = 1
    smiles: str = ""
    template: Any = None

    @property
    def formula(self) -> str:
        """Sum formula, by Hill."""
        return str(Atoms(self.numbers).get_chemical_formula("hill"))

    @property
    def cure_without_hydrogen(self) -> str:
        """Cure that errors about bonds add where there are no hydrogen atoms, as in generators of heavy atoms."""
        if (self.numbers == 1).any():
            return ""
        return "; it has no hydrogen atoms: if they were left out, 'molcalc sample' adds them with --smiles"

    def structure(self, positions: np.ndarray) -> Atoms:
        """Structure at some positions, (n_atoms, 3) Å, which states its charge and multiplicity."""
        info = {"charge": self.charge, "multiplicity": self.multiplicity}
        return Atoms(self.numbers, positions, masses=self.masses, info=info)

    def stereo(self, positions: np.ndarray) -> Hands:
        """Stereochemistry of a structure of it."""
        return stereo_of(self.numbers, positions, self.graph, self.double_bonds)

    def connectivity_fault(self, positions: np.ndarray) -> str:
        """What bonds a structure has lost or got; empty where they are those of the molecule."""
        broken, formed = (np.argwhere(pairs[0]) for pairs in self._changed_bonds(positions[None]))
        words = [f"bond {self._pair(*pair)} is broken" for pair in broken.tolist()]
        words += [f"bond {self._pair(*pair)} has formed" for pair in formed.tolist()]
        return ", ".join(words)

    def bonds_kept(self, positions: np.ndarray) -> np.ndarray:
        """(n_structures,) whether structures (n_structures, n_atoms, 3) have its bonds, and no others."""
        chunks = np.array_split(positions, max(1, len(positions) // _STRUCTURES_AT_ONCE))
        return np.concatenate([~np.any(np.logical_or(*self._changed_bonds(each)), axis=(1, 2)) for each in chunks])

    def _changed_bonds(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n_structures, n_atoms, n_atoms) pairs i < j whose bond is broken, and pairs that have got one."""
        distances = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=3)
        radii = COVALENT_RADII[self.numbers]
        ratios = distances / (radii[:, None] + radii[None])
        bonded = np.zeros(ratios.shape[1:], dtype=bool)
        for i, j in self.graph.bonds:
            bonded[i, j] = bonded[j, i] = True
        upper = np.triu(np.ones_like(bonded), k=1)
        return bonded & (ratios > BROKEN) & upper, ~bonded & (ratios < FORMED) & upper

    def _pair(self, i: int, j: int) -> str:
        return f"{SYMBOLS[self.numbers[i]]}{i}–{SYMBOLS[self.numbers[j]]}{j}"


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Molecule, and structures of it to begin with.

    Attributes
    ----------
    structures : none where they are to be made from the bonds.
    """

    molecule: Molecule
    structures: Sequence[Atoms] = field(default_factory=list)


def atom_labels(numbers: np.ndarray, masses: np.ndarray) -> tuple[int, ...]:
    """Numbers that tell elements and isotopes apart."""
    return tuple(1000 * int(z) + round(float(mass)) for z, mass in zip(numbers, masses))


def bonds_between(numbers: np.ndarray, positions: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of atoms that are as near as bonded ones."""
    radii = COVALENT_RADII[numbers]
    pairs, _ = pair_list(positions, np.zeros((3, 3)), np.zeros(3, dtype=bool), BONDED * 2 * float(radii.max()))
    distances = np.linalg.norm(positions[pairs[0]] - positions[pairs[1]], axis=1)
    near = distances <= BONDED * (radii[pairs[0]] + radii[pairs[1]])
    return sorted((min(i, j), max(i, j)) for i, j in pairs[:, near].T.tolist())


def molecule_of(atoms: Atoms, label: str) -> Molecule:
    """Molecule that a structure is of; bonds are seen in its distances.

    Parameters
    ----------
    label : of the structure, for messages.

    Returns
    -------
    molecule without bond orders

    Raises
    ------
    InputError
        When the structure is none, is periodic, has no atoms or positions that are none.
    StateError
        When charge or multiplicity contradict each other.
    """
    if not isinstance(atoms, Atoms):
        raise InputError(f"{label} is a {type(atoms).__name__}; expected Atoms")
    if atoms.pbc.any():
        raise InputError(
            f"{label}: pbc={atoms.pbc.tolist()}: conformers are of molecules; switch off with atoms.pbc = False"
        )
    if not len(atoms):
        raise InputError(f"{label} has no atoms")
    if not np.isfinite(atoms.positions).all():
        raise InputError(f"{label}: positions are not finite")
    initial = float(atoms.get_initial_charges().sum()) if atoms.has("initial_charges") else None
    protons = int(atoms.numbers.sum())
    state = State.of(atoms.info, n_atoms=len(atoms), protons=protons, initial_charge=initial)
    masses = atoms.get_masses()
    graph = AtomGraph.of(atom_labels(atoms.numbers, masses), bonds_between(atoms.numbers, atoms.positions))
    return Molecule(
        name=str(atoms.info.get("name") or atoms.get_chemical_formula("hill")),
        label=label,
        numbers=atoms.numbers.copy(),
        masses=masses,
        graph=graph,
        double_bonds=_short_bonds(atoms, graph),
        charge=state.charge,
        multiplicity=state.multiplicity,
    )


def grouped(structures: Iterable[tuple[Molecule, Atoms]]) -> list[Ensemble]:
    """Structures by the molecule that they are of, in the order in which molecules come first.

    Atoms of a structure in another order than in the first one of its molecule are put in that order. Stereoisomers are
    different molecules, and so are ions.

    Parameters
    ----------
    structures : each with the molecule that it is of.

    Returns
    -------
    one ensemble for each molecule
    """
    found: list[tuple[Molecule, Hands, list[Atoms]]] = []
    for molecule, atoms in structures:
        hands = molecule.stereo(atoms.positions)
        for known, of_known, members in found:
            if (known.charge, known.multiplicity) != (molecule.charge, molecule.multiplicity):
                continue
            if _alike(known, molecule):  # a double bond of one structure may be stretched in another
                hands = known.stereo(atoms.positions)
            order = stereo_map(known.graph, of_known, molecule.graph, hands)
            if order is not None:
                members.append(atoms[order])
                break
        else:
            found.append((molecule, hands, [atoms]))
    return [Ensemble(molecule=molecule, structures=members) for molecule, _, members in found]


def _alike(first: Molecule, second: Molecule) -> bool:
    return first.graph.labels == second.graph.labels and first.graph.neighbors == second.graph.neighbors


def _short_bonds(atoms: Atoms, graph: AtomGraph) -> tuple[tuple[int, int], ...]:
    """Bonds that are as short as double bonds, hold ligands at both ends and are in no small ring."""
    return tuple(
        (i, j)
        for i, j in graph.bonds
        if atoms.get_distance(i, j) <= DOUBLE.get((int(atoms.numbers[i]), int(atoms.numbers[j])), 0.0)
        and holds_ligands(graph, i, j)
        and not in_small_ring(graph, i, j)
    )


def in_small_ring(graph: AtomGraph, i: int, j: int) -> bool:
    """Whether a bond is part of a ring of at most :data:`LARGEST_RING` atoms."""
    reached, seen = {i}, {i}
    for _ in range(LARGEST_RING - 1):
        reached = {k for atom in reached for k in graph.neighbors[atom] if (atom, k) != (i, j)} - seen
        if j in reached:
            return True
        seen |= reached
    return False
