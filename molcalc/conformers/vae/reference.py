"""The molecule that a generator is for, and structures as it takes them: checked, with labels in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms

from molcalc.conformers.molecules import BROKEN, FORMED, Molecule, molecule_of
from molcalc.conformers.stereo import turn, turns
from molcalc.conformers.vae.rotor_labels import RotorLabels
from molcalc.conformers.vae.topology import Topology
from molcalc.errors import InputError
from molcalc.state import State
from molcalc.train.data.dataset import Dataset
from molcalc.units import COVALENT_RADII, SYMBOLS

CHECKED_FRAMES = 500
"""Structures whose distances are in memory together."""


@dataclass(frozen=True, eq=False)
class ReferenceStructure:
    """Molecule with a structure that its labels are taken from.

    Attributes
    ----------
    molecule : elements, bonds, charge.
    positions : (n_atoms, 3) Å.
    """

    molecule: Molecule
    positions: np.ndarray

    @classmethod
    def of(cls, atoms: Atoms, label: str = "the reference structure") -> ReferenceStructure:
        """Molecule that a structure is of.

        Parameters
        ----------
        label : of the structure, for messages.

        Returns
        -------
        molecule with its bonds, as they are seen in distances

        Raises
        ------
        InputError
            When the structure is periodic or not finite, or is of several molecules or of one atom.
        """
        molecule = molecule_of(atoms, label)
        fragments = molecule.graph.fragments()
        if len(fragments) > 1:
            sizes = ", ".join(str(len(each)) for each in fragments)
            raise InputError(
                f"{label} is of {len(fragments)} molecules, with {sizes} atoms: a generator is for one, all of whose "
                "atoms are connected by bonds; give a structure with bonds of usual lengths, or one of the molecules"
            )
        if len(atoms) == 1:
            raise InputError(f"{label} is one atom, which has no conformers")
        return cls(molecule, atoms.positions.copy())

    @cached_property
    def topology(self) -> Topology:
        """Pairs, torsions and centers."""
        return Topology.of(self.molecule.graph)

    @cached_property
    def rotors(self) -> RotorLabels:
        """Groups whose labels are put in order."""
        return RotorLabels.of(self.molecule.graph, self.positions)

    def frames_of(self, structures: Sequence[Atoms]) -> np.ndarray:
        """Positions of structures in memory, checked and with labels in order.

        Returns
        -------
        (n_structures, n_atoms, 3) Å

        Raises
        ------
        InputError
            When one is not of the molecule; names it.
        """
        listed = [structures] if isinstance(structures, Atoms) else list(structures)
        for k, atoms in enumerate(listed):
            if not isinstance(atoms, Atoms):
                raise InputError(f"structure {k} is a {type(atoms).__name__}; expected Atoms")
            self._check_atoms(atoms.numbers, atoms.pbc, f"structure {k}")
            initial = float(atoms.get_initial_charges().sum()) if atoms.has("initial_charges") else None
            state = State.of(atoms.info, n_atoms=len(atoms), protons=int(atoms.numbers.sum()), initial_charge=initial)
            self._check_charge(state.charge, f"structure {k}")
        positions = np.array([atoms.positions for atoms in listed]).reshape(-1, len(self.positions), 3)
        return self._checked(positions, lambda k: f"structure {k}")

    def frames_in(self, data: Dataset) -> np.ndarray:
        """Positions of a dataset, checked and with labels in order.

        Returns
        -------
        (n_structures, n_atoms, 3) Å

        Raises
        ------
        InputError
            When a row is not of the molecule; names it.
        """
        for k in range(len(data)):
            own = slice(int(data.offsets[k]), int(data.offsets[k + 1]))
            if not np.array_equal(data.numbers[own], self.molecule.numbers) or data.pbc[k].any():
                self._check_atoms(data.numbers[own], data.pbc[k], data.row_name(k))
        for k in np.flatnonzero(data.total_charge != self.molecule.charge)[:1].tolist():
            self._check_charge(data.total_charge[k], data.row_name(k))
        return self._checked(data.positions.reshape(len(data), len(self.positions), 3), data.row_name)

    def _check_atoms(self, numbers: np.ndarray, pbc: np.ndarray, name: str) -> None:
        """Refuse other atoms, or the same in another order, and periodic structures."""
        expected = self.molecule.numbers
        if pbc.any():
            raise InputError(f"{name}: pbc={pbc.tolist()}; conformers are of molecules: switch it off")
        if len(numbers) != len(expected):
            raise InputError(f"{name} has {len(numbers)} atoms; {self.molecule.formula} has {len(expected)}")
        if (different := np.flatnonzero(numbers != expected)).size:
            k = int(different[0])
            same = "in another order" if sorted(numbers) == sorted(expected) else "of other elements"
            raise InputError(
                f"{name} has atoms {same}: atom {k} is {SYMBOLS[numbers[k]]}, in the reference {SYMBOLS[expected[k]]}; "
                "all structures need the order of the reference"
            )

    def _check_charge(self, charge: float, name: str) -> None:
        if charge != self.molecule.charge:
            raise InputError(f"{name} has charge {charge:g}; {self.molecule.formula} here has {self.molecule.charge}")

    def _checked(self, positions: np.ndarray, name: Callable[[int], str]) -> np.ndarray:
        """Structures of this molecule with labels in order; an error names the first that is none."""
        bonded = np.zeros((len(self.positions),) * 2, dtype=bool)
        for i, j in self.molecule.graph.bonds:
            bonded[i, j] = bonded[j, i] = True
        radii = COVALENT_RADII[self.molecule.numbers]
        sums = radii[:, None] + radii[None]
        for start in range(0, len(positions), CHECKED_FRAMES):
            block = positions[start : start + CHECKED_FRAMES]
            finite = np.isfinite(block).all((1, 2))
            if not finite.all():
                raise InputError(f"{name(start + int(np.argmin(finite)))}: positions are not finite")
            with np.errstate(over="ignore"):
                ratios = np.linalg.norm(block[:, :, None] - block[:, None], axis=3) / sums
            np.einsum("kii->ki", ratios)[:] = np.inf  # an atom and itself are not bonded
            wrong = ((ratios > BROKEN) & bonded | (ratios < FORMED) & ~bonded).any((1, 2))
            if wrong.any():
                k = int(np.argmax(wrong))
                raise InputError(
                    f"{name(start + k)} has other bonds than the reference: "
                    f"{self.molecule.connectivity_fault(block[k])}; leave it out"
                )
            self._check_hands(block, lambda k, start=start: name(start + k))  # type: ignore[misc]
        return self.rotors.put_in_order(positions)

    def _check_hands(self, positions: np.ndarray, name: Callable[[int], str]) -> None:
        """Refuse structures in which a center with four ligands is the mirror image of that in the reference."""
        for atom, *ligands in self.topology.centers.T.tolist():
            turned = turns(positions, atom, ligands) * turn(self.positions, atom, ligands) < 0
            if turned.any():
                symbol = SYMBOLS[self.molecule.numbers[atom]]
                raise InputError(
                    f"{name(int(turned.argmax()))}: {symbol}{atom} is the mirror image of that in the reference: "
                    "another stereoisomer, or labels of equal ligands are exchanged; leave it out, or put them in order"
                )
