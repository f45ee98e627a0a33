"""Compiled loops of the potential of charges and moments; import only when :func:`molcalc.kernels.runtime.usable`.

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


@numba.njit(**SUMS)
def _add_moments(
    px: np.ndarray, py: np.ndarray, pz: np.ndarray, center: np.ndarray, dipole: np.ndarray, quadrupole: np.ndarray,
    potential: np.ndarray,
) -> None:  # fmt: skip
    x, y, z = center[0], center[1], center[2]
    ux, uy, uz = dipole[0], dipole[1], dipole[2]
    xx, yy, zz = 1.5 * quadrupole[0, 0], 1.5 * quadrupole[1, 1], 1.5 * quadrupole[2, 2]
    xy, yz = 1.5 * (quadrupole[0, 1] + quadrupole[1, 0]), 1.5 * (quadrupole[1, 2] + quadrupole[2, 1])
    zx = 1.5 * (quadrupole[2, 0] + quadrupole[0, 2])
    for p in range(len(potential)):
        dx, dy, dz = px[p] - x, py[p] - y, pz[p] - z
        square = 1.0 / (dx * dx + dy * dy + dz * dz)
        along = ux * dx + uy * dy + uz * dz
        pulled = dx * (xx * dx + xy * dy) + dy * (yy * dy + yz * dz) + dz * (zz * dz + zx * dx)
        potential[p] += (along + pulled * square) * square * math.sqrt(square)


@numba.njit(**SUMS)
def _sum_moments(
    px: np.ndarray, py: np.ndarray, pz: np.ndarray, center: np.ndarray, weights: np.ndarray
) -> tuple[float, float, float, float, float, float, float, float, float]:
    x, y, z = center[0], center[1], center[2]
    ux = uy = uz = xx = yy = zz = xy = yz = zx = 0.0
    for p in range(len(weights)):
        dx, dy, dz = px[p] - x, py[p] - y, pz[p] - z
        square = 1.0 / (dx * dx + dy * dy + dz * dz)
        of_dipole = weights[p] * square * math.sqrt(square)
        of_quadrupole = 1.5 * of_dipole * square
        ux += of_dipole * dx
        uy += of_dipole * dy
        uz += of_dipole * dz
        xx += of_quadrupole * dx * dx
        yy += of_quadrupole * dy * dy
        zz += of_quadrupole * dz * dz
        xy += of_quadrupole * dx * dy
        yz += of_quadrupole * dy * dz
        zx += of_quadrupole * dz * dx
    return ux, uy, uz, xx, yy, zz, xy, yz, zx


@numba.njit(**OPTIONS)
def moment_potential(
    start: int, stop: int, blocks: np.ndarray, points: np.ndarray, centers: np.ndarray, dipoles: np.ndarray,
    quadrupoles: np.ndarray, result: np.ndarray,
) -> None:  # fmt: skip
    """result[p] = Σ_a (dipoles[a] · u / r² + 3/2 u · quadrupoles[a] · u / r³) for blocks start…stop, r u = p − a."""
    for b in range(start, stop):
        first, last = blocks[b, 0], blocks[b, 1]
        px, py, pz = points[0, first:last], points[1, first:last], points[2, first:last]
        part = result[first:last]
        part[:] = 0.0
        for a in range(blocks[b, 2], blocks[b, 3]):
            _add_moments(px, py, pz, centers[a], dipoles[a], quadrupoles[a], part)


@numba.njit(**OPTIONS)
def moment_gradients(
    start: int, stop: int, blocks: np.ndarray, points: np.ndarray, centers: np.ndarray, weights: np.ndarray,
    to_dipoles: np.ndarray, to_quadrupoles: np.ndarray,
) -> None:  # fmt: skip
    """Derivatives of Σ_p weights[p] potential[p] by dipoles and quadrupoles, for blocks of different atoms."""
    for b in range(start, stop):
        first, last = blocks[b, 0], blocks[b, 1]
        px, py, pz = points[0, first:last], points[1, first:last], points[2, first:last]
        for a in range(blocks[b, 2], blocks[b, 3]):
            ux, uy, uz, xx, yy, zz, xy, yz, zx = _sum_moments(px, py, pz, centers[a], weights[first:last])
            to_dipoles[a, 0], to_dipoles[a, 1], to_dipoles[a, 2] = ux, uy, uz
            to_quadrupoles[a, 0, 0], to_quadrupoles[a, 1, 1], to_quadrupoles[a, 2, 2] = xx, yy, zz
            to_quadrupoles[a, 0, 1] = to_quadrupoles[a, 1, 0] = xy
            to_quadrupoles[a, 1, 2] = to_quadrupoles[a, 2, 1] = yz
            to_quadrupoles[a, 2, 0] = to_quadrupoles[a, 0, 2] = zx
