"""Groups such as CH3 whose labels are put in the cyclic order that is nearest to a reference.

In dynamics their atoms visit all three places: a mean over labels would flatten the group. Cyclic orders are rotations;
no order that would need a mirror is ever taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molcalc.conformers.graphs import AtomGraph
from molcalc.conformers.rotors import rotors_of
from molcalc.conformers.torsions import torsion_angles


@dataclass(frozen=True, eq=False)
class RotorLabels:
    """Rotors of a molecule, each with an atom that its turn is measured from.

    Attributes
    ----------
    rotors : center, atom that it is bonded to, a further neighbor of that one, and the three ligands.
    angles : (n_rotors, 3) rad, torsions of the ligands in the reference.
    """

    rotors: tuple[tuple[int, int, int, tuple[int, int, int]], ...]
    angles: np.ndarray

    @classmethod
    def of(cls, graph: AtomGraph, reference: np.ndarray) -> RotorLabels:
        """Rotors of a graph, and their torsions in a reference structure, (n_atoms, 3) Å."""
        rotors = []
        for center, axis, ends in rotors_of(graph):
            further = [atom for atom in graph.neighbors[axis] if atom != center]
            if further:
                rotors.append((center, axis, further[0], (ends[0], ends[1], ends[2])))
        found = tuple(rotors)
        return cls(found, np.array([_torsions(reference[None], rotor)[0] for rotor in found]).reshape(-1, 3))

    def put_in_order(self, positions: np.ndarray) -> np.ndarray:
        """Structures with the labels of every rotor in the cyclic order nearest to the reference.

        Parameters
        ----------
        positions : (n_structures, n_atoms, 3) Å.

        Returns
        -------
        (n_structures, n_atoms, 3) Å
        """
        ordered = positions.copy()
        for rotor, reference in zip(self.rotors, self.angles):
            ends = list(rotor[3])
            cyclic = [np.roll(np.arange(3), -shift) for shift in range(3)]
            torsions = _torsions(ordered, rotor)
            nearness = np.stack([np.cos(torsions[:, order] - reference).sum(1) for order in cyclic])
            orders = np.array(cyclic)[nearness.argmax(0)]
            ordered[:, ends] = np.take_along_axis(ordered[:, ends], orders[:, :, None], axis=1)
        return ordered


def _torsions(positions: np.ndarray, rotor: tuple[int, int, int, tuple[int, int, int]]) -> np.ndarray:
    """(n_structures, 3) rad, end–center–axis–further."""
    center, axis, further, ends = rotor
    return torsion_angles(positions, np.array([(end, center, axis, further) for end in ends]))
