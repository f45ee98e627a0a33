"""Lists of neighboring atoms, periodic or not, and their reuse between steps.

All functions return ``(index, shifts)`` with r_ij = R[j] − R[i] + shift @ cell.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

DENSE_LIMIT = 64
"""Up to this many atoms (not periodic) comparing all pairs beats a cell list."""

Pairs = tuple[np.ndarray, np.ndarray]


def neighbor_list(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> Pairs:
    """Every ordered pair of atoms, and of atoms and periodic images, with distance < ``cutoff``.

    Parameters
    ----------
    positions : (n_atoms, 3) Å, anywhere (wrapping is not needed).
    cell : (3, 3) Å, rows are lattice vectors; rows of directions that are not periodic are ignored.
    pbc : (3,) bool.
    cutoff : Å.

    Returns
    -------
    index : (2, n_edges) int64, sorted by the first row.
    shifts : (n_edges, 3) float64.
    """
    if len(positions) == 0:
        return np.empty((2, 0), dtype=np.int64), np.empty((0, 3))
    if not np.any(pbc) and len(positions) <= DENSE_LIMIT:
        return _dense_list(positions, cutoff)
    return _cell_list(positions, cell, pbc, cutoff)


def _dense_list(positions: np.ndarray, cutoff: float) -> Pairs:
    difference = positions[:, None] - positions[None]
    squared = np.einsum("ijx,ijx->ij", difference, difference)
    np.fill_diagonal(squared, np.inf)
    index = np.array(np.nonzero(squared < cutoff * cutoff))
    return index, np.zeros((index.shape[1], 3))


def _cell_list(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> Pairs:
    from vesin import NeighborList as VesinList

    compute = VesinList(cutoff=cutoff, full_list=True).compute
    box = np.where(np.asarray(pbc, dtype=bool)[:, None], cell, 0.0)
    i, j, shifts = compute(positions, box, [bool(p) for p in pbc], "ijS")
    order = np.argsort(i, kind="stable")
    index = np.stack([i[order], j[order]]).astype(np.int64)
    return index, shifts[order].astype(np.float64)


def unique_pairs(index: np.ndarray, shifts: np.ndarray) -> Pairs:
    """Keep each unordered pair once, out of a list that holds both directions.

    A pair of an atom with its own image appears with +shift and −shift; the one whose first non-zero
    shift is positive stays.
    """
    i, j = index
    sign = np.sign(shifts @ np.array([1e8, 1e4, 1.0]))
    keep = (i < j) | ((i == j) & (sign > 0))
    return index[:, keep], shifts[keep]


@lru_cache(maxsize=16)
def all_pairs(n_atoms: int) -> np.ndarray:
    """(2, n(n−1)/2) int64, every unordered pair of atoms once."""
    return np.stack(np.triu_indices(n_atoms, k=1)).astype(np.int64)
