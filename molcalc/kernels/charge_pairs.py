"""Compiled loops over pairs of charges; import only when :func:`molcalc.kernels.runtime.usable`.

The formulas are those of :class:`molcalc.electrostatics.pair_formulas.ScreenedCoulomb`, which is the reference.
A kernel works on a range of *slots*: each slot takes its share of the pairs and writes to its own row of the
outputs, so that ranges of slots can run on different threads. It adds up the derivatives of Σ_i w_i e_i with
respect to charges, positions and cell, where e_i = ½ Σ_j q_i q_j φ(r_ij) and the weights w_i are given.
"""

import math
from collections.abc import Callable

import numba
import numpy as np

from molcalc.kernels.constants import LARGEST_ENVELOPE_ARGUMENT, MIN_SQUARED_DISTANCE
from molcalc.kernels.runtime import OPTIONS, SUMS

ERFC_END, INTERVALS, DEGREE = 6.0, 96, 9
"""erfc and its derivative are polynomials on each of 96 intervals of [0, 6], exact to 1e-15; erfc(6) = 2e-17."""


def _polynomials(function: Callable[[float], float]) -> np.ndarray:
    """(INTERVALS, DEGREE + 1) coefficients in powers of the position within an interval, 0 to 1."""
    nodes = np.polynomial.chebyshev.chebpts1(DEGREE + 3) / 2.0 + 0.5
    x = (np.arange(INTERVALS) + nodes[:, None]) * ERFC_END / INTERVALS
    return np.ascontiguousarray(np.polynomial.polynomial.polyfit(nodes, np.vectorize(function)(x), DEGREE).T)


_ERFC = _polynomials(math.erfc)
_ERFC_DERIVATIVE = _polynomials(lambda x: -2.0 / math.sqrt(math.pi) * math.exp(-x * x))


@numba.njit(**OPTIONS)
def _erfc(x: float) -> tuple[float, float]:
    """erfc(x) and its derivative, for x ≥ 0."""
    if not x < ERFC_END:
        return x - x, x - x  # 0, and NaN for NaN
    position = x * (INTERVALS / ERFC_END)
    k = np.uint64(position)
    u = position - k
    value, derivative = _ERFC[k, DEGREE], _ERFC_DERIVATIVE[k, DEGREE]
    for n in range(DEGREE - 1, -1, -1):
        value = value * u + _ERFC[k, n]
        derivative = derivative * u + _ERFC_DERIVATIVE[k, n]
    return value, derivative


@numba.njit(**OPTIONS)
def _damping(d: float, short: float) -> tuple[float, float]:
    """1 − g(d) and its derivative, for d < short."""
    x = min(d / short, LARGEST_ENVELOPE_ARGUMENT)
    rest = 1.0 / (1.0 - x * x)
    damping = -math.expm1(-x * x * rest)
    return damping, (1.0 - damping) * 2.0 * x * rest * rest / short


@numba.njit(**OPTIONS)
def _screened(d: float, alpha: float, short: float) -> tuple[float, float]:
    """erfc(αd) − g(d) and its derivative."""
    numerator, change = 1.0, 0.0
    if alpha > 0.0:
        numerator, change = _erfc(alpha * d)
        change *= alpha
    if d < short:
        damping, damping_change = _damping(d, short)
        numerator += damping - 1.0
        change += damping_change
    return numerator, change


@numba.njit(**OPTIONS)
def listed(
    start: int, stop: int, positions: np.ndarray, charges: np.ndarray, cell: np.ndarray,
    system_idx: np.ndarray, index: np.ndarray, shifts: np.ndarray, form: np.ndarray, weights: np.ndarray,
    to_charges: np.ndarray, to_positions: np.ndarray, to_cell: np.ndarray,
) -> None:  # fmt: skip
    """Pairs of a list, periodic where ``shifts`` is not empty; slots are consecutive parts of the list."""
    n_slots, n_pairs, periodic = to_charges.shape[0], index.shape[1], shifts.shape[0] > 0
    alpha, slope, shift, cutoff, short = form
    squared_floor = MIN_SQUARED_DISTANCE if short > 0.0 else 0.0
    squared_cutoff = cutoff * cutoff
    a = b = c = 0.0
    for slot in range(start, stop):
        to_q, to_r, to_m = to_charges[slot], to_positions[slot], to_cell[slot]
        for pair in range(n_pairs * slot // n_slots, n_pairs * (slot + 1) // n_slots):
            i, j = np.uint64(index[0, pair]), np.uint64(index[1, pair])
            s = np.uint64(system_idx[i])
            x = positions[j, 0] - positions[i, 0]
            y = positions[j, 1] - positions[i, 1]
            z = positions[j, 2] - positions[i, 2]
            if periodic:
                a, b, c = shifts[pair, 0], shifts[pair, 1], shifts[pair, 2]
                x += a * cell[s, 0, 0] + b * cell[s, 1, 0] + c * cell[s, 2, 0]
                y += a * cell[s, 0, 1] + b * cell[s, 1, 1] + c * cell[s, 2, 1]
                z += a * cell[s, 0, 2] + b * cell[s, 1, 2] + c * cell[s, 2, 2]
            squared = x * x + y * y + z * z
            if squared >= squared_cutoff:
                continue
            d = math.sqrt(max(squared, squared_floor))
            numerator, change = _screened(d, alpha, short)
            inverse = 1.0 / d
            value = numerator * inverse
            derivative = (change - value) * inverse + slope
            value += slope * d + shift
            q_i, q_j = charges[i], charges[j]
            weight = 0.5 * (weights[i] + weights[j])
            to_q[i] += weight * q_j * value
            to_q[j] += weight * q_i * value
            factor = weight * q_i * q_j * derivative * inverse
            x, y, z = factor * x, factor * y, factor * z
            to_r[i, 0] -= x
            to_r[i, 1] -= y
            to_r[i, 2] -= z
            to_r[j, 0] += x
            to_r[j, 1] += y
            to_r[j, 2] += z
            if periodic and (a != 0.0 or b != 0.0 or c != 0.0):
                to_m[s, 0, 0] += a * x
                to_m[s, 0, 1] += a * y
                to_m[s, 0, 2] += a * z
                to_m[s, 1, 0] += b * x
                to_m[s, 1, 1] += b * y
                to_m[s, 1, 2] += b * z
                to_m[s, 2, 0] += c * x
                to_m[s, 2, 1] += c * y
                to_m[s, 2, 2] += c * z


@numba.njit(**OPTIONS)
def complete(
    start: int, stop: int, xyz: np.ndarray, charges: np.ndarray, system_idx: np.ndarray, short: float,
    weights: np.ndarray, to_charges: np.ndarray, to_xyz: np.ndarray,
) -> None:  # fmt: skip
    """All pairs within each molecule, φ = (1 − g(d)) / d; slot s takes atoms s, s + n_slots, ….

    Coordinates and their derivatives are stored axis by axis, (3, n_atoms).
    """
    n_slots, n_atoms = to_charges.shape
    squared, value, factor = np.empty(n_atoms), np.empty(n_atoms), np.empty(n_atoms)
    end = 0
    for slot in range(start, stop):
        for i in range(slot, n_atoms, n_slots):
            if i < slot + n_slots or system_idx[i] != system_idx[i - n_slots]:
                end = i
                while end < n_atoms and system_idx[end] == system_idx[i]:
                    end += 1
            later, n_later = slice(i + 1, end), end - i - 1
            d2, v, f = squared[:n_later], value[:n_later], factor[:n_later]
            _squared_distances(xyz[0, later], xyz[1, later], xyz[2, later], xyz[:, i], d2)
            _bare(d2, v, f)
            for k in range(n_later):
                if d2[k] < short * short:
                    d = math.sqrt(max(d2[k], MIN_SQUARED_DISTANCE))
                    damping, change = _damping(d, short)
                    v[k] = damping / d
                    f[k] = (change - v[k]) / (d * d)
            q, w = charges[later], weights[later]
            to_charges[slot, i] += _spread_potential(v, q, w, charges[i], weights[i], to_charges[slot, later])
            _scale(q, w, charges[i], weights[i], f)
            for axis in range(3):
                to_axis = to_xyz[slot, axis]
                to_axis[i] -= _spread_gradient(f, xyz[axis, later], xyz[axis, i], to_axis[later])


@numba.njit(**SUMS)
def _squared_distances(x: np.ndarray, y: np.ndarray, z: np.ndarray, center: np.ndarray, out: np.ndarray) -> None:
    x_i, y_i, z_i = center
    for k in range(out.shape[0]):
        out[k] = (x[k] - x_i) ** 2 + (y[k] - y_i) ** 2 + (z[k] - z_i) ** 2


@numba.njit(**SUMS)
def _bare(squared: np.ndarray, value: np.ndarray, factor: np.ndarray) -> None:
    """1/d and its derivative over d."""
    for k in range(value.shape[0]):
        value[k] = 1.0 / math.sqrt(squared[k])
        factor[k] = -value[k] / squared[k]


@numba.njit(**SUMS)
def _spread_potential(
    value: np.ndarray, q: np.ndarray, w: np.ndarray, q_i: float, w_i: float, out: np.ndarray
) -> float:
    total = 0.0
    for k in range(out.shape[0]):
        term = 0.5 * (w_i + w[k]) * value[k]
        total += term * q[k]
        out[k] += term * q_i
    return total


@numba.njit(**SUMS)
def _scale(q: np.ndarray, w: np.ndarray, q_i: float, w_i: float, factor: np.ndarray) -> None:
    for k in range(factor.shape[0]):
        factor[k] *= 0.5 * (w_i + w[k]) * q_i * q[k]


@numba.njit(**SUMS)
def _spread_gradient(factor: np.ndarray, x: np.ndarray, x_i: float, out: np.ndarray) -> float:
    total = 0.0
    for k in range(out.shape[0]):
        term = factor[k] * (x[k] - x_i)
        total += term
        out[k] += term
    return total
