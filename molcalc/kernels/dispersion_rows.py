"""Loops over the partners of one atom that use all lanes of the processor.

Each is a function with few arrays, because the compiler gives up when it must rule out too many overlaps. Sums
may be reordered; NaN and infinity keep their meaning. See :mod:`molcalc.kernels.dispersion_molecules` for the
arguments.
"""

import math

import numba
import numpy as np

from molcalc.kernels.constants import COUNT_STEEPNESS
from molcalc.kernels.runtime import RECIPROCALS
from molcalc.kernels.switch import smooth_step


@numba.njit(inline="always", **RECIPROCALS)
def switch(r: float, cutoff: float, width: float) -> tuple[float, float]:
    """The factor of :func:`molcalc.dispersion.damping.smooth_cutoff` and its derivative.

    The width is never 0: a tiny one makes a step without a branch.

    Returns
    -------
    factor : 1 well below the cutoff, 0 beyond.
    slope : its derivative over r, 1/Bohr.
    """
    value, slope = smooth_step(min(max((cutoff - r) / width, 0.0), 1.0))
    return value, -slope / width


@numba.njit(inline="always", **RECIPROCALS)
def _exp(x: float) -> float:
    """exp(x) for −40 ≤ x ≤ 16 as (exp(x/64))^64: a call would keep a loop from using all lanes.

    The relative error is 1e-14 above −10, where counts depend on it.
    """
    x *= 0.015625
    p = 1.0 + x * (1.0 / 10.0 + x * (1.0 / 110.0))
    p = 1.0 + x * (1.0 / 8.0 + x * (1.0 / 72.0) * p)
    p = 1.0 + x * (1.0 / 6.0 + x * (1.0 / 42.0) * p)
    p = 1.0 + x * (1.0 / 4.0 + x * (1.0 / 20.0) * p)
    p = 1.0 + x * (1.0 / 2.0 + x * (1.0 / 6.0) * p)
    p = 1.0 + x * p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    return p


@numba.njit(inline="always", **RECIPROCALS)
def count_and_slope(r: float, radii: float, form: tuple) -> tuple[float, float]:
    """Counting function of a pair with sum of covalent radii ``radii``, and its derivative over r."""
    inverse = 1.0 / r
    ratio = radii * inverse
    exponential = _exp(max(COUNT_STEEPNESS * (1.0 - ratio), -40.0))
    count = 1.0 / (1.0 + exponential)
    slope = -count * count * exponential * COUNT_STEEPNESS * ratio * inverse
    scale, change = switch(r, form[5], form[6])
    return scale * count, (scale * slope + change * count) * inverse


@numba.njit(inline="always", **RECIPROCALS)
def damped_and_slope(r2: float, root: float, form: tuple) -> tuple[float, float]:
    """f(r) of the pair energy −C6 f and its derivative over r; ``root`` is (C8/C6)^½."""
    s6, s8, a1, a2, cutoff, _, width = form
    radius = a1 * root + a2
    radius2 = radius * radius
    radius6 = radius2 * radius2 * radius2
    r4 = r2 * r2
    r6 = r4 * r2
    six, eight = r6 + radius6, r6 * r2 + radius6 * radius2
    inverse = 1.0 / (six * eight)
    t6, t8 = eight * inverse, six * inverse
    q = s8 * root * root
    f = s6 * t6 + q * t8
    r = math.sqrt(r2)
    scale, change = switch(r, cutoff, width)
    return scale * f, change * f / r - scale * (6.0 * s6 * r4 * t6 * t6 + 8.0 * q * r6 * t8 * t8)


@numba.njit(**RECIPROCALS)
def squared_distances(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, x_i: float, y_i: float, z_i: float, out: np.ndarray
) -> None:
    """r² from the point (x_i, y_i, z_i)."""
    for k in range(out.shape[0]):
        out[k] = (x[k] - x_i) ** 2 + (y[k] - y_i) ** 2 + (z[k] - z_i) ** 2


@numba.njit(**RECIPROCALS)
def spread_counts(squared: np.ndarray, radii: np.ndarray, radius: float, form: tuple, out: np.ndarray) -> float:
    """Add the count of each pair to the partners in ``out`` and return the sum for the atom itself."""
    total = 0.0
    for k in range(out.shape[0]):
        count = count_and_slope(math.sqrt(squared[k]), radius + radii[k], form)[0]
        out[k] += count
        total += count
    return total


@numba.njit(**RECIPROCALS)
def count_slopes(
    squared: np.ndarray, radii: np.ndarray, radius: float, by_cn: np.ndarray, by_cn_i: float, form: tuple,
    out: np.ndarray,
) -> None:  # fmt: skip
    """Derivative of each count, over r, times the derivatives by CN of both atoms."""
    for k in range(out.shape[0]):
        slope = count_and_slope(math.sqrt(squared[k]), radius + radii[k], form)[1]
        out[k] = (by_cn_i + by_cn[k]) * slope


@numba.njit(**RECIPROCALS)
def damp(
    squared: np.ndarray, roots: np.ndarray, root: float, form: tuple, value: np.ndarray, slope: np.ndarray
) -> None:
    """f(r) of each pair and its derivative over r."""
    for k in range(value.shape[0]):
        value[k], slope[k] = damped_and_slope(squared[k], root * roots[k], form)


@numba.njit(**RECIPROCALS)
def add_scaled(factor: float, values: np.ndarray, out: np.ndarray) -> None:
    """out += factor · values."""
    for k in range(out.shape[0]):
        out[k] += factor * values[k]


@numba.njit(**RECIPROCALS)
def spread_energy(c6: np.ndarray, value: np.ndarray, out: np.ndarray) -> float:
    """Give half of each pair energy to the partners and return the other halves."""
    total = 0.0
    for k in range(out.shape[0]):
        half = -0.5 * c6[k] * value[k]
        out[k] += half
        total += half
    return total


@numba.njit(**RECIPROCALS)
def spread_by_cn(
    value: np.ndarray, upstream: np.ndarray, upstream_i: float, c6_by_i: np.ndarray, c6_by_j: np.ndarray,
    out: np.ndarray,
) -> float:  # fmt: skip
    """Derivatives of the pair energies by the CN of the partners, and of the atom itself."""
    total = 0.0
    for k in range(out.shape[0]):
        scaled = -0.5 * (upstream_i + upstream[k]) * value[k]
        out[k] += scaled * c6_by_j[k]
        total += scaled * c6_by_i[k]
    return total


@numba.njit(**RECIPROCALS)
def pair_energy_slopes(
    slope: np.ndarray, c6: np.ndarray, upstream: np.ndarray, upstream_i: float, out: np.ndarray
) -> None:
    """Derivative of the pair energies over r."""
    for k in range(out.shape[0]):
        out[k] = -0.5 * (upstream_i + upstream[k]) * c6[k] * slope[k]


@numba.njit(**RECIPROCALS)
def spread_gradient(factor: np.ndarray, x: np.ndarray, x_i: float, out: np.ndarray) -> float:
    """Gradient along one axis: added to the partners, and the sum that the atom itself loses."""
    total = 0.0
    for k in range(out.shape[0]):
        term = factor[k] * (x[k] - x_i)
        total += term
        out[k] += term
    return total
