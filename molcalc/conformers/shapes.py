"""Shapes of structures of one molecule: how far they are from each other, whichever of equal atoms is which.

Turned and shifted structures are the same shape; mirror images are not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from molcalc.conformers.graphs import AtomGraph, mappings
from molcalc.conformers.stereo import Hands, changed_hand, pyramids_of
from molcalc.conformers.superposition import rmsd_matrix

MAX_MAPS = 20_000
"""Ways to exchange equal atoms that are tried. The search turns back early where shapes differ: few molecules have as
many, and of those two equal shapes may count as different."""
_AT_ONCE = 2000
"""Maps that are superimposed in one step."""


@dataclass(frozen=True, eq=False)
class Shape:
    """Atoms of one structure that are compared with those of another one.

    Attributes
    ----------
    graph : of these atoms.
    positions : (n_atoms, 3) Å, about their center.
    """

    graph: AtomGraph
    positions: np.ndarray

    @classmethod
    def of(cls, graph: AtomGraph, positions: np.ndarray) -> Shape:
        """Shape of a structure at any place."""
        return cls(graph, positions - positions.mean(axis=0))

    def mirrored(self) -> Shape:
        """The mirror image."""
        return Shape(self.graph, -self.positions)

    @cached_property
    def pyramids(self) -> Hands:
        """Handedness of its atoms."""
        return pyramids_of(self.positions, self.graph)

    @cached_property
    def distances(self) -> np.ndarray:
        """(n_atoms, n_atoms) Å."""
        return np.linalg.norm(self.positions[:, None] - self.positions[None], axis=2)

    @cached_property
    def extents(self) -> np.ndarray:
        """(3,) Å, singular values of the positions: sizes along the principal axes, which no exchange changes."""
        return np.linalg.svd(self.positions, compute_uv=False, full_matrices=False)[:3]


def compared_atoms(numbers: np.ndarray, graph: AtomGraph) -> list[int]:
    """Atoms that make the shape of a conformer: all but hydrogen on carbon, which follows or turns with a methyl group.

    Returns
    -------
    indices; of fewer than four such atoms all, since these have no shape.
    """
    chosen = [
        atom for atom, z in enumerate(numbers) if z != 1 or not any(numbers[j] == 6 for j in graph.neighbors[atom])
    ]
    return chosen if len(chosen) >= 4 else list(range(len(numbers)))


def symmetric_rmsd(first: Shape, second: Shape, limit: float = math.inf) -> float:
    """Root of the mean square distance of atoms, least over all exchanges of equal atoms and proper rotations.

    Parameters
    ----------
    limit : Å; shapes that are farther apart need not be looked at.

    Returns
    -------
    Å; infinity beyond the limit, and where no exchange keeps all pyramids.
    """
    n = len(first.positions)
    if np.sqrt(np.sum((first.extents - second.extents) ** 2) / n) > limit:  # no rotation brings them nearer
        return math.inf
    # Two atoms that miss their places by a and b, with a² + b² ≤ n·limit², change their distance by √2 of that.
    maps = _maps(first, second, limit * math.sqrt(2 * n))
    least = math.inf
    while chunk := list(itertools.islice(maps, _AT_ONCE)):
        moved = second.positions[np.array(chunk)]
        least = min(least, float(rmsd_matrix(first.positions[None], moved).min()))
    return least if least <= limit else math.inf


def _maps(first: Shape, second: Shape, tolerance: float) -> Iterator[list[int]]:
    """Maps that keep pyramids, and distances within a tolerance."""
    hands = changed_hand(first.pyramids, second.pyramids)

    def misplaced(images: Sequence[int], atom: int) -> tuple[int, ...]:
        if changed := hands(images, atom):
            return tuple(changed)
        mapped = np.array(images)
        there = np.flatnonzero(mapped >= 0)
        change = np.abs(first.distances[atom, there] - second.distances[images[atom], mapped[there]])
        return (int(there[change.argmax()]),) if change.max() > tolerance else ()

    maps = mappings(first.graph, second.graph, misplaced if math.isfinite(tolerance) else hands)
    return itertools.islice(maps, MAX_MAPS)
