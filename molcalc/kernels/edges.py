"""Compiled way from derivatives by edges to those by atoms and cells. Import only where numba is available."""

import numba
import numpy as np

from molcalc.kernels.runtime import OPTIONS


@numba.njit(**OPTIONS)
def spread_by_edges(
    index: np.ndarray, shifts: np.ndarray, system_idx: np.ndarray, periodic: bool, by_vectors: np.ndarray,
    by_positions: np.ndarray, by_cell: np.ndarray,
) -> None:  # fmt: skip
    """Add derivatives by r_ij = R[j] − R[i] + shift @ cell to those by positions and, if periodic, by cells."""
    for e in range(index.shape[1]):
        i, j = index[0, e], index[1, e]
        for x in range(3):
            by_positions[j, x] += by_vectors[e, x]
            by_positions[i, x] -= by_vectors[e, x]
        if periodic:
            s = system_idx[i]
            for a in range(3):
                for x in range(3):
                    by_cell[s, a, x] += shifts[e, a] * by_vectors[e, x]
