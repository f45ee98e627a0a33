"""Compiled loop of the neighbor lists. Import only where numba is available."""

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
