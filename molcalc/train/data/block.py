"""Packed arrays of some structures: the form in which structures pass between files, the cache and checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np


@dataclass
class Block:
    """Some structures with what is known of them, one after another.

    Attributes
    ----------
    systems : arrays of one entry per structure, by name: ``n_atoms``, ``row`` (number in its file), ``cell`` Å,
        ``pbc``, labels of :data:`molcalc.properties.LABELS`, ``n_points`` where there is an ESP, and as it is read
        ``initial_moment``, the sum of initial magnetic moments in μ_B.
    atoms : arrays of one entry per atom, by name: ``numbers``, ``positions`` Å, ``initial_charges`` e and labels.
    points : ``esp_points`` Å and ``esp``, one entry per point.
    keys : names and scalars; None where a structure does not have it.
    data : names and arrays of whatever else files say; None where a structure does not have it.

    What has a unit is in that of the file when it comes from a reader, and in eV, Å and e everywhere else. A label is
    NaN throughout a structure that does not have it.
    """

    systems: dict[str, np.ndarray]
    atoms: dict[str, np.ndarray]
    points: dict[str, np.ndarray]
    keys: dict[str, list[Any]] = field(default_factory=dict)
    data: dict[str, list[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.systems["n_atoms"])

    def part(self, kind: str) -> dict[str, np.ndarray]:
        """Arrays of one entry per "system", "atom" or "point"."""
        return {"system": self.systems, "atom": self.atoms, "point": self.points}[kind]

    def place(self, kind: str, k: int) -> slice:
        """Entries of a structure in the arrays of a kind."""
        return {"system": slice(k, k + 1), "atom": self.atoms_of(k), "point": self.points_of(k)}[kind]

    @cached_property
    def offsets(self) -> np.ndarray:
        """(n + 1,) int64, first atom of each structure."""
        return offsets_of(self.systems["n_atoms"])

    @cached_property
    def point_offsets(self) -> np.ndarray:
        """(n + 1,) int64, first point of each structure; zeros where there are no points."""
        return offsets_of(np.maximum(self.systems.get("n_points", np.zeros(len(self), dtype=np.int64)), 0))

    def atoms_of(self, k: int) -> slice:
        """Place of the atoms of a structure."""
        return slice(int(self.offsets[k]), int(self.offsets[k + 1]))

    def points_of(self, k: int) -> slice:
        """Place of the points of a structure."""
        return slice(int(self.point_offsets[k]), int(self.point_offsets[k + 1]))

    def only(self, keep: np.ndarray) -> Block:
        """The block without some of its structures.

        Parameters
        ----------
        keep : (n,) bool.

        Returns
        -------
        block of the structures that are kept
        """
        atoms = np.repeat(keep, self.systems["n_atoms"])
        points = np.repeat(keep, np.maximum(self.systems["n_points"], 0)) if self.points else keep
        return Block(
            {name: values[keep] for name, values in self.systems.items()},
            {name: values[atoms] for name, values in self.atoms.items()},
            {name: values[points] for name, values in self.points.items()},
            {name: list(compress(values, keep)) for name, values in self.keys.items()},
            {name: list(compress(values, keep)) for name, values in self.data.items()},
        )


def concatenated(blocks: Sequence[Block]) -> Block:
    """Blocks one after another; what some of them lack is NaN, or None, there."""
    return Block(
        _merged([block.systems for block in blocks], "n_atoms"),
        _merged([block.atoms for block in blocks], "numbers"),
        _merged([block.points for block in blocks], "esp"),
        _listed([block.keys for block in blocks], blocks),
        _listed([block.data for block in blocks], blocks),
    )


def _merged(parts: Sequence[dict[str, np.ndarray]], counted: str) -> dict[str, np.ndarray]:
    """Arrays of all parts by name; ``counted`` is one that each part that has any entries has."""
    like = {name: values for arrays in parts for name, values in arrays.items()}
    sizes = [len(arrays[counted]) if counted in arrays else 0 for arrays in parts]
    return {
        name: np.concatenate([
            arrays[name] if name in arrays else _missing(name, values, n) for arrays, n in zip(parts, sizes)
        ])
        for name, values in like.items()
    }  # fmt: skip


def _missing(name: str, like: np.ndarray, n: int) -> np.ndarray:
    return np.full((n, *like.shape[1:]), 0 if name == "n_points" else np.nan, dtype=like.dtype)


def _listed(parts: Sequence[dict[str, list[Any]]], blocks: Sequence[Block]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for values in parts for name in values)
    return {
        name: [value for own, block in zip(parts, blocks) for value in own.get(name, [None] * len(block))]
        for name in names
    }


def offsets_of(sizes: np.ndarray) -> np.ndarray:
    """(n + 1,) int64, where each of some consecutive parts begins, and where the last one ends."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes, dtype=np.int64)])


def ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Concatenated start…start+length of each pair."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(total)
