"""Graphs of atoms and bonds, and the maps of one graph onto another that keep both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

SIGHT = 12
"""Bonds up to which surroundings are compared before maps are searched: farther ones decide in the search."""
Conflict = Callable[[Sequence[int], int], Collection[int]]
"""Atoms that no map can have where they are, together: of images so far (-1: none yet) and the atom that has just got
one, which need not be among them. None, if the map may go on."""


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


def mappings(first: AtomGraph, second: AtomGraph, conflict: Conflict | None = None) -> Iterator[list[int]]:
    """Maps of the atoms of one graph onto those of another that keep labels and bonds.

    Where an atom finds no place, the search goes back to the last atom that has to do with it, and leaves the exchanges
    of those between alone: they grow beyond measure with the number of equal groups.

    Parameters
    ----------
    conflict : told of every atom that gets an image.

    Yields
    ------
    (n_atoms,) image in ``second`` of each atom of ``first``
    """
    n = len(first.labels)
    if n != len(second.labels) or sorted(first.colors) != sorted(second.colors):
        return
    walk = first.walk
    step_of = {atom: step for step, (atom, _) in enumerate(walk)}
    images, sources = [-1] * n, [-1] * n
    choices = [_candidates(first, second, 0, images)] if n else []
    blamed: list[set[int]] = [set()]  # of each step: those that kept its atom from an image
    leading = 0  # steps of the last map that are still taken: other maps differ in any of them
    while choices:
        step = len(choices) - 1
        atom, before = walk[step]
        _set_free(atom, images, sources)
        for image in choices[-1]:
            hindrance = _hindrance(first, second, atom, image, images, sources)
            images[atom] = image
            hindered: Collection[int] = (hindrance,) if hindrance >= 0 else conflict(images, atom) if conflict else ()
            if not hindered:
                sources[image] = atom
                break
            images[atom] = -1
            blamed[-1].update(step_of[each] for each in hindered)
        else:
            causes = blamed[-1] - {step} | ({step_of[before]} if before >= 0 else set())
            last = step - 1 if step < leading else max(causes, default=-1)
            for between, _ in walk[last + 1 : step]:
                _set_free(between, images, sources)
            del choices[last + 1 :], blamed[last + 1 :]
            leading = min(leading, len(choices))
            if blamed:
                blamed[-1] |= causes - {last}
            continue
        if step == n - 1:
            yield list(images)
            leading = n
        else:
            choices.append(_candidates(first, second, step + 1, images))
            blamed.append(set())


def _set_free(atom: int, images: list[int], sources: list[int]) -> None:
    """Take its image from an atom that has one."""
    if images[atom] >= 0:
        sources[images[atom]] = images[atom] = -1


def _candidates(first: AtomGraph, second: AtomGraph, step: int, images: Sequence[int]) -> Iterator[int]:
    atom, before = first.walk[step]
    near = range(len(second.labels)) if before < 0 else second.neighbors[images[before]]
    return iter([image for image in near if second.colors[image] == first.colors[atom]])


def _hindrance(
    first: AtomGraph, second: AtomGraph, atom: int, image: int, images: Sequence[int], sources: Sequence[int]
) -> int:
    """Atom that keeps another from an image: it has that itself, or a bond would be lost or made; -1 for none."""
    if sources[image] >= 0:
        return sources[image]
    near, there = first.neighbors[atom], second.neighbors[image]
    lost = (j for j in near if images[j] >= 0 and images[j] not in there)
    made = (sources[j] for j in there if sources[j] >= 0 and sources[j] not in near)
    return next(lost, next(made, -1))


def _connected(graph: AtomGraph, start: int) -> set[int]:
    seen, queue = {start}, [start]
    for atom in queue:  # grows while it is walked through
        near = [j for j in graph.neighbors[atom] if j not in seen]
        seen.update(near)
        queue += near
    return seen
