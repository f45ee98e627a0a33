"""Compiled loops of the electrostatic potential; import only when :func:`molcalc.kernels.runtime.usable`.

Points are given by one array per coordinate and grouped by system, as are the charges. ``blocks`` (n_blocks, 4) holds
ranges of points and the ranges of charges that act on them.
"""

import math

import numba
import numpy as np

from molcalc.kernels.runtime import OPTIONS, SUMS


@numba.njit(**SUMS)
def _add_potential(
    px: np.ndarray, py: np.ndarray, pz: np.ndarray, x: float, y: float, z: float, charge: float, potential: np.ndarray
) -> None:
    for p in range(len(potential)):
        dx, dy, dz = px[p] - x, py[p] - y, pz[p] - z
        potential[p] += charge / math.sqrt(dx * dx + dy * dy + dz * dz)


@numba.njit(**SUMS)
def _sum_weights(
    px: np.ndarray, py: np.ndarray, pz: np.ndarray, x: float, y: float, z: float, weights: np.ndarray
) -> tuple[float, float, float, float]:
    a = bx = by = bz = 0.0
    for p in range(len(weights)):
        dx, dy, dz = px[p] - x, py[p] - y, pz[p] - z
        inverse = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz)
        weighted = weights[p] * inverse
        slope = weighted * inverse * inverse
        a += weighted
        bx += slope * dx
        by += slope * dy
        bz += slope * dz
    return a, bx, by, bz


@numba.njit(**OPTIONS)
def potential(
    start: int, stop: int, blocks: np.ndarray, points: np.ndarray, sites: np.ndarray, charges: np.ndarray,
    result: np.ndarray,
) -> None:  # fmt: skip
    """result[p] = Σ_a charges[a] / |points[:, p] − sites[a]| for blocks start…stop."""
    for b in range(start, stop):
        first, last = blocks[b, 0], blocks[b, 1]
        px, py, pz = points[0, first:last], points[1, first:last], points[2, first:last]
        part = result[first:last]
        part[:] = 0.0
        for a in range(blocks[b, 2], blocks[b, 3]):
            _add_potential(px, py, pz, sites[a, 0], sites[a, 1], sites[a, 2], charges[a], part)


@numba.njit(**OPTIONS)
def gradients(
    start: int, stop: int, blocks: np.ndarray, points: np.ndarray, sites: np.ndarray, charges: np.ndarray,
    weights: np.ndarray, to_sites: np.ndarray, to_charges: np.ndarray,
) -> None:  # fmt: skip
    """Derivatives of Σ_p weights[p] potential[p] by sites and charges, for blocks start…stop of different charges."""
    for b in range(start, stop):
        first, last = blocks[b, 0], blocks[b, 1]
        px, py, pz = points[0, first:last], points[1, first:last], points[2, first:last]
        for a in range(blocks[b, 2], blocks[b, 3]):
            x, y, z = sites[a, 0], sites[a, 1], sites[a, 2]
            total, bx, by, bz = _sum_weights(px, py, pz, x, y, z, weights[first:last])
            to_charges[a] = total
            to_sites[a, 0], to_sites[a, 1], to_sites[a, 2] = charges[a] * bx, charges[a] * by, charges[a] * bz
