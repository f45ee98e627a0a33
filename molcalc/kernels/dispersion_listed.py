"""Compiled loops over a list of pairs with lattice translations; see :mod:`molcalc.kernels.dispersion_molecules`.

Pairs are gathered in blocks, those beyond the cutoff left out, and handed to the row functions.
"""

import numba
import numpy as np

from molcalc.kernels.constants import LEGACY_MIN_NORM
from molcalc.kernels.dispersion_rows import count_slopes, damp, spread_counts
from molcalc.kernels.runtime import OPTIONS

BLOCK = 256
"""Pairs handled at once; the buffers then stay in the first-level cache."""


@numba.njit(**OPTIONS)
def _gather(
    first: int, last: int, xyz: np.ndarray, cell: np.ndarray, system_idx: np.ndarray, index: np.ndarray,
    shifts: np.ndarray, cutoff: float, chosen: np.ndarray, vectors: np.ndarray, squared: np.ndarray,
) -> tuple[int, int]:  # fmt: skip
    """Fill the buffers with pairs within the cutoff; return how many, and the pair to go on with."""
    limit = cutoff * cutoff
    n, pair = 0, first
    while pair < last and n < BLOCK:
        i, j = index[0, pair], index[1, pair]
        x, y, z = xyz[0, j] - xyz[0, i], xyz[1, j] - xyz[1, i], xyz[2, j] - xyz[2, i]
        a, b, c = shifts[pair, 0], shifts[pair, 1], shifts[pair, 2]
        if a != 0.0 or b != 0.0 or c != 0.0:
            box = cell[system_idx[i]]
            x += a * box[0, 0] + b * box[1, 0] + c * box[2, 0]
            y += a * box[0, 1] + b * box[1, 1] + c * box[2, 1]
            z += a * box[0, 2] + b * box[1, 2] + c * box[2, 2]
        r2 = x * x + y * y + z * z
        if not r2 > limit:  # NaN stays, to show in the result
            chosen[n], squared[n] = pair, r2
            vectors[0, n], vectors[1, n], vectors[2, n] = x, y, z
            n += 1
        pair += 1
    return n, pair


@numba.njit(**OPTIONS)
def _scatter_gradient(
    n: int, chosen: np.ndarray, vectors: np.ndarray, factor: np.ndarray, index: np.ndarray, shifts: np.ndarray,
    system_idx: np.ndarray, gradient: np.ndarray, by_cell: np.ndarray,
) -> None:  # fmt: skip
    """Add factor · r_ij of each pair to the gradients by xyz (3, n_atoms) and by cell (n_systems, 3, 3)."""
    for k in range(n):
        pair = chosen[k]
        i, j = index[0, pair], index[1, pair]
        for axis in range(3):
            term = factor[k] * vectors[axis, k]
            gradient[axis, i] -= term
            gradient[axis, j] += term
            for row in range(3):
                by_cell[system_idx[i], row, axis] += shifts[pair, row] * term


@numba.njit(**OPTIONS)
def listed_counts(
    start: int, stop: int, xyz: np.ndarray, cell: np.ndarray, system_idx: np.ndarray, index: np.ndarray,
    shifts: np.ndarray, radii: np.ndarray, form: tuple, counts: np.ndarray,
) -> None:  # fmt: skip
    """Coordination numbers (n_slots, n_atoms)."""
    n_slots, n_pairs = counts.shape[0], index.shape[1]
    chosen, vectors, buffers = np.empty(BLOCK, np.int64), np.empty((3, BLOCK)), np.empty((3, BLOCK))
    for slot in range(start, stop):
        pair, last = n_pairs * slot // n_slots, n_pairs * (slot + 1) // n_slots
        while pair < last:
            n, pair = _gather(pair, last, xyz, cell, system_idx, index, shifts, form[5], chosen, vectors, buffers[0])
            r2, both_radii, count = buffers[0, :n], buffers[1, :n], buffers[2, :n]
            for k in range(n):
                both_radii[k] = radii[index[0, chosen[k]]] + radii[index[1, chosen[k]]]
                count[k] = 0.0
            spread_counts(r2, both_radii, 0.0, form, count)
            for k in range(n):
                counts[slot, index[0, chosen[k]]] += count[k]
                counts[slot, index[1, chosen[k]]] += count[k]


@numba.njit(**OPTIONS)
def pair_c6(
    i: int, j: int, weights: np.ndarray, norms: np.ndarray, species: np.ndarray, projected: np.ndarray
) -> tuple[float, float, float]:
    """C6 of a pair and its derivatives by the CN of both atoms."""
    if norms.shape[0] and norms[i] * norms[j] < LEGACY_MIN_NORM:
        return 0.0, 0.0, 0.0
    n_references = weights.shape[2]
    first = species[i] * n_references
    c6 = by_i = by_j = 0.0
    for a in range(n_references):
        c6 += weights[0, i, a] * projected[0, first + a, j]
        by_i += weights[1, i, a] * projected[0, first + a, j]
        by_j += weights[0, i, a] * projected[1, first + a, j]
    return c6, by_i, by_j


@numba.njit(**OPTIONS)
def listed_pairs(
    start: int, stop: int, xyz: np.ndarray, cell: np.ndarray, system_idx: np.ndarray, index: np.ndarray,
    shifts: np.ndarray, roots: np.ndarray, weights: np.ndarray, norms: np.ndarray, species: np.ndarray,
    projected: np.ndarray, form: tuple, upstream: np.ndarray, energies: np.ndarray, by_cn: np.ndarray,
    gradient: np.ndarray, by_cell: np.ndarray,
) -> None:  # fmt: skip
    """Energies and derivatives by CN (n_slots, n), and at fixed CN by xyz (n_slots, 3, n) and by cell."""
    n_slots, n_pairs = energies.shape[0], index.shape[1]
    chosen, vectors, buffers = np.empty(BLOCK, np.int64), np.empty((3, BLOCK)), np.empty((4, BLOCK))
    for slot in range(start, stop):
        pair, last = n_pairs * slot // n_slots, n_pairs * (slot + 1) // n_slots
        while pair < last:
            n, pair = _gather(pair, last, xyz, cell, system_idx, index, shifts, form[4], chosen, vectors, buffers[0])
            r2, both_roots, value, slope = buffers[0, :n], buffers[1, :n], buffers[2, :n], buffers[3, :n]
            for k in range(n):
                both_roots[k] = roots[index[0, chosen[k]]] * roots[index[1, chosen[k]]]
            damp(r2, both_roots, 1.0, form, value, slope)
            for k in range(n):
                i, j = index[0, chosen[k]], index[1, chosen[k]]
                c6, by_i, by_j = pair_c6(i, j, weights, norms, species, projected)
                weight = -0.5 * (upstream[i] + upstream[j])
                energies[slot, i] -= 0.5 * c6 * value[k]
                energies[slot, j] -= 0.5 * c6 * value[k]
                by_cn[slot, i] += weight * by_i * value[k]
                by_cn[slot, j] += weight * by_j * value[k]
                slope[k] *= weight * c6
            _scatter_gradient(n, chosen, vectors, slope, index, shifts, system_idx, gradient[slot], by_cell[slot])


@numba.njit(**OPTIONS)
def listed_count_gradient(
    start: int, stop: int, xyz: np.ndarray, cell: np.ndarray, system_idx: np.ndarray, index: np.ndarray,
    shifts: np.ndarray, radii: np.ndarray, by_cn: np.ndarray, form: tuple, gradient: np.ndarray,
    by_cell: np.ndarray,
) -> None:  # fmt: skip
    """Add the gradients by xyz and by cell that come from the change of coordination numbers."""
    n_slots, n_pairs = gradient.shape[0], index.shape[1]
    chosen, vectors, buffers = np.empty(BLOCK, np.int64), np.empty((3, BLOCK)), np.empty((4, BLOCK))
    for slot in range(start, stop):
        pair, last = n_pairs * slot // n_slots, n_pairs * (slot + 1) // n_slots
        while pair < last:
            n, pair = _gather(pair, last, xyz, cell, system_idx, index, shifts, form[5], chosen, vectors, buffers[0])
            r2, both_radii, both_by_cn, factor = buffers[0, :n], buffers[1, :n], buffers[2, :n], buffers[3, :n]
            for k in range(n):
                i, j = index[0, chosen[k]], index[1, chosen[k]]
                both_radii[k], both_by_cn[k] = radii[i] + radii[j], by_cn[i] + by_cn[j]
            count_slopes(r2, both_radii, 0.0, both_by_cn, 0.0, form, factor)
            _scatter_gradient(n, chosen, vectors, factor, index, shifts, system_idx, gradient[slot], by_cell[slot])
