"""Compiled loops of the neighbor sum (see :mod:`molcalc.nn.neighbor_sum`).

Arrays are flat; features are (n_atoms, C, 16), the basis (n_edges, 4, 16), sums (n_atoms, 4, C, 16). ``first``
holds where the edges of each atom begin, ``source`` the neighbor of each edge. Import only where numba is available.
"""

import numba
import numpy as np

from molcalc.kernels.simd import WIDTH, fma, load, store, zero

_OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy", "boundscheck": False}


@numba.njit(**_OPTIONS)
def gather(
    start: int, stop: int, first: np.ndarray, source: np.ndarray, features: np.ndarray, basis: np.ndarray,
    n_channels: int, sums: np.ndarray,
) -> None:  # fmt: skip
    """sums[i, x, c, k] = Σ_e basis[e, x, k] · features[source[e], c, k] for atoms start…stop."""
    size = n_channels * WIDTH
    for i in range(start, stop):
        for c in range(0, n_channels - 1, 2):  # two channels share the loads of the basis
            p0 = p1 = p2 = p3 = q0 = q1 = q2 = q3 = zero(features)
            for e in range(first[i], first[i + 1]):
                at = source[e] * size + c * WIDTH
                f, h = load(features, at), load(features, at + WIDTH)
                at = e * 4 * WIDTH
                b0, b1 = load(basis, at), load(basis, at + WIDTH)
                b2, b3 = load(basis, at + 2 * WIDTH), load(basis, at + 3 * WIDTH)
                p0, p1, p2, p3 = fma(b0, f, p0), fma(b1, f, p1), fma(b2, f, p2), fma(b3, f, p3)
                q0, q1, q2, q3 = fma(b0, h, q0), fma(b1, h, q1), fma(b2, h, q2), fma(b3, h, q3)
            at = i * 4 * size + c * WIDTH
            store(sums, at, p0)
            store(sums, at + size, p1)
            store(sums, at + 2 * size, p2)
            store(sums, at + 3 * size, p3)
            at += WIDTH
            store(sums, at, q0)
            store(sums, at + size, q1)
            store(sums, at + 2 * size, q2)
            store(sums, at + 3 * size, q3)
        if n_channels % 2:
            c = n_channels - 1
            p0 = p1 = p2 = p3 = zero(features)
            for e in range(first[i], first[i + 1]):
                f = load(features, source[e] * size + c * WIDTH)
                at = e * 4 * WIDTH
                p0, p1 = fma(load(basis, at), f, p0), fma(load(basis, at + WIDTH), f, p1)
                p2 = fma(load(basis, at + 2 * WIDTH), f, p2)
                p3 = fma(load(basis, at + 3 * WIDTH), f, p3)
            at = i * 4 * size + c * WIDTH
            store(sums, at, p0)
            store(sums, at + size, p1)
            store(sums, at + 2 * size, p2)
            store(sums, at + 3 * size, p3)


@numba.njit(**_OPTIONS)
def spread(
    start: int, stop: int, first: np.ndarray, source: np.ndarray, basis: np.ndarray, sums: np.ndarray,
    n_channels: int, features: np.ndarray,
) -> None:  # fmt: skip
    """features[source[e], c, k] += Σ_x basis[e, x, k] · sums[i, x, c, k] for channels start…stop."""
    size = n_channels * WIDTH
    for i in range(first.shape[0] - 1):
        for e in range(first[i], first[i + 1]):
            at = e * 4 * WIDTH
            b0, b1 = load(basis, at), load(basis, at + WIDTH)
            b2, b3 = load(basis, at + 2 * WIDTH), load(basis, at + 3 * WIDTH)
            for c in range(start, stop):
                to = source[e] * size + c * WIDTH
                at = i * 4 * size + c * WIDTH
                row = fma(b0, load(sums, at), load(features, to))
                row = fma(b1, load(sums, at + size), row)
                row = fma(b2, load(sums, at + 2 * size), row)
                store(features, to, fma(b3, load(sums, at + 3 * size), row))


@numba.njit(**_OPTIONS)
def contract(
    start: int, stop: int, first: np.ndarray, source: np.ndarray, features: np.ndarray, sums: np.ndarray,
    n_channels: int, basis: np.ndarray,
) -> None:  # fmt: skip
    """basis[e, x, k] = Σ_c features[source[e], c, k] · sums[i, x, c, k] for edges of atoms start…stop."""
    size = n_channels * WIDTH
    for i in range(start, stop):
        for e in range(first[i], first[i + 1]):
            p0 = p1 = p2 = p3 = zero(features)
            for c in range(n_channels):
                f = load(features, source[e] * size + c * WIDTH)
                at = i * 4 * size + c * WIDTH
                p0, p1 = fma(load(sums, at), f, p0), fma(load(sums, at + size), f, p1)
                p2 = fma(load(sums, at + 2 * size), f, p2)
                p3 = fma(load(sums, at + 3 * size), f, p3)
            at = e * 4 * WIDTH
            store(basis, at, p0)
            store(basis, at + WIDTH, p1)
            store(basis, at + 2 * WIDTH, p2)
            store(basis, at + 3 * WIDTH, p3)
