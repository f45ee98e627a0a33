"""Compiled loops of the three-body term; see :mod:`molcalc.kernels.dispersion_molecules` for conventions.

The energy of a triple is a product over its sides, but for the angular factor. What belongs to one side is
computed once per pair: ``geometry`` = S(r) r⁻³, its logarithmic derivative by r², ``damping`` = (4/3 R_vdW / r)^(16/3)
and the square root of C6. Matrices over atoms of one structure are (n_atoms, size of the largest structure).
"""

import math

import numba
import numpy as np

from molcalc.kernels.dispersion_listed import pair_c6
from molcalc.kernels.dispersion_rows import switch
from molcalc.kernels.runtime import OPTIONS, RECIPROCALS


@numba.njit(**OPTIONS)
def c6_roots(
    start: int, stop: int, bounds: np.ndarray, system_idx: np.ndarray, weights: np.ndarray, species: np.ndarray,
    projected: np.ndarray, roots: np.ndarray,
) -> None:  # fmt: skip
    """Square roots of C6 of all atoms with all atoms of their structure."""
    no_norms = np.empty(0)
    for i in range(start, stop):
        first, last = bounds[system_idx[i]], bounds[system_idx[i] + 1]
        for k in range(first, last):
            roots[i, k - first] = math.sqrt(pair_c6(i, k, weights, no_norms, species, projected)[0])


@numba.njit(**RECIPROCALS)
def _side_factors(squared: np.ndarray, cutoff: float, width: float, factors: np.ndarray) -> None:
    """Rows of ``factors``: S r⁻³, its logarithmic derivative by r², and r^(−16/3).

    The cube root starts from r^(−5/8), which is within 20 % for 0.3 < r < 60 Bohr; each Newton step then
    squares the error.
    """
    geometry, logarithmic, power = factors[0], factors[1], factors[2]
    for k in range(squared.shape[0]):
        inverse = 1.0 / squared[k]
        r = math.sqrt(squared[k])
        scale, change = switch(r, cutoff, width)
        geometry[k] = scale * inverse / r
        logarithmic[k] = -1.5 * inverse + (0.5 * change / (r * scale) if scale > 0.0 else 0.0)
    for k in range(squared.shape[0]):
        fourth = math.sqrt(math.sqrt(1.0 / squared[k]))
        root = fourth * math.sqrt(math.sqrt(fourth))
        for _ in range(6):
            root *= (4.0 - squared[k] * root * root * root) * (1.0 / 3.0)
        eighth = root * root
        eighth *= eighth
        power[k] = eighth * eighth


@numba.njit(**OPTIONS)
def pair_factors(squared: np.ndarray, vdw: np.ndarray, cutoff: float, width: float, factors: np.ndarray) -> None:
    """The rows of ``factors`` (3, n_pairs) named at the top; ``vdw`` is (4/3 R_vdW)^(16/3) per pair."""
    _side_factors(squared, cutoff, width, factors)
    for k in range(squared.shape[0]):
        factors[2, k] *= vdw[k]


@numba.njit(**OPTIONS)
def triples(
    start: int, stop: int, groups: np.ndarray, partners: np.ndarray, vectors: np.ndarray, squared: np.ndarray,
    factors: np.ndarray, vdw: np.ndarray, species: np.ndarray, offsets: np.ndarray, roots: np.ndarray,
    form: tuple, upstream: np.ndarray, energies: np.ndarray, by_log_c9: np.ndarray, by_vectors: np.ndarray,
) -> None:  # fmt: skip
    """Energies (n_slots, n), and derivatives by pair vectors (3, n_pairs) and by ln C9 (n_slots, n, size).

    The pairs of atom i are groups[i]:groups[i+1]; slot s takes atoms s, s + n_slots, …; ``form`` is
    (s9, cutoff, width); offsets[i] is the first atom of the structure of atom i.
    """
    s9, cutoff, width = form
    n_slots, n_atoms = energies.shape
    size = partners.shape[0]
    chosen, third, difference, third_factors = (
        np.empty(size, np.int64), np.empty(size), np.empty((3, size)), np.empty((3, size)),
    )  # fmt: skip
    for slot in range(start, stop):
        for i in range(slot, n_atoms, n_slots):
            offset = offsets[i]
            for p in range(groups[i], groups[i + 1]):
                n = _third_sides(p, groups[i + 1], vectors, cutoff, chosen, difference, third)
                _side_factors(third[:n], cutoff, width, third_factors[:, :n])
                j, a = partners[p], squared[p]
                fx = fy = fz = 0.0
                for m in range(n):
                    q = chosen[m]
                    k, b, c = partners[q], squared[q], third[m]
                    product = roots[i, j - offset] * roots[i, k - offset] * roots[j, k - offset]
                    g = s9 * product * factors[0, p] * factors[0, q] * third_factors[0, m]
                    y = factors[2, p] * factors[2, q] * third_factors[2, m] * vdw[species[j], species[k]]
                    inverse = 0.375 / (a * b * c)
                    u, v, w = a + c - b, a - c + b, b + c - a
                    angular = u * v * w
                    damped = g / (1.0 + 6.0 * y)
                    energy = damped * (1.0 + inverse * angular)
                    for atom in (i, j, k):
                        energies[slot, atom] += energy / 3.0
                    weight = (upstream[i] + upstream[j] + upstream[k]) / 3.0
                    energy *= weight
                    by_log_c9[slot, i, j - offset] += energy
                    by_log_c9[slot, i, k - offset] += energy
                    by_log_c9[slot, j, k - offset] += energy
                    damped *= weight * inverse
                    steep = 16.0 * y / (1.0 + 6.0 * y)
                    by_a = energy * (factors[1, p] + steep / a) + damped * (v * w + u * w - u * v - angular / a)
                    by_b = energy * (factors[1, q] + steep / b) + damped * (u * w + u * v - v * w - angular / b)
                    by_c = energy * (third_factors[1, m] + steep / c)
                    by_c = 2.0 * (by_c + damped * (v * w + u * v - u * w - angular / c))
                    x, y, z = by_c * difference[0, m], by_c * difference[1, m], by_c * difference[2, m]
                    fx += 2.0 * by_a * vectors[0, p] - x
                    fy += 2.0 * by_a * vectors[1, p] - y
                    fz += 2.0 * by_a * vectors[2, p] - z
                    by_vectors[0, q] += 2.0 * by_b * vectors[0, q] + x
                    by_vectors[1, q] += 2.0 * by_b * vectors[1, q] + y
                    by_vectors[2, q] += 2.0 * by_b * vectors[2, q] + z
                by_vectors[0, p] += fx
                by_vectors[1, p] += fy
                by_vectors[2, p] += fz


@numba.njit(**OPTIONS)
def _third_sides(
    p: int, last: int, vectors: np.ndarray, cutoff: float, chosen: np.ndarray, difference: np.ndarray,
    squared: np.ndarray,
) -> int:  # fmt: skip
    """Later pairs q of the same atom whose far ends are within the cutoff of that of pair p."""
    n, limit = 0, cutoff * cutoff
    px, py, pz = vectors[0, p], vectors[1, p], vectors[2, p]
    for q in range(p + 1, last):
        x, y, z = vectors[0, q] - px, vectors[1, q] - py, vectors[2, q] - pz
        r2 = x * x + y * y + z * z
        if not r2 > limit:
            chosen[n], squared[n] = q, r2
            difference[0, n], difference[1, n], difference[2, n] = x, y, z
            n += 1
    return n


@numba.njit(**OPTIONS)
def add_by_cn(
    bounds: np.ndarray, system_idx: np.ndarray, weights: np.ndarray, species: np.ndarray, projected: np.ndarray,
    by_log_c9: np.ndarray, by_cn: np.ndarray,
) -> None:  # fmt: skip
    """Turn derivatives by ln C9 = ½ Σ ln C6 + const. into derivatives by the coordination numbers."""
    no_norms = np.empty(0)
    for i in range(by_log_c9.shape[0]):
        first, last = bounds[system_idx[i]], bounds[system_idx[i] + 1]
        for k in range(first, last):
            if by_log_c9[i, k - first] != 0.0:
                c6, by_i, by_k = pair_c6(i, k, weights, no_norms, species, projected)
                by_c6 = 0.5 * by_log_c9[i, k - first] / c6
                by_cn[i] += by_c6 * by_i
                by_cn[k] += by_c6 * by_k
