"""Packed arrays of some structures: the form in which structures pass between files, the cache and checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np


@dataclass
class Block:
    """Some structures with what is known of them, one after another.

    Attributes
    ----------
    systems : arrays of one entry per structure, by name: ``n_atoms``, ``row`` (number in its file), ``cell`` Å,
        ``pbc``, labels of :data:`molcalc.properties.LABELS`, and ``n_points`` where there is an ESP.
    atoms : arrays of one entry per atom, by name: ``numbers``, ``positions`` Å and labels.
    points : ``esp_points`` Å and ``esp``, one entry per point.
    keys : values by key; None where a structure does not have it.
    """

    systems: dict[str, np.ndarray]
    atoms: dict[str, np.ndarray]
    points: dict[str, np.ndarray]
    keys: dict[str, list[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.systems["n_atoms"])

    @cached_property
    def offsets(self) -> np.ndarray:
        """(n + 1,) int64, first atom of each structure."""
        return offsets_of(self.systems["n_atoms"])

    @cached_property
    def point_offsets(self) -> np.ndarray:
        """(n + 1,) int64, first point of each structure; zeros where there are no points."""
        return offsets_of(self.systems.get("n_points", np.zeros(len(self), dtype=np.int64)))

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
        """
        atoms = np.repeat(keep, self.systems["n_atoms"])
        points = np.repeat(keep, np.maximum(self.systems["n_points"], 0)) if self.points else keep
        return Block(
            {name: values[keep] for name, values in self.systems.items()},
            {name: values[atoms] for name, values in self.atoms.items()},
            {name: values[points] for name, values in self.points.items()},
            {name: [v for v, k in zip(values, keep) if k] for name, values in self.keys.items()},
        )


def offsets_of(sizes: np.ndarray) -> np.ndarray:
    """(n + 1,) int64, where each of some consecutive parts begins, and where the last one ends."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes, dtype=np.int64)])


def ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Concatenated start…start+length of each pair."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(total)
