"""Compiled loops of the neighbor lists. Import only where numba is available."""

import numba
import numpy as np

from molcalc.kernels.runtime import OPTIONS


@numba.njit(**OPTIONS)
def mark_within(
    index: np.ndarray, shifts: np.ndarray, positions: np.ndarray, cell: np.ndarray, cutoff_squared: float,
    keep: np.ndarray,
) -> None:  # fmt: skip
    """keep[e] = |R[j] − R[i] + shift @ cell|² < r_c²."""
    for e in range(index.shape[1]):
        i, j = index[0, e], index[1, e]
        squared = 0.0
        for x in range(3):
            d = positions[j, x] - positions[i, x]
            for k in range(3):
                d += shifts[e, k] * cell[k, x]
            squared += d * d
        keep[e] = squared < cutoff_squared


@numba.njit(**OPTIONS)
def list_pairs(positions: np.ndarray, cutoff_squared: float, ordered: bool, index: np.ndarray) -> int:
    """Write the pairs i, j of one molecule with |R[j] − R[i]|² < r_c² to ``index``, sorted by i and then j.

    ``ordered``: both (i, j) and (j, i), else those with i < j.

    Returns
    -------
    their number
    """
    found, n_atoms = 0, positions.shape[0]
    for i in range(n_atoms):
        for j in range(0 if ordered else i + 1, n_atoms):
            x, y, z = (
                positions[j, 0] - positions[i, 0],
                positions[j, 1] - positions[i, 1],
                positions[j, 2] - positions[i, 2],
            )
            if j != i and x * x + y * y + z * z < cutoff_squared:
                index[0, found] = i
                index[1, found] = j
                found += 1
    return found
