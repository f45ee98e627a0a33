"""Neighbor lists of many structures at once, equal to those of :func:`molcalc.batch.from_atoms`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molcalc.neighbors import DENSE_LIMIT, Pairs, all_pairs, neighbor_list, unique_pairs
from molcalc.nn import compiled


@dataclass(frozen=True)
class Geometries:
    """Structures stored one after another.

    Attributes
    ----------
    offsets : (n + 1,) int64, first atom of each structure.
    positions : (n_atoms, 3) Å.
    cell : (n, 3, 3) Å.
    pbc : (n, 3) bool.
    """

    offsets: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray

    def __len__(self) -> int:
        return len(self.pbc)


def edges(geometries: Geometries, cutoff: float) -> Pairs:
    """Every ordered pair within ``cutoff``: index (2, n_edges) int64 sorted by i, and shifts (n_edges, 3)."""
    return _assemble(geometries, cutoff, ordered=True)


def pairs(geometries: Geometries, cutoff: float | None) -> Pairs:
    """Every unordered pair once within ``cutoff``; ``math.inf`` takes all, ``None`` takes none."""
    if cutoff is None:
        return np.empty((2, 0), dtype=np.int64), np.empty((0, 3))
    return _assemble(geometries, cutoff, ordered=False)


def _assemble(geometries: Geometries, cutoff: float, ordered: bool) -> Pairs:
    n, offsets = len(geometries), geometries.offsets
    sizes = np.diff(offsets)
    dense = compiled.available() & ~geometries.pbc.any(axis=1) & (sizes <= DENSE_LIMIT)
    counts = np.zeros(n, dtype=np.int64)
    work = float((sizes[dense] ** 2).sum()) * 3
    everything = np.isinf(cutoff)
    if everything:
        dense = np.full(n, compiled.available())
        counts[dense] = (sizes * (sizes - 1) // 2)[dense]
    elif dense.any():
        from molcalc.train.data.pair_kernels import count_pairs

        compiled.share_range(count_pairs, n, work / 2, offsets, dense, geometries.positions, cutoff**2, counts)
    if ordered:
        counts *= 2
    single: dict[int, Pairs] = {}
    for k in np.flatnonzero(~dense).tolist():
        single[k] = _list_of_one(geometries, k, cutoff, ordered)
        counts[k] = single[k][0].shape[1]
    first = np.concatenate([[0], np.cumsum(counts)])
    index = np.empty((2, int(first[-1])), dtype=np.int64)
    shifts = np.zeros((index.shape[1], 3))
    if dense.any():
        from molcalc.train.data.pair_kernels import fill_ordered, fill_unordered

        fill = fill_ordered if ordered else fill_unordered
        compiled.share_range(fill, n, work, offsets, dense, geometries.positions, cutoff**2, first, index)
    for k, (own, own_shifts) in single.items():
        index[:, first[k] : first[k + 1]] = own + offsets[k]
        shifts[first[k] : first[k + 1]] = own_shifts
    return index, shifts


def _list_of_one(geometries: Geometries, k: int, cutoff: float, ordered: bool) -> Pairs:
    atoms = slice(geometries.offsets[k], geometries.offsets[k + 1])
    positions = geometries.positions[atoms]
    if np.isinf(cutoff):
        index = all_pairs(len(positions))
        return index, np.zeros((index.shape[1], 3))
    found = neighbor_list(positions, geometries.cell[k], geometries.pbc[k], cutoff)
    return found if ordered else unique_pairs(*found)
