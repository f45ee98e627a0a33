"""Compiled loops over the pairs of small molecules. Import only where numba is available."""

import numba
import numpy as np

_OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy", "boundscheck": False}


@numba.njit(**_OPTIONS)
def count_pairs(
    start: int, stop: int, offsets: np.ndarray, listed: np.ndarray, positions: np.ndarray, cutoff_squared: float,
    counts: np.ndarray,
) -> None:  # fmt: skip
    """counts[s] = number of unordered pairs with r² < r_c² of molecules start…stop that are ``listed``."""
    for s in range(start, stop):
        if not listed[s]:
            continue
        found = 0
        for i in range(offsets[s], offsets[s + 1]):
            x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
            for j in range(i + 1, offsets[s + 1]):
                dx, dy, dz = positions[j, 0] - x, positions[j, 1] - y, positions[j, 2] - z
                found += dx * dx + dy * dy + dz * dz < cutoff_squared
        counts[s] = found


@numba.njit(**_OPTIONS)
def fill_ordered(
    start: int, stop: int, offsets: np.ndarray, listed: np.ndarray, positions: np.ndarray, cutoff_squared: float,
    first: np.ndarray, index: np.ndarray,
) -> None:  # fmt: skip
    """Write (i, j) and (j, i) from index[:, first[s]] on, sorted by i and then j."""
    for s in range(start, stop):
        if not listed[s]:
            continue
        e = first[s]
        for i in range(offsets[s], offsets[s + 1]):
            x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
            for j in range(offsets[s], offsets[s + 1]):
                dx, dy, dz = positions[j, 0] - x, positions[j, 1] - y, positions[j, 2] - z
                if dx * dx + dy * dy + dz * dz < cutoff_squared and j != i:
                    index[0, e] = i
                    index[1, e] = j
                    e += 1


@numba.njit(**_OPTIONS)
def fill_unordered(
    start: int, stop: int, offsets: np.ndarray, listed: np.ndarray, positions: np.ndarray, cutoff_squared: float,
    first: np.ndarray, index: np.ndarray,
) -> None:  # fmt: skip
    """Write (i, j) with i < j from index[:, first[s]] on, sorted by i and then j."""
    for s in range(start, stop):
        if not listed[s]:
            continue
        e = first[s]
        for i in range(offsets[s], offsets[s + 1]):
            x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
            for j in range(i + 1, offsets[s + 1]):
                dx, dy, dz = positions[j, 0] - x, positions[j, 1] - y, positions[j, 2] - z
                if dx * dx + dy * dy + dz * dz < cutoff_squared:
                    index[0, e] = i
                    index[1, e] = j
                    e += 1
