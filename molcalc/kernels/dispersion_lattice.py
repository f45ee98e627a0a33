"""Compiled sums over lattice translations; see :mod:`molcalc.kernels.dispersion_molecules` for conventions.

The translations of structure s are columns starts[s]:starts[s+1] of ``translations`` (4, n): vector and length,
shortest first. A pair of atoms runs over those that can be within the cutoff; C6 is the same for all. An atom
with itself runs over all but the zero translation, which counts every pair of images twice. No pair list is needed.
"""

import math

import numba
import numpy as np

from molcalc.kernels.dispersion_listed import pair_c6
from molcalc.kernels.dispersion_rows import count_and_slope, damped_and_slope
from molcalc.kernels.runtime import OPTIONS, RECIPROCALS


@numba.njit(**OPTIONS)
def _within(lengths: np.ndarray, reach: float) -> int:
    """How many of the sorted lengths do not exceed ``reach``; NaN reaches all."""
    low, high = 0, lengths.shape[0]
    while low < high:
        middle = (low + high) // 2
        if lengths[middle] > reach:
            high = middle
        else:
            low = middle + 1
    return low


@numba.njit(**RECIPROCALS)
def _sum_counts(t: np.ndarray, x: float, y: float, z: float, radii: float, form: tuple) -> float:
    tx, ty, tz = t[0], t[1], t[2]
    total = 0.0
    for k in range(tx.shape[0]):
        r2 = (tx[k] + x) ** 2 + (ty[k] + y) ** 2 + (tz[k] + z) ** 2
        total += count_and_slope(math.sqrt(r2), radii, form)[0]
    return total


@numba.njit(**RECIPROCALS)
def _sum_count_slopes(t: np.ndarray, x: float, y: float, z: float, radii: float, form: tuple) -> tuple:
    """Σ s v and Σ s v⊗v with the derivative of the count over r, s, and the pair vector v."""
    tx, ty, tz = t[0], t[1], t[2]
    sx = sy = sz = xx = yy = zz = yz = xz = xy = 0.0
    for k in range(tx.shape[0]):
        vx, vy, vz = tx[k] + x, ty[k] + y, tz[k] + z
        s = count_and_slope(math.sqrt(vx * vx + vy * vy + vz * vz), radii, form)[1]
        fx, fy, fz = s * vx, s * vy, s * vz
        sx += fx
        sy += fy
        sz += fz
        xx += fx * vx
        yy += fy * vy
        zz += fz * vz
        yz += fy * vz
        xz += fx * vz
        xy += fx * vy
    return sx, sy, sz, xx, yy, zz, yz, xz, xy


@numba.njit(**RECIPROCALS)
def _sum_pairs(t: np.ndarray, x: float, y: float, z: float, root: float, form: tuple) -> tuple:
    """Σ f, and as above with the derivative of f over r."""
    tx, ty, tz = t[0], t[1], t[2]
    value = sx = sy = sz = xx = yy = zz = yz = xz = xy = 0.0
    for k in range(tx.shape[0]):
        vx, vy, vz = tx[k] + x, ty[k] + y, tz[k] + z
        f, s = damped_and_slope(vx * vx + vy * vy + vz * vz, root, form)
        value += f
        fx, fy, fz = s * vx, s * vy, s * vz
        sx += fx
        sy += fy
        sz += fz
        xx += fx * vx
        yy += fy * vy
        zz += fz * vz
        yz += fy * vz
        xz += fx * vz
        xy += fx * vy
    return value, (sx, sy, sz, xx, yy, zz, yz, xz, xy)


@numba.njit(**OPTIONS)
def _add(i: int, j: int, factor: float, sums: tuple, gradient: np.ndarray, virial: np.ndarray) -> None:
    sx, sy, sz, xx, yy, zz, yz, xz, xy = sums
    for axis, component in enumerate((sx, sy, sz)):
        gradient[axis, i] -= factor * component
        gradient[axis, j] += factor * component
    for row, column, component in (
        (0, 0, xx), (1, 1, yy), (2, 2, zz), (1, 2, yz), (2, 1, yz), (0, 2, xz), (2, 0, xz), (0, 1, xy), (1, 0, xy)
    ):  # fmt: skip
        virial[row, column] += factor * component


@numba.njit(**OPTIONS)
def _images(
    i: int, j: int, xyz: np.ndarray, first: int, last: int, translations: np.ndarray, cutoff: float
) -> tuple[float, float, float, np.ndarray]:
    """Vector from atom i to atom j, and the translations of j to look at."""
    x, y, z = xyz[0, j] - xyz[0, i], xyz[1, j] - xyz[1, i], xyz[2, j] - xyz[2, i]
    reach = cutoff + math.sqrt(x * x + y * y + z * z)
    count = _within(translations[3, first:last], reach)
    return x, y, z, translations[:, first + (i == j) : first + max(count, 1)]


@numba.njit(**OPTIONS)
def lattice_counts(
    start: int, stop: int, xyz: np.ndarray, ends: np.ndarray, system_idx: np.ndarray, starts: np.ndarray,
    translations: np.ndarray, radii: np.ndarray, form: tuple, counts: np.ndarray,
) -> None:  # fmt: skip
    """Coordination numbers (n_slots, n_atoms)."""
    n_slots, n_atoms = counts.shape
    for slot in range(start, stop):
        for i in range(slot, n_atoms, n_slots):
            first, last = starts[system_idx[i]], starts[system_idx[i] + 1]
            for j in range(i, ends[i]):
                x, y, z, t = _images(i, j, xyz, first, last, translations, form[5])
                count = _sum_counts(t, x, y, z, radii[i] + radii[j], form)
                counts[slot, i] += count
                if j != i:
                    counts[slot, j] += count


@numba.njit(**OPTIONS)
def lattice_pairs(
    start: int, stop: int, xyz: np.ndarray, ends: np.ndarray, system_idx: np.ndarray, starts: np.ndarray,
    translations: np.ndarray, roots: np.ndarray, weights: np.ndarray, norms: np.ndarray, species: np.ndarray,
    projected: np.ndarray, form: tuple, upstream: np.ndarray, energies: np.ndarray, by_cn: np.ndarray,
    gradient: np.ndarray, virial: np.ndarray,
) -> None:  # fmt: skip
    """Energies and derivatives by CN (n_slots, n), and at fixed CN by xyz (n_slots, 3, n) and by strain."""
    n_slots, n_atoms = energies.shape
    for slot in range(start, stop):
        for i in range(slot, n_atoms, n_slots):
            system = system_idx[i]
            for j in range(i, ends[i]):
                x, y, z, t = _images(i, j, xyz, starts[system], starts[system + 1], translations, form[4])
                value, sums = _sum_pairs(t, x, y, z, roots[i] * roots[j], form)
                c6, by_i, by_j = pair_c6(i, j, weights, norms, species, projected)
                share = 0.5 if i == j else 1.0
                weight = -0.5 * share * (upstream[i] + upstream[j])
                energies[slot, i] -= 0.5 * share * c6 * value
                energies[slot, j] -= 0.5 * share * c6 * value
                by_cn[slot, i] += weight * by_i * value
                by_cn[slot, j] += weight * by_j * value
                _add(i, j, weight * c6, sums, gradient[slot], virial[slot, system])


@numba.njit(**OPTIONS)
def lattice_count_gradient(
    start: int, stop: int, xyz: np.ndarray, ends: np.ndarray, system_idx: np.ndarray, starts: np.ndarray,
    translations: np.ndarray, radii: np.ndarray, by_cn: np.ndarray, form: tuple, gradient: np.ndarray,
    virial: np.ndarray,
) -> None:  # fmt: skip
    """Add the gradients by xyz and by strain that come from the change of coordination numbers."""
    n_slots, _, n_atoms = gradient.shape
    for slot in range(start, stop):
        for i in range(slot, n_atoms, n_slots):
            system = system_idx[i]
            for j in range(i, ends[i]):
                x, y, z, t = _images(i, j, xyz, starts[system], starts[system + 1], translations, form[5])
                sums = _sum_count_slopes(t, x, y, z, radii[i] + radii[j], form)
                share = 0.5 if i == j else 1.0
                _add(i, j, share * (by_cn[i] + by_cn[j]), sums, gradient[slot], virial[slot, system])
