"""Compiled loops of the two-body term; import only when :func:`molcalc.kernels.runtime.usable`.

The formulas are those of the torch functions beside, which are the reference. Lengths are in Bohr, energies in
Hartree; coordinates and gradients are stored axis by axis, (3, n_atoms). A kernel works on a range of *slots*:
each slot takes its share of the pairs and writes to its own row of the outputs, so that ranges of slots can run
on different threads.

Derivatives are those of Σ_i u_i e_i with given ``upstream`` u. ``form`` is (s6, s8, a1, a2, cutoff, cn_cutoff,
switch_width) and ``roots`` holds (3 r4r2²)^¼ per atom, so that C8/C6 of a pair is root_i² root_j².
"""

import math

import numba
import numpy as np

from molcalc.kernels.constants import LEGACY_MIN_NORM, WEIGHT_STEEPNESS
from molcalc.kernels.dispersion_rows import (
    add_scaled,
    count_slopes,
    damp,
    pair_energy_slopes,
    spread_by_cn,
    spread_counts,
    spread_energy,
    spread_gradient,
    squared_distances,
)
from molcalc.kernels.runtime import OPTIONS


@numba.njit(**OPTIONS)
def interpolate(
    start: int, stop: int, cn: np.ndarray, cn_max: np.ndarray, reference_cn: np.ndarray, slot_mask: np.ndarray,
    species: np.ndarray, c6: np.ndarray, weights: np.ndarray, norms: np.ndarray, projected: np.ndarray,
) -> None:  # fmt: skip
    """Reference weights and their derivatives by CN (2, n, K), norms, and half-interpolated C6 (2, S·K, n)."""
    n_slots = reference_cn.shape[1]
    for i in range(start, stop):
        clamped = cn[i] > cn_max[i]
        count = cn_max[i] if clamped else cn[i]
        highest = -math.inf
        for a in range(n_slots):
            difference = count - reference_cn[i, a]
            weights[0, i, a] = -WEIGHT_STEEPNESS * difference * difference + slot_mask[i, a]
            highest = max(highest, weights[0, i, a])
        norm = mean = 0.0
        for a in range(n_slots):
            weights[0, i, a] = math.exp(weights[0, i, a] - highest)
            weights[1, i, a] = -2.0 * WEIGHT_STEEPNESS * (count - reference_cn[i, a])
            norm += weights[0, i, a]
            mean += weights[0, i, a] * weights[1, i, a]
        for a in range(n_slots):
            weights[0, i, a] = 0.0 if reference_cn[i, a] < 0.0 else weights[0, i, a] / norm
            weights[1, i, a] = 0.0 if clamped else weights[0, i, a] * (weights[1, i, a] - mean / norm)
        norms[i] = norm * math.exp(highest)
        first = species[i] * n_slots
        for order in range(2):
            for row in range(projected.shape[1]):
                total = 0.0
                for a in range(n_slots):
                    total += c6[row, first + a] * weights[order, i, a]
                projected[order, row, i] = total


@numba.njit(**OPTIONS)
def _row_c6(weights: np.ndarray, projected: np.ndarray, norm: float, norms: np.ndarray, out: np.ndarray) -> None:
    """C6, or its derivative, of one atom with consecutive others; ``norms`` is empty but in the legacy form."""
    out[:] = 0.0
    for a in range(weights.shape[0]):
        if weights[a] != 0.0:
            add_scaled(weights[a], projected[a], out)
    for k in range(norms.shape[0]):
        if norm * norms[k] < LEGACY_MIN_NORM:
            out[k] = 0.0


@numba.njit(**OPTIONS)
def molecule_counts(
    start: int, stop: int, xyz: np.ndarray, ends: np.ndarray, radii: np.ndarray, form: tuple, counts: np.ndarray
) -> None:
    """Coordination numbers (n_slots, n) of molecules; the one of atom i ends before atom ends[i].

    Slot s takes atoms s, s + n_slots, …, each with the later atoms of its molecule.
    """
    n_slots, n_atoms = counts.shape
    squared = np.empty(n_atoms)
    for slot in range(start, stop):
        for i in range(slot, n_atoms, n_slots):
            later = slice(i + 1, ends[i])
            r2 = squared[: ends[i] - i - 1]
            squared_distances(xyz[0, later], xyz[1, later], xyz[2, later], xyz[0, i], xyz[1, i], xyz[2, i], r2)
            counts[slot, i] += spread_counts(r2, radii[later], radii[i], form, counts[slot, later])


@numba.njit(**OPTIONS)
def molecule_pairs(
    start: int, stop: int, xyz: np.ndarray, ends: np.ndarray, roots: np.ndarray, weights: np.ndarray,
    norms: np.ndarray, species: np.ndarray, projected: np.ndarray, form: tuple, upstream: np.ndarray,
    energies: np.ndarray, by_cn: np.ndarray, gradient: np.ndarray,
) -> None:  # fmt: skip
    """Energies (n_slots, n) and derivatives by CN (n_slots, n) and, at fixed CN, by xyz (n_slots, 3, n)."""
    n_slots, n_atoms = energies.shape
    n_references = weights.shape[2]
    buffers = np.empty((6, n_atoms))
    for slot in range(start, stop):
        for i in range(slot, n_atoms, n_slots):
            later, n = slice(i + 1, ends[i]), ends[i] - i - 1
            r2, value, slope = buffers[0, :n], buffers[1, :n], buffers[2, :n]
            c6, c6_by_i, c6_by_j = buffers[3, :n], buffers[4, :n], buffers[5, :n]
            rows, others = slice(species[i] * n_references, (species[i] + 1) * n_references), norms[later]
            norm = norms[i] if norms.shape[0] else 1.0
            _row_c6(weights[0, i], projected[0, rows, later], norm, others, c6)
            _row_c6(weights[1, i], projected[0, rows, later], norm, others, c6_by_i)
            _row_c6(weights[0, i], projected[1, rows, later], norm, others, c6_by_j)
            squared_distances(xyz[0, later], xyz[1, later], xyz[2, later], xyz[0, i], xyz[1, i], xyz[2, i], r2)
            damp(r2, roots[later], roots[i], form, value, slope)
            energies[slot, i] += spread_energy(c6, value, energies[slot, later])
            by_cn[slot, i] += spread_by_cn(value, upstream[later], upstream[i], c6_by_i, c6_by_j, by_cn[slot, later])
            pair_energy_slopes(slope, c6, upstream[later], upstream[i], r2)
            for axis in range(3):
                to_axis = gradient[slot, axis]
                to_axis[i] -= spread_gradient(r2, xyz[axis, later], xyz[axis, i], to_axis[later])


@numba.njit(**OPTIONS)
def molecule_count_gradient(
    start: int, stop: int, xyz: np.ndarray, ends: np.ndarray, radii: np.ndarray, by_cn: np.ndarray, form: tuple,
    gradient: np.ndarray,
) -> None:  # fmt: skip
    """Add the gradient (n_slots, 3, n) that comes from the change of coordination numbers."""
    n_slots, _, n_atoms = gradient.shape
    squared, factor = np.empty(n_atoms), np.empty(n_atoms)
    for slot in range(start, stop):
        for i in range(slot, n_atoms, n_slots):
            later, n = slice(i + 1, ends[i]), ends[i] - i - 1
            r2, f = squared[:n], factor[:n]
            squared_distances(xyz[0, later], xyz[1, later], xyz[2, later], xyz[0, i], xyz[1, i], xyz[2, i], r2)
            count_slopes(r2, radii[later], radii[i], by_cn[later], by_cn[i], form, f)
            for axis in range(3):
                to_axis = gradient[slot, axis]
                to_axis[i] -= spread_gradient(f, xyz[axis, later], xyz[axis, i], to_axis[later])
