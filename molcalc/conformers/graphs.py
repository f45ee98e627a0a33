"""Graphs of atoms and bonds, and the maps of one graph onto another that keep both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

SIGHT = 12
"""Bonds up to which surroundings are compared before maps are searched: farther ones decide in the search."""
Accept = Callable[[Sequence[int], int], bool]
"""Whether a map may go on: images so far (-1: none yet), and the atom that has just got one."""


@dataclass(frozen=True, eq=False)
class AtomGraph:
    """Atoms and bonds of a molecule, without positions.

    Attributes
    ----------
    labels : (n_atoms,) hashable values that tell atoms apart before their bonds are looked at, such as elements.
    neighbors : atoms that each atom is bonded to, in order.
    """

    labels: tuple[int, ...]
    neighbors: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, labels: Sequence[int], bonds: Sequence[tuple[int, int]]) -> AtomGraph:
        """Graph of atoms with bonds, each given once."""
        neighbors: list[set[int]] = [set() for _ in labels]
        for i, j in bonds:
            neighbors[i].add(j)
            neighbors[j].add(i)
        return cls(tuple(labels), tuple(tuple(sorted(each)) for each in neighbors))

    @property
    def bonds(self) -> list[tuple[int, int]]:
        """Pairs (i, j) of bonded atoms with i < j."""
        return [(i, j) for i, each in enumerate(self.neighbors) for j in each if i < j]

    @cached_property
    def colors(self) -> tuple[int, ...]:
        """(n_atoms,) numbers that are equal for atoms with equal surroundings, :data:`SIGHT` bonds far.

        Those of graphs that can be mapped onto each other are equal, too.
        """
        colors = self.labels
        for _ in range(SIGHT):
            colors = tuple(
                hash((color, tuple(sorted(colors[j] for j in near)))) for color, near in zip(colors, self.neighbors)
            )
        return colors

    def part(self, atoms: Sequence[int]) -> AtomGraph:
        """Graph of some atoms, which keep in their labels what they were bonded to."""
        place = {atom: k for k, atom in enumerate(atoms)}
        near = tuple(tuple(sorted(place[j] for j in self.neighbors[atom] if j in place)) for atom in atoms)
        return AtomGraph(tuple(self.colors[atom] for atom in atoms), near)

    def fragments(self) -> list[list[int]]:
        """Atoms of each connected part."""
        left = set(range(len(self.labels)))
        parts = []
        while left:
            parts.append(sorted(_connected(self, min(left))))
            left.difference_update(parts[-1])
        return parts

    @cached_property
    def walk(self) -> list[tuple[int, int]]:
        """All atoms, each after a neighbor of it, which comes with it (-1: the first of a connected part)."""
        frequency = Counter(self.colors)
        order: list[tuple[int, int]] = []
        seen: set[int] = set()
        for start in sorted(range(len(self.labels)), key=lambda atom: (frequency[self.colors[atom]], atom)):
            if start in seen:
                continue
            queue = [(start, -1)]
            seen.add(start)
            for atom, before in queue:  # grows while it is walked through
                order.append((atom, before))
                near = [j for j in self.neighbors[atom] if j not in seen]
                seen.update(near)
                queue += [(j, atom) for j in sorted(near, key=lambda j: (frequency[self.colors[j]], j))]
        return order


def mappings(first: AtomGraph, second: AtomGraph, accept: Accept | None = None) -> Iterator[list[int]]:
    """Maps of the atoms of one graph onto those of another that keep labels and bonds.

    Parameters
    ----------
    accept : told of every atom that gets an image; False turns back.

    Yields
    ------
    (n_atoms,) image in ``second`` of each atom of ``first``. The number of all of them grows beyond measure with the
    number of equal groups.
    """
    n = len(first.labels)
    if n != len(second.labels) or sorted(first.colors) != sorted(second.colors):
        return
    images, used = [-1] * n, [False] * n
    choices = [_candidates(first, second, 0, images)] if n else []
    while choices:
        atom, _ = first.walk[len(choices) - 1]
        if images[atom] >= 0:
            used[images[atom]] = False
            images[atom] = -1
        for image in choices[-1]:
            if used[image] or not _fits(first, second, atom, image, images, used):
                continue
            images[atom] = image
            if accept is None or accept(images, atom):
                used[image] = True
                break
            images[atom] = -1
        else:
            choices.pop()
            continue
        if len(choices) == n:
            yield list(images)
        else:
            choices.append(_candidates(first, second, len(choices), images))


def _candidates(first: AtomGraph, second: AtomGraph, step: int, images: Sequence[int]) -> Iterator[int]:
    atom, before = first.walk[step]
    near = range(len(second.labels)) if before < 0 else second.neighbors[images[before]]
    return iter([image for image in near if second.colors[image] == first.colors[atom]])


def _fits(
    first: AtomGraph, second: AtomGraph, atom: int, image: int, images: Sequence[int], used: Sequence[bool]
) -> bool:
    """Whether the bonds to atoms that have images already are bonds there as well, and no others are."""
    mapped = [images[j] for j in first.neighbors[atom] if images[j] >= 0]
    near = second.neighbors[image]
    return all(j in near for j in mapped) and sum(used[j] for j in near) == len(mapped)


def _connected(graph: AtomGraph, start: int) -> set[int]:
    seen, queue = {start}, [start]
    for atom in queue:  # grows while it is walked through
        near = [j for j in graph.neighbors[atom] if j not in seen]
        seen.update(near)
        queue += near
    return seen
