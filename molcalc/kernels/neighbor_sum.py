"""Compiled neighbor sum (see :mod:`molcalc.nn.neighbor_sum`).

Arrays are flat; features are (n_atoms, C, 16), the basis (n_edges, 4, 16), sums (n_atoms, 4, C, 16). ``first``
holds where the edges of each atom begin, ``source`` the neighbor of each edge. Import only where numba is available.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
from torch import Tensor

from molcalc.kernels.differentiation import CompiledFunction, Gradients, Tensors, Wanted, differentiable
from molcalc.kernels.runtime import OPTIONS, WIDTH, array, flat, share_range
from molcalc.kernels.simd import fma, load_row, store_row, zero


@numba.njit(**OPTIONS)
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
                f, h = load_row(features, at), load_row(features, at + WIDTH)
                at = e * 4 * WIDTH
                b0, b1 = load_row(basis, at), load_row(basis, at + WIDTH)
                b2, b3 = load_row(basis, at + 2 * WIDTH), load_row(basis, at + 3 * WIDTH)
                p0, p1, p2, p3 = fma(b0, f, p0), fma(b1, f, p1), fma(b2, f, p2), fma(b3, f, p3)
                q0, q1, q2, q3 = fma(b0, h, q0), fma(b1, h, q1), fma(b2, h, q2), fma(b3, h, q3)
            at = i * 4 * size + c * WIDTH
            store_row(sums, at, p0)
            store_row(sums, at + size, p1)
            store_row(sums, at + 2 * size, p2)
            store_row(sums, at + 3 * size, p3)
            at += WIDTH
            store_row(sums, at, q0)
            store_row(sums, at + size, q1)
            store_row(sums, at + 2 * size, q2)
            store_row(sums, at + 3 * size, q3)
        if n_channels % 2:
            c = n_channels - 1
            p0 = p1 = p2 = p3 = zero(features)
            for e in range(first[i], first[i + 1]):
                f = load_row(features, source[e] * size + c * WIDTH)
                at = e * 4 * WIDTH
                p0, p1 = fma(load_row(basis, at), f, p0), fma(load_row(basis, at + WIDTH), f, p1)
                p2 = fma(load_row(basis, at + 2 * WIDTH), f, p2)
                p3 = fma(load_row(basis, at + 3 * WIDTH), f, p3)
            at = i * 4 * size + c * WIDTH
            store_row(sums, at, p0)
            store_row(sums, at + size, p1)
            store_row(sums, at + 2 * size, p2)
            store_row(sums, at + 3 * size, p3)


@numba.njit(**OPTIONS)
def spread(
    start: int, stop: int, first: np.ndarray, source: np.ndarray, basis: np.ndarray, sums: np.ndarray,
    n_channels: int, features: np.ndarray,
) -> None:  # fmt: skip
    """features[source[e], c, k] += Σ_x basis[e, x, k] · sums[i, x, c, k] for channels start…stop."""
    size = n_channels * WIDTH
    for i in range(first.shape[0] - 1):
        for e in range(first[i], first[i + 1]):
            at = e * 4 * WIDTH
            b0, b1 = load_row(basis, at), load_row(basis, at + WIDTH)
            b2, b3 = load_row(basis, at + 2 * WIDTH), load_row(basis, at + 3 * WIDTH)
            for c in range(start, stop):
                to = source[e] * size + c * WIDTH
                at = i * 4 * size + c * WIDTH
                row = fma(b0, load_row(sums, at), load_row(features, to))
                row = fma(b1, load_row(sums, at + size), row)
                row = fma(b2, load_row(sums, at + 2 * size), row)
                store_row(features, to, fma(b3, load_row(sums, at + 3 * size), row))


@numba.njit(**OPTIONS)
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
                f = load_row(features, source[e] * size + c * WIDTH)
                at = i * 4 * size + c * WIDTH
                p0, p1 = fma(load_row(sums, at), f, p0), fma(load_row(sums, at + size), f, p1)
                p2 = fma(load_row(sums, at + 2 * size), f, p2)
                p3 = fma(load_row(sums, at + 3 * size), f, p3)
            at = e * 4 * WIDTH
            store_row(basis, at, p0)
            store_row(basis, at + WIDTH, p1)
            store_row(basis, at + 2 * WIDTH, p2)
            store_row(basis, at + 3 * WIDTH, p3)


def neighbor_sum(
    features: Tensor, basis: Tensor, first: Tensor, source: Tensor, formula: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Weighted sum of the neighbors' features; see above for shapes.

    Parameters
    ----------
    formula : the same in torch operations, as a function of features and basis.

    Returns
    -------
    the sums, in the dtype of the features
    """
    return differentiable(_NeighborSum(first, source, formula), features, basis)[0]


@dataclass(frozen=True)
class _NeighborSum(CompiledFunction):
    """The sum is linear in features a and basis b: its gradients are the two other contractions of the same arrays."""

    first: Tensor
    source: Tensor
    in_torch: Callable[[Tensor, Tensor], Tensor]
    twice = (0, 1)

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        return (self._gather(*inputs),), ()

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients:
        features, basis = inputs
        by_features = self._spread(basis, upstream[0]) if wanted(0) else None
        return by_features, self._contract(features, upstream[0]) if wanted(1) else None

    def second(self, inputs: Tensors, kept: Tensors, upstream: Tensors, tangents: Tensors, wanted: Wanted) -> Gradients:
        (features, basis), (along_features, along_basis), sums = inputs, tangents, upstream[0]
        return (
            self._spread(along_basis, sums) if wanted(0) else None,
            self._contract(along_features, sums) if wanted(1) else None,
            self._gather(along_features, basis) + self._gather(features, along_basis) if wanted(2) else None,
        )

    def formula(self, *inputs: Tensor) -> Tensors:
        return (self.in_torch(*inputs),)

    def _gather(self, features: Tensor, basis: Tensor) -> Tensor:
        n_atoms, n_channels, n_radial = features.shape
        sums = features.new_empty(n_atoms, 4, n_channels, n_radial)
        work = 4.0 * len(basis) * n_channels * n_radial
        share_range(gather, n_atoms, work, *self._edges(), flat(features), flat(basis), n_channels, flat(sums))
        return sums

    def _spread(self, basis: Tensor, sums: Tensor) -> Tensor:
        n_atoms, _, n_channels, n_radial = sums.shape
        features = sums.new_zeros(n_atoms, n_channels, n_radial)
        work = 4.0 * len(basis) * n_channels * n_radial
        share_range(spread, n_channels, work, *self._edges(), flat(basis), flat(sums), n_channels, flat(features))
        return features

    def _contract(self, features: Tensor, sums: Tensor) -> Tensor:
        n_atoms, n_channels, n_radial = features.shape
        basis = features.new_empty(len(self.source), 4, n_radial)
        work = 4.0 * len(basis) * n_channels * n_radial
        share_range(contract, n_atoms, work, *self._edges(), flat(features), flat(sums), n_channels, flat(basis))
        return basis

    def _edges(self) -> tuple[np.ndarray, np.ndarray]:
        return array(self.first), array(self.source)
