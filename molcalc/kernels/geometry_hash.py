"""Compiled loop of the fingerprints of geometries. Import only where numba is available."""

import math

import numba
import numpy as np

from molcalc.kernels.runtime import OPTIONS

_A, _B, _C = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _48, _56 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(48), np.uint64(56)


@numba.njit(inline="always", **OPTIONS)
def _mix(value: np.uint64) -> np.uint64:
    value = value + _A
    value = (value ^ (value >> _30)) * _B
    value = (value ^ (value >> _27)) * _C
    return value ^ (value >> _31)


@numba.njit(**OPTIONS)
def sum_of_pairs(
    start: int, stop: int, starts: np.ndarray, sizes: np.ndarray, numbers: np.ndarray, positions: np.ndarray,
    per_step: float, sums: np.ndarray,
) -> None:  # fmt: skip
    """sums[s] = sum over atoms and pairs of mixed (elements, rounded distance) of molecules start…stop."""
    for s in range(start, stop):
        total = np.uint64(0)
        first, last = starts[s], starts[s] + sizes[s]
        for i in range(first, last):
            zi = np.uint64(numbers[i])
            total += _mix(zi << _48)
            for j in range(i + 1, last):
                zj = np.uint64(numbers[j])
                x, y = positions[j, 0] - positions[i, 0], positions[j, 1] - positions[i, 1]
                z = positions[j, 2] - positions[i, 2]
                rounded = np.uint64(np.int64(math.floor(math.sqrt(x * x + y * y + z * z) * per_step + 0.5)))
                low, high = min(zi, zj), max(zi, zj)
                total += _mix((low << _56) ^ (high << _48) ^ rounded)
        sums[s] = total
