"""Compiled loops of the two-body term; import only when :func:`molcalc.nn.compiled.usable`.

The formulas are those of the torch functions beside, which are the reference. Lengths are in Bohr, energies
in Hartree, coordinates axis by axis, (3, n_atoms). A molecule is summed over *ordered* pairs: the inner loops
then only add up numbers and never store, which lets the compiler use all lanes of the processor, and each
atom is work of its own for a thread.

``shape`` is (s6, s8, a1, a2, cutoff, cn_cutoff, switch_width), ``root`` is r4r2^½ · 3^¼, so that
C8/C6 = root_i² root_j².
"""

import math

import numba
import numpy as np

from molcalc.dispersion.coordination import STEEPNESS
from molcalc.dispersion.reference import LEGACY_MIN_NORM, WEIGHT_STEEPNESS

_OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy"}
_LANES = {"fastmath": {"reassoc", "nsz", "contract", "arcp"}, **_OPTIONS}
_INLINE = {"inline": "always", **_LANES}

NO_SWITCH = 1e-200
"""Bohr, stands for width 0: the switch is then a step, without a branch."""


@numba.njit(**_INLINE)
def _switch(r: float, cutoff: float, width: float) -> tuple[float, float]:
    """Switch function and its derivative."""
    t = min(max((cutoff - r) / width, 0.0), 1.0)
    rest = t * (1.0 - t)
    return t * t * t * (10.0 + t * (6.0 * t - 15.0)), -30.0 * rest * rest / width


@numba.njit(**_INLINE)
def _count(r: float, radii: float, cutoff: float, width: float) -> tuple[float, float]:
    """Counting function and its derivative.

    exp(x) is written out as (exp(x/64))^64, because a call would keep the loop from using all lanes.
    x ≤ 16, and below −40 the count is 1 to the last digit.
    """
    ratio = radii / r
    x = max(STEEPNESS * (1.0 - ratio), -40.0) * 0.015625
    p = 1.0 + x * (1.0 / 10.0 + x * (1.0 / 110.0))
    p = 1.0 + x * (1.0 / 8.0 + x * (1.0 / 72.0) * p)
    p = 1.0 + x * (1.0 / 6.0 + x * (1.0 / 42.0) * p)
    p = 1.0 + x * (1.0 / 4.0 + x * (1.0 / 20.0) * p)
    p = 1.0 + x * (1.0 / 2.0 + x * (1.0 / 6.0) * p)
    p = 1.0 + x * p
    p = p * p
    p = p * p
    p = p * p
    p = p * p
    p = p * p
    p = p * p
    count = 1.0 / (1.0 + p)
    slope = -count * count * p * STEEPNESS * ratio / r
    scale, change = _switch(r, cutoff, width)
    return scale * count, scale * slope + change * count


@numba.njit(**_INLINE)
def _damped(r2: float, r: float, root2: float, shape: tuple) -> tuple[float, float]:
    """f(r) of the pair energy −C6 f and its derivative divided by r; root2 is (C8/C6)^½."""
    s6, s8, a1, a2, cutoff, _, width = shape
    radius = a1 * root2 + a2
    radius2 = radius * radius
    radius6, r4 = radius2 * radius2 * radius2, r2 * r2
    r6 = r4 * r2
    six, eight = r6 + radius6, r6 * r2 + radius6 * radius2
    inverse = 1.0 / (six * eight)
    t6, t8 = eight * inverse, six * inverse
    q = s8 * root2 * root2
    value = s6 * t6 + q * t8
    slope = -6.0 * s6 * r4 * t6 * t6 - 8.0 * q * r6 * t8 * t8
    scale, change = _switch(r, cutoff, width)
    return scale * value, scale * slope + change * value / r


@numba.njit(**_LANES)
def _row_count(xyz: np.ndarray, here: tuple, radii: np.ndarray, radius: float, shape: tuple) -> float:
    """Number of neighbors that atoms at ``xyz`` are for one at ``here``."""
    x, y, z = xyz[0], xyz[1], xyz[2]
    total = 0.0
    for k in range(x.shape[0]):
        dx, dy, dz = x[k] - here[0], y[k] - here[1], z[k] - here[2]
        r = math.sqrt(dx * dx + dy * dy + dz * dz)
        total += _count(r, radius + radii[k], shape[5], shape[6])[0]
    return total


@numba.njit(**_LANES)
def _row_count_gradient(
    xyz: np.ndarray, here: tuple, radii: np.ndarray, radius: float, by_cn: np.ndarray, by_cn_here: float, shape: tuple
) -> tuple:  # fmt: skip
    """Gradient at ``here`` by way of the coordination numbers of both atoms of each pair."""
    x, y, z = xyz[0], xyz[1], xyz[2]
    gx = gy = gz = 0.0
    for k in range(x.shape[0]):
        dx, dy, dz = x[k] - here[0], y[k] - here[1], z[k] - here[2]
        r = math.sqrt(dx * dx + dy * dy + dz * dz)
        slope = _count(r, radius + radii[k], shape[5], shape[6])[1]
        factor = (by_cn_here + by_cn[k]) * slope / r
        gx -= factor * dx
        gy -= factor * dy
        gz -= factor * dz
    return gx, gy, gz


@numba.njit(**_LANES)
def _row_energy(
    xyz: np.ndarray, here: tuple, root: np.ndarray, root_here: float, c6: np.ndarray, c6_slope: np.ndarray,
    upstream: np.ndarray, upstream_here: float, shape: tuple,
) -> tuple:  # fmt: skip
    """Energy of the atom ``here``, its derivative by the CN of that atom, its gradient at fixed CN."""
    x, y, z = xyz[0], xyz[1], xyz[2]
    energy = by_cn = gx = gy = gz = 0.0
    for k in range(x.shape[0]):
        dx, dy, dz = x[k] - here[0], y[k] - here[1], z[k] - here[2]
        r2 = dx * dx + dy * dy + dz * dz
        value, slope = _damped(r2, math.sqrt(r2), root_here * root[k], shape)
        weight = 0.5 * (upstream_here + upstream[k])
        energy -= c6[k] * value
        by_cn -= weight * c6_slope[k] * value
        factor = weight * c6[k] * slope
        gx += factor * dx
        gy += factor * dy
        gz += factor * dz
    return 0.5 * energy, by_cn, gx, gy, gz


@numba.njit(**_OPTIONS)
def count_neighbors(
    start: int, stop: int, xyz: np.ndarray, system_idx: np.ndarray, bounds: np.ndarray, radii: np.ndarray,
    shape: tuple, cn: np.ndarray,
) -> None:  # fmt: skip
    """Coordination numbers of atoms ``start`` to ``stop`` of molecules; molecule s is bounds[s]:bounds[s+1]."""
    for i in range(start, stop):
        first, last = bounds[system_idx[i]], bounds[system_idx[i] + 1]
        here, radius = (xyz[0, i], xyz[1, i], xyz[2, i]), radii[i]
        cn[i] = _row_count(xyz[:, first:i], here, radii[first:i], radius, shape)
        cn[i] += _row_count(xyz[:, i + 1 : last], here, radii[i + 1 : last], radius, shape)


@numba.njit(**_OPTIONS)
def interpolate(
    start: int, stop: int, cn: np.ndarray, cn_max: np.ndarray, reference_cn: np.ndarray, slot_mask: np.ndarray,
    species: np.ndarray, c6: np.ndarray, weights: np.ndarray, slopes: np.ndarray, norms: np.ndarray,
    projected: np.ndarray,
) -> None:  # fmt: skip
    """Reference weights (n, K), their derivatives by CN, their norm, and half-interpolated C6 (S·K, n)."""
    n_slots = reference_cn.shape[1]
    for i in range(start, stop):
        clamped = cn[i] > cn_max[i]
        count = cn_max[i] if clamped else cn[i]
        highest = -math.inf
        for a in range(n_slots):
            difference = count - reference_cn[i, a]
            weights[i, a] = -WEIGHT_STEEPNESS * difference * difference + slot_mask[i, a]
            highest = max(highest, weights[i, a])
        norm = mean = 0.0
        for a in range(n_slots):
            weights[i, a] = math.exp(weights[i, a] - highest)
            slopes[i, a] = -2.0 * WEIGHT_STEEPNESS * (count - reference_cn[i, a])
            norm += weights[i, a]
            mean += weights[i, a] * slopes[i, a]
        for a in range(n_slots):
            weights[i, a] /= norm
            slopes[i, a] = 0.0 if clamped else weights[i, a] * (slopes[i, a] - mean / norm)
        norms[i] = norm * math.exp(highest)
        first = species[i] * n_slots
        for row in range(projected.shape[0]):
            total = 0.0
            for a in range(n_slots):
                total += c6[row, first + a] * weights[i, a]
            projected[row, i] = total


@numba.njit(**_LANES)
def _add_scaled(factor: float, values: np.ndarray, out: np.ndarray) -> None:
    for k in range(out.shape[0]):
        out[k] += factor * values[k]


@numba.njit(**_OPTIONS)
def _c6_row(
    i: int, first: int, weights: np.ndarray, norms: np.ndarray, species: np.ndarray, projected: np.ndarray,
    legacy: bool, out: np.ndarray,
) -> None:  # fmt: skip
    """C6 of atom i with consecutive atoms from ``first``; weights may be the derivatives of the weights."""
    n_slots, last = weights.shape[1], first + out.shape[0]
    out[:] = 0.0
    for a in range(n_slots):
        if weights[i, a] != 0.0:
            _add_scaled(weights[i, a], projected[species[i] * n_slots + a, first:last], out)
    if legacy:
        for k in range(out.shape[0]):
            if norms[i] * norms[first + k] < LEGACY_MIN_NORM:
                out[k] = 0.0


@numba.njit(**_OPTIONS)
def sum_pairs(
    start: int, stop: int, xyz: np.ndarray, system_idx: np.ndarray, bounds: np.ndarray, root: np.ndarray,
    weights: np.ndarray, slopes: np.ndarray, norms: np.ndarray, species: np.ndarray, projected: np.ndarray,
    legacy: bool, shape: tuple, upstream: np.ndarray, energies: np.ndarray, by_cn: np.ndarray, gradient: np.ndarray,
) -> None:  # fmt: skip
    """Energies of atoms of molecules, and derivatives of Σ_i upstream_i e_i by CN and, at fixed CN, by xyz."""
    c6, c6_slope = np.empty(xyz.shape[1]), np.empty(xyz.shape[1])
    for i in range(start, stop):
        here = (xyz[0, i], xyz[1, i], xyz[2, i])
        energies[i] = by_cn[i] = 0.0
        gradient[:, i] = 0.0
        for later in range(2):
            first = i + 1 if later else bounds[system_idx[i]]
            last = bounds[system_idx[i] + 1] if later else i
            values, changes = c6[: last - first], c6_slope[: last - first]
            _c6_row(i, first, weights, norms, species, projected, legacy, values)
            _c6_row(i, first, slopes, norms, species, projected, legacy, changes)
            e, n, gx, gy, gz = _row_energy(
                xyz[:, first:last], here, root[first:last], root[i], values, changes,
                upstream[first:last], upstream[i], shape,
            )  # fmt: skip
            energies[i] += e
            by_cn[i] += n
            gradient[0, i] -= gx
            gradient[1, i] -= gy
            gradient[2, i] -= gz


@numba.njit(**_OPTIONS)
def add_count_gradient(
    start: int, stop: int, xyz: np.ndarray, system_idx: np.ndarray, bounds: np.ndarray, radii: np.ndarray,
    by_cn: np.ndarray, shape: tuple, gradient: np.ndarray,
) -> None:  # fmt: skip
    """Add the gradient that comes from the change of coordination numbers."""
    for i in range(start, stop):
        here = (xyz[0, i], xyz[1, i], xyz[2, i])
        for later in range(2):
            first = i + 1 if later else bounds[system_idx[i]]
            last = bounds[system_idx[i] + 1] if later else i
            gx, gy, gz = _row_count_gradient(
                xyz[:, first:last], here, radii[first:last], radii[i], by_cn[first:last], by_cn[i], shape
            )
            gradient[0, i] += gx
            gradient[1, i] += gy
            gradient[2, i] += gz
