"""What follows from the bonds of a molecule: pairs by their bonds apart, torsions, centers with a handedness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molcalc.conformers.graphs import AtomGraph

UNCONNECTED = 10**6
"""Bonds between atoms that no bonds connect."""


@dataclass(frozen=True, eq=False)
class Topology:
    """Pairs, torsions and centers of a molecule.

    Attributes
    ----------
    pairs : (2, n_pairs) i < j.
    bonds_apart : (n_pairs,) bonds on the shortest way between them.
    torsions : (4, n_torsions) i–j–k–l along bonds.
    torsion_shares : (n_torsions,) that add up to 1 for every bond that something turns about.
    centers : (5, n_centers) atoms with four ligands, and these.
    """

    pairs: np.ndarray
    bonds_apart: np.ndarray
    torsions: np.ndarray
    torsion_shares: np.ndarray
    centers: np.ndarray

    @classmethod
    def of(cls, graph: AtomGraph) -> Topology:
        """Topology of a graph of bonds."""
        n = len(graph.labels)
        pairs = np.stack(np.triu_indices(n, k=1))
        torsions: list[tuple[int, int, int, int]] = []
        shares: list[float] = []
        for j, k in graph.bonds:
            found = [(i, j, k, m) for i in graph.neighbors[j] for m in graph.neighbors[k] if i != k and m not in (i, j)]
            torsions += found
            shares += [1.0 / max(1, len(found))] * len(found)
        centers = [(atom, *near) for atom, near in enumerate(graph.neighbors) if len(near) == 4]
        return cls(
            pairs=pairs,
            bonds_apart=_bonds_apart(graph)[pairs[0], pairs[1]],
            torsions=_columns(torsions, 4),
            torsion_shares=np.array(shares),
            centers=_columns(centers, 5),
        )


def _columns(rows: Sequence[tuple[int, ...]], n: int) -> np.ndarray:
    return np.array(rows, dtype=np.int64).reshape(-1, n).T


def _bonds_apart(graph: AtomGraph) -> np.ndarray:
    """(n_atoms, n_atoms) bonds on the shortest way between atoms."""
    n = len(graph.labels)
    result = np.full((n, n), UNCONNECTED)
    for start in range(n):
        queue, result[start, start] = [start], 0
        for atom in queue:  # grows while it is walked through
            for j in graph.neighbors[atom]:
                if result[start, j] == UNCONNECTED:
                    result[start, j] = result[start, atom] + 1
                    queue.append(j)
    return result
