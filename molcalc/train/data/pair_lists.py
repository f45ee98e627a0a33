"""Neighbor lists of many structures at once, equal to those of :func:`molcalc.batch.from_atoms`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molcalc.kernels import runtime as compiled
from molcalc.neighbors import DENSE_LIMIT, Pairs, all_pairs, neighbor_list, pair_list


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
    if np.isinf(cutoff):
        return _all(geometries)
    return _assemble(geometries, cutoff, ordered=False)


def _all(geometries: Geometries) -> Pairs:
    offsets = geometries.offsets
    sizes = np.diff(offsets)
    places = np.concatenate([[0], np.cumsum(sizes * (sizes - 1) // 2)])
    index = np.empty((2, int(places[-1])), dtype=np.int64)
    if compiled.available():
        from molcalc.kernels.molecule_pairs import fill_all

        compiled.share_range(fill_all, len(sizes), float(index.shape[1]), offsets, places, index)
    else:
        for k, size in enumerate(sizes.tolist()):
            index[:, places[k] : places[k + 1]] = all_pairs(size) + offsets[k]
    return index, _no_shifts(index.shape[1])


def _assemble(geometries: Geometries, cutoff: float, ordered: bool) -> Pairs:
    n, offsets = len(geometries), geometries.offsets
    sizes = np.diff(offsets)
    dense = compiled.available() & ~geometries.pbc.any(axis=1) & (sizes <= DENSE_LIMIT)
    counts = np.zeros(n, dtype=np.int64)
    masks = np.empty(len(geometries.positions) if dense.any() else 0, dtype=np.uint64)
    work = float((sizes[dense] ** 2).sum())
    if dense.any():
        from molcalc.kernels.molecule_pairs import fill_marked, mark_pairs

        compiled.share_range(mark_pairs, n, work, offsets, dense, geometries.positions, cutoff**2, masks, counts)
    if ordered:
        counts *= 2
    single: dict[int, Pairs] = {}
    for k in np.flatnonzero(~dense).tolist():
        single[k] = _list_of_one(geometries, k, cutoff, ordered)
        counts[k] = single[k][0].shape[1]
    places = np.concatenate([[0], np.cumsum(counts)])
    index = np.empty((2, int(places[-1])), dtype=np.int64)
    shifts = np.zeros((index.shape[1], 3)) if geometries.pbc.any() else _no_shifts(index.shape[1])
    if dense.any():
        compiled.share_range(fill_marked, n, work, offsets, dense, masks, ordered, places, index)
    for k, (own, own_shifts) in single.items():
        index[:, places[k] : places[k + 1]] = own + offsets[k]
        if geometries.pbc[k].any():
            shifts[places[k] : places[k + 1]] = own_shifts
    return index, shifts


_zeros = np.zeros((0, 3))


def _no_shifts(n: int) -> np.ndarray:
    """(n, 3) zeros, in memory that all batches of molecules share: making them anew would cost as much as the list."""
    global _zeros
    zeros = _zeros
    if len(zeros) < n:
        _zeros = zeros = np.zeros((2 * n, 3))
    return zeros[:n]


def _list_of_one(geometries: Geometries, k: int, cutoff: float, ordered: bool) -> Pairs:
    atoms = slice(geometries.offsets[k], geometries.offsets[k + 1])
    positions = geometries.positions[atoms]
    search = neighbor_list if ordered else pair_list
    return search(positions, geometries.cell[k], geometries.pbc[k], cutoff)
