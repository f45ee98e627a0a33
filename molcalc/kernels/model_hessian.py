"""Compiled loops of the model of second derivatives (see :mod:`molcalc.simulate.model_hessian`).

Edges come in both directions, one half after the other; ``order`` sorts them by the atom that they start from, and
``starts`` says where those of each atom begin in it. Import only where numba is available.
"""

import math

import numba
import numpy as np

from molcalc.kernels.runtime import OPTIONS


@numba.njit(**OPTIONS)
def _add(atoms, slopes, constant, n_ends, hessian):  # type: ignore[no-untyped-def]
    """Add k·(dq/dR)(dq/dR)ᵀ of one internal coordinate q."""
    for a in range(n_ends):
        for x in range(3):
            factor = constant * slopes[a, x]
            for b in range(n_ends):
                for y in range(3):
                    hessian[atoms[a], x, atoms[b], y] += factor * slopes[b, y]


@numba.njit(inline="always", **OPTIONS)
def _dot(u, a, v, b):  # type: ignore[no-untyped-def]
    return u[a, 0] * v[b, 0] + u[a, 1] * v[b, 1] + u[a, 2] * v[b, 2]


@numba.njit(**OPTIONS)
def add_stretches(
    index: np.ndarray, units: np.ndarray, strengths: np.ndarray, constant: float, hessian: np.ndarray
) -> None:
    """Stretches of the first half of the edges."""
    atoms, slopes = np.empty(2, dtype=np.int64), np.empty((2, 3))
    for e in range(index.shape[1] // 2):
        atoms[0], atoms[1] = index[0, e], index[1, e]
        for x in range(3):
            slopes[0, x], slopes[1, x] = -units[e, x], units[e, x]
        _add(atoms, slopes, constant * strengths[e], 2, hessian)


@numba.njit(**OPTIONS)
def add_bends(
    index: np.ndarray, order: np.ndarray, starts: np.ndarray, units: np.ndarray, lengths: np.ndarray,
    strengths: np.ndarray, weakest: float, smallest_sine: float, constant: float, hessian: np.ndarray,
) -> None:  # fmt: skip
    """Bends between two edges from one atom whose strengths make more than ``weakest``."""
    atoms, slopes = np.empty(3, dtype=np.int64), np.empty((3, 3))
    for i in range(starts.size - 1):
        for p in range(starts[i], starts[i + 1]):
            one = order[p]
            for q in range(p + 1, starts[i + 1]):
                two = order[q]
                strength = strengths[one] * strengths[two]
                if min(strengths[one], strengths[two], strength) <= weakest:
                    continue
                cosine = _dot(units, one, units, two)
                sine = math.sqrt(max(1.0 - cosine * cosine, 0.0))
                if sine <= smallest_sine:
                    continue
                atoms[0], atoms[1], atoms[2] = index[1, one], i, index[1, two]
                for x in range(3):
                    slopes[0, x] = (cosine * units[one, x] - units[two, x]) / (sine * lengths[one])
                    slopes[2, x] = (cosine * units[two, x] - units[one, x]) / (sine * lengths[two])
                    slopes[1, x] = -slopes[0, x] - slopes[2, x]
                _add(atoms, slopes, constant * strength, 3, hessian)


@numba.njit(**OPTIONS)
def add_torsions(
    index: np.ndarray, order: np.ndarray, starts: np.ndarray, vectors: np.ndarray, units: np.ndarray,
    strengths: np.ndarray, weakest: float, straight: float, constant: float, hessian: np.ndarray,
) -> None:  # fmt: skip
    """Torsions i–j–k–l about the edges j–k of the first half, with edges j–i and k–l."""
    atoms, slopes = np.empty(4, dtype=np.int64), np.empty((4, 3))
    for m in range(index.shape[1] // 2):
        j, k = index[0, m], index[1, m]
        if strengths[m] <= weakest:
            continue
        length = math.sqrt(_dot(vectors, m, vectors, m))
        for p in range(starts[j], starts[j + 1]):
            a = order[p]
            if strengths[a] <= weakest or index[1, a] == k or abs(_dot(units, a, units, m)) >= straight:
                continue
            for q in range(starts[k], starts[k + 1]):
                b = order[q]
                strength = strengths[a] * strengths[m] * strengths[b]
                if min(strength, strengths[b]) <= weakest or index[1, b] == j or index[1, b] == index[1, a]:
                    continue
                if abs(_dot(units, b, units, m)) >= straight:
                    continue
                atoms[0], atoms[1], atoms[2], atoms[3] = index[1, a], j, k, index[1, b]
                _torsion_slopes(vectors[a], vectors[m], vectors[b], length, slopes)
                _add(atoms, slopes, constant * strength, 4, hessian)


@numba.njit(**OPTIONS)
def _torsion_slopes(to_i, axis, to_l, length, slopes):  # type: ignore[no-untyped-def]
    """Derivatives by i, j, k, l from the vectors j→i, j→k and k→l."""
    one_x = -(to_i[1] * axis[2] - to_i[2] * axis[1])
    one_y = -(to_i[2] * axis[0] - to_i[0] * axis[2])
    one_z = -(to_i[0] * axis[1] - to_i[1] * axis[0])
    two_x = axis[1] * to_l[2] - axis[2] * to_l[1]
    two_y = axis[2] * to_l[0] - axis[0] * to_l[2]
    two_z = axis[0] * to_l[1] - axis[1] * to_l[0]
    of_i = -length / (one_x * one_x + one_y * one_y + one_z * one_z)
    of_l = length / (two_x * two_x + two_y * two_y + two_z * two_z)
    along_i = -(to_i[0] * axis[0] + to_i[1] * axis[1] + to_i[2] * axis[2]) / (length * length)
    along_l = (to_l[0] * axis[0] + to_l[1] * axis[1] + to_l[2] * axis[2]) / (length * length)
    slopes[0, 0], slopes[0, 1], slopes[0, 2] = of_i * one_x, of_i * one_y, of_i * one_z
    slopes[3, 0], slopes[3, 1], slopes[3, 2] = of_l * two_x, of_l * two_y, of_l * two_z
    for x in range(3):
        slopes[1, x] = -(1.0 + along_i) * slopes[0, x] + along_l * slopes[3, x]
        slopes[2, x] = -slopes[0, x] - slopes[1, x] - slopes[3, x]
