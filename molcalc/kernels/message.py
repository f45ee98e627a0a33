"""Compiled message of AIMNet2 (see :mod:`molcalc.nn.message`). Import only where numba is available.

Arrays are flat: features (n_atoms, A, 16), charges (n_atoms, Q), the basis (n_edges, 4, 16), messages (n_atoms, width).
Channels are the A of the features and then the Q of the charges. Weights are (A + Q, 16, 16), row k of a channel
holding W_kh in its first H lanes and zeros behind; ``turned`` are the same with rows h. ``first`` holds where the edges
of each atom begin, ``source`` the neighbor of each edge; ``scalars_at`` and ``norms_at`` are the columns of each
channel, -1 for scalars that are not there. Neighbor sums of one atom at a time, (4, A + Q, 16), stay in the cache of
the processor.

What atoms add to their neighbors goes to as many arrays as there are parts, which several threads can work on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from molcalc.kernels.differentiation import CompiledFunction, Gradients, Tensors, Wanted, differentiable
from molcalc.kernels.runtime import OPTIONS, WIDTH, array, flat, share_range, slots_for
from molcalc.kernels.simd import fma, load_first, load_row, mul, splat, splat_at, store_first, store_row, zero


@numba.njit(**OPTIONS)
def _gather(begin, end, source, features, charges, basis, n_own, n_charges, add, sums):  # type: ignore[no-untyped-def]
    """sums[x, c] = Σ_e basis[e, x] · channel c of the source, for the edges of one atom; or added to ``sums``."""
    size = (n_own + n_charges) * WIDTH
    for c in range(0, n_own - 1, 2):  # two channels share the loads of the basis
        at = c * WIDTH
        p0 = p1 = p2 = p3 = q0 = q1 = q2 = q3 = zero(features)
        if add:
            p0, p1, p2, p3 = (
                load_row(sums, at),
                load_row(sums, at + size),
                load_row(sums, at + 2 * size),
                load_row(sums, at + 3 * size),
            )
            at += WIDTH
            q0, q1, q2, q3 = (
                load_row(sums, at),
                load_row(sums, at + size),
                load_row(sums, at + 2 * size),
                load_row(sums, at + 3 * size),
            )
            at -= WIDTH
        for e in range(begin, end):
            of = (source[e] * n_own + c) * WIDTH
            f, h = load_row(features, of), load_row(features, of + WIDTH)
            of = e * 4 * WIDTH
            b0, b1 = load_row(basis, of), load_row(basis, of + WIDTH)
            b2, b3 = load_row(basis, of + 2 * WIDTH), load_row(basis, of + 3 * WIDTH)
            p0, p1, p2, p3 = fma(b0, f, p0), fma(b1, f, p1), fma(b2, f, p2), fma(b3, f, p3)
            q0, q1, q2, q3 = fma(b0, h, q0), fma(b1, h, q1), fma(b2, h, q2), fma(b3, h, q3)
        store_row(sums, at, p0)
        store_row(sums, at + size, p1)
        store_row(sums, at + 2 * size, p2)
        store_row(sums, at + 3 * size, p3)
        at += WIDTH
        store_row(sums, at, q0)
        store_row(sums, at + size, q1)
        store_row(sums, at + 2 * size, q2)
        store_row(sums, at + 3 * size, q3)
    for c in range(n_own - n_own % 2, n_own + n_charges):
        at = c * WIDTH
        p0 = p1 = p2 = p3 = zero(features)
        if add:
            p0, p1, p2, p3 = (
                load_row(sums, at),
                load_row(sums, at + size),
                load_row(sums, at + 2 * size),
                load_row(sums, at + 3 * size),
            )
        for e in range(begin, end):
            f = zero(features)
            if c < n_own:
                f = load_row(features, (source[e] * n_own + c) * WIDTH)
            else:
                f = splat_at(charges, source[e] * n_charges + c - n_own)
            of = e * 4 * WIDTH
            p0, p1 = fma(load_row(basis, of), f, p0), fma(load_row(basis, of + WIDTH), f, p1)
            p2 = fma(load_row(basis, of + 2 * WIDTH), f, p2)
            p3 = fma(load_row(basis, of + 3 * WIDTH), f, p3)
        store_row(sums, at, p0)
        store_row(sums, at + size, p1)
        store_row(sums, at + 2 * size, p2)
        store_row(sums, at + 3 * size, p3)


@numba.njit(**OPTIONS)
def _spread(begin, end, source, basis, n_own, n_charges, sums, features, charges):  # type: ignore[no-untyped-def]
    """Channel c of the source += Σ_x basis[e, x] · sums[x, c]; charges get the sixteen terms of their sum over k."""
    size = (n_own + n_charges) * WIDTH
    for e in range(begin, end):
        at = e * 4 * WIDTH
        b0, b1 = load_row(basis, at), load_row(basis, at + WIDTH)
        b2, b3 = load_row(basis, at + 2 * WIDTH), load_row(basis, at + 3 * WIDTH)
        for c in range(n_own + n_charges):
            to, at = (source[e] * n_own + c) * WIDTH, c * WIDTH
            row = zero(features)
            if c < n_own:
                row = load_row(features, to)
            else:
                to = (source[e] * n_charges + c - n_own) * WIDTH
                row = load_row(charges, to)
            row = fma(b0, load_row(sums, at), row)
            row = fma(b1, load_row(sums, at + size), row)
            row = fma(b2, load_row(sums, at + 2 * size), row)
            row = fma(b3, load_row(sums, at + 3 * size), row)
            if c < n_own:
                store_row(features, to, row)
            else:
                store_row(charges, to, row)


@numba.njit(**OPTIONS)
def _contract(begin, end, source, features, charges, n_own, n_charges, sums, add, basis):  # type: ignore[no-untyped-def]
    """basis[e, x] = Σ_c channel c of the source · sums[x, c]; or added to ``basis``."""
    size = (n_own + n_charges) * WIDTH
    for e in range(begin, end):
        to = e * 4 * WIDTH
        p0 = p1 = p2 = p3 = zero(features)
        if add:
            p0, p1 = load_row(basis, to), load_row(basis, to + WIDTH)
            p2, p3 = load_row(basis, to + 2 * WIDTH), load_row(basis, to + 3 * WIDTH)
        for c in range(n_own + n_charges):
            f = zero(features)
            if c < n_own:
                f = load_row(features, (source[e] * n_own + c) * WIDTH)
            else:
                f = splat_at(charges, source[e] * n_charges + c - n_own)
            at = c * WIDTH
            p0, p1 = fma(load_row(sums, at), f, p0), fma(load_row(sums, at + size), f, p1)
            p2, p3 = fma(load_row(sums, at + 2 * size), f, p2), fma(load_row(sums, at + 3 * size), f, p3)
        store_row(basis, to, p0)
        store_row(basis, to + WIDTH, p1)
        store_row(basis, to + 2 * WIDTH, p2)
        store_row(basis, to + 3 * WIDTH, p3)


@numba.njit(inline="always", **OPTIONS)
def _combined(values, at, step, weights, weights_at):  # type: ignore[no-untyped-def]
    """Rows Σ_k values[at + x step + k] · weights[k] of x = 0, 1, 2."""
    p0 = p1 = p2 = q0 = q1 = q2 = zero(weights)
    for k in range(0, WIDTH, 2):  # two chains of sums, because each waits for itself
        row = load_row(weights, weights_at + k * WIDTH)
        p0 = fma(splat_at(values, at + k), row, p0)
        p1 = fma(splat_at(values, at + step + k), row, p1)
        p2 = fma(splat_at(values, at + 2 * step + k), row, p2)
        row = load_row(weights, weights_at + (k + 1) * WIDTH)
        q0 = fma(splat_at(values, at + k + 1), row, q0)
        q1 = fma(splat_at(values, at + step + k + 1), row, q1)
        q2 = fma(splat_at(values, at + 2 * step + k + 1), row, q2)
    one = splat(weights, 1.0)
    return fma(p0, one, q0), fma(p1, one, q1), fma(p2, one, q2)


@numba.njit(inline="always", **OPTIONS)
def _turned_back(x0, x1, x2, buffer, turned, turned_at, sums, at, step):  # type: ignore[no-untyped-def]
    """sums[at + x step] = Σ_h x_h turned[h], the way back of ``_combined``."""
    store_row(buffer, 0, x0)
    store_row(buffer, WIDTH, x1)
    store_row(buffer, 2 * WIDTH, x2)
    v0, v1, v2 = _combined(buffer, 0, WIDTH, turned, turned_at)
    store_row(sums, at, v0)
    store_row(sums, at + step, v1)
    store_row(sums, at + 2 * step, v2)


@numba.njit(inline="always", **OPTIONS)
def _outer(values, at, step, x0, x1, x2, result, result_at):  # type: ignore[no-untyped-def]
    """result[k] += Σ_x values[at + x step + k] · x."""
    for k in range(WIDTH):
        row = load_row(result, result_at + k * WIDTH)
        row = fma(splat_at(values, at + k), x0, row)
        row = fma(splat_at(values, at + step + k), x1, row)
        store_row(result, result_at + k * WIDTH, fma(splat_at(values, at + 2 * step + k), x2, row))


@numba.njit(**OPTIONS)
def push(
    start: int, stop: int, first: np.ndarray, source: np.ndarray, features: np.ndarray, charges: np.ndarray,
    basis: np.ndarray, weights: np.ndarray, n_own: int, n_charges: int, scalars_at: np.ndarray, norms_at: np.ndarray,
    n_norms: int, width: int, message: np.ndarray,
) -> None:  # fmt: skip
    """S and Σ_x U_x² of the messages of atoms start…stop; other columns stay as they are."""
    size = (n_own + n_charges) * WIDTH
    sums = np.empty(4 * size, dtype=features.dtype)
    for i in range(start, stop):
        _gather(first[i], first[i + 1], source, features, charges, basis, n_own, n_charges, False, sums)
        for c in range(n_own + n_charges):
            at, to = c * WIDTH, i * width
            if scalars_at[c] >= 0:
                store_row(message, to + scalars_at[c], load_row(sums, at))
            u0, u1, u2 = _combined(sums, at + size, size, weights, c * WIDTH * WIDTH)
            store_first(message, to + norms_at[c], fma(u0, u0, fma(u1, u1, mul(u2, u2))), n_norms)


@numba.njit(**OPTIONS)
def pull(
    start: int, stop: int, n_parts: int, n_sources: int, first: np.ndarray, source: np.ndarray, features: np.ndarray,
    charges: np.ndarray, basis: np.ndarray, grad: np.ndarray, weights: np.ndarray, turned: np.ndarray, n_own: int,
    n_charges: int, scalars_at: np.ndarray, norms_at: np.ndarray, n_norms: int, width: int,
    for_features: np.ndarray, for_charges: np.ndarray, with_basis: bool, for_basis: np.ndarray, with_weights: bool,
    for_weights: np.ndarray, with_features: bool, add_to_basis: bool,
) -> None:  # fmt: skip
    """Gradients of Σ grad · message by way of the sums, from the atoms of parts start…stop.

    D, the gradient for the sums, is G_S, and Σ_h W_kh 2 G_h U_xh; that for the weights is Σ_x V_xk 2 G_h U_xh.
    Those for features and charges, of n_sources atoms, are added to what is there; that for the basis replaces it, or
    is added.
    """
    n_atoms, size = first.size - 1, (n_own + n_charges) * WIDTH
    sums, moved = np.empty(4 * size, dtype=features.dtype), np.empty(4 * size, dtype=features.dtype)
    buffer, two = np.empty(3 * WIDTH, dtype=features.dtype), splat(features, 2.0)
    for part in range(start, stop):
        own_features = for_features[part * n_sources * n_own * WIDTH :]
        own_charges = for_charges[part * n_sources * n_charges * WIDTH :]
        own_weights = for_weights[part * size * WIDTH :]
        for i in range(n_atoms * part // n_parts, n_atoms * (part + 1) // n_parts):
            begin, end = first[i], first[i + 1]
            _gather(begin, end, source, features, charges, basis, n_own, n_charges, False, sums)
            for c in range(n_own + n_charges):
                at, to, of = c * WIDTH, i * width, c * WIDTH * WIDTH
                store_row(moved, at, load_row(grad, to + scalars_at[c]) if scalars_at[c] >= 0 else zero(grad))
                g = mul(two, load_first(grad, to + norms_at[c], n_norms))
                u0, u1, u2 = _combined(sums, at + size, size, weights, of)
                u0, u1, u2 = mul(g, u0), mul(g, u1), mul(g, u2)
                if with_weights:
                    _outer(sums, at + size, size, u0, u1, u2, own_weights, of)
                _turned_back(u0, u1, u2, buffer, turned, of, moved, at + size, size)
            if with_features:
                _spread(begin, end, source, basis, n_own, n_charges, moved, own_features, own_charges)
            if with_basis:
                _contract(begin, end, source, features, charges, n_own, n_charges, moved, add_to_basis, for_basis)


@numba.njit(**OPTIONS)
def pull_back(
    start: int, stop: int, n_parts: int, first: np.ndarray, source: np.ndarray, features: np.ndarray,
    charges: np.ndarray, basis: np.ndarray, grad: np.ndarray, weights: np.ndarray, turned: np.ndarray, n_own: int,
    n_charges: int, scalars_at: np.ndarray, norms_at: np.ndarray, n_norms: int, width: int,
    up_features: np.ndarray, up_charges: np.ndarray, up_basis: np.ndarray, for_grad: np.ndarray,
    for_features: np.ndarray, for_charges: np.ndarray, with_basis: bool, for_basis: np.ndarray, with_weights: bool,
    for_weights: np.ndarray,
) -> None:  # fmt: skip
    """Derivatives of L = Σ upstream · pull(grad, …) by way of the sums, from the atoms of parts start…stop.

    With T the change of the sums along ``upstream`` and P_xh = Σ_k W_kh T_xk: L = Σ T · D, so that the derivative for G
    is T_S and 2 Σ_x P_x U_x, for T it is D, for the sums E_xk = Σ_h W_kh 2 G_h P_xh (E_S = 0) and for the weights
    Σ_x 2 G_h (T_xk U_xh + V_xk P_xh).
    """
    n_atoms, size = first.size - 1, (n_own + n_charges) * WIDTH
    sums, tangent = np.empty(4 * size, dtype=features.dtype), np.empty(4 * size, dtype=features.dtype)
    moved, curved = np.empty(4 * size, dtype=features.dtype), np.zeros(4 * size, dtype=features.dtype)
    buffer, two = np.empty(3 * WIDTH, dtype=features.dtype), splat(features, 2.0)
    for part in range(start, stop):
        own_features = for_features[part * n_atoms * n_own * WIDTH :]
        own_charges = for_charges[part * n_atoms * n_charges * WIDTH :]
        own_weights = for_weights[part * size * WIDTH :]
        for i in range(n_atoms * part // n_parts, n_atoms * (part + 1) // n_parts):
            begin, end = first[i], first[i + 1]
            _gather(begin, end, source, features, charges, basis, n_own, n_charges, False, sums)
            _gather(begin, end, source, up_features, up_charges, basis, n_own, n_charges, False, tangent)
            _gather(begin, end, source, features, charges, up_basis, n_own, n_charges, True, tangent)
            for c in range(n_own + n_charges):
                at, to, of = c * WIDTH, i * width, c * WIDTH * WIDTH
                store_row(moved, at, load_row(grad, to + scalars_at[c]) if scalars_at[c] >= 0 else zero(grad))
                if scalars_at[c] >= 0:
                    store_row(for_grad, to + scalars_at[c], load_row(tangent, at))
                g = mul(two, load_first(grad, to + norms_at[c], n_norms))
                u0, u1, u2 = _combined(sums, at + size, size, weights, of)
                p0, p1, p2 = _combined(tangent, at + size, size, weights, of)
                norms = mul(two, fma(u0, p0, fma(u1, p1, mul(u2, p2))))
                store_first(for_grad, to + norms_at[c], norms, n_norms)
                u0, u1, u2, p0, p1, p2 = mul(g, u0), mul(g, u1), mul(g, u2), mul(g, p0), mul(g, p1), mul(g, p2)
                if with_weights:
                    _outer(tangent, at + size, size, u0, u1, u2, own_weights, of)
                    _outer(sums, at + size, size, p0, p1, p2, own_weights, of)
                _turned_back(u0, u1, u2, buffer, turned, of, moved, at + size, size)
                _turned_back(p0, p1, p2, buffer, turned, of, curved, at + size, size)
            _spread(begin, end, source, basis, n_own, n_charges, curved, own_features, own_charges)
            _spread(begin, end, source, up_basis, n_own, n_charges, moved, own_features, own_charges)
            if with_basis:
                _contract(begin, end, source, features, charges, n_own, n_charges, curved, False, for_basis)
                _contract(begin, end, source, up_features, up_charges, n_own, n_charges, moved, True, for_basis)


def message(
    features: Tensor,
    charges: Tensor,
    basis: Tensor,
    weights: Tensor,
    edges: tuple[Tensor, Tensor],
    formula: Callable[..., Tensor],
    *,
    norms_only: bool,
    lanes: int,
) -> Tensor:
    """Features, neighbor sums and their norms side by side; see above for shapes.

    Parameters
    ----------
    weights : (A + Q, 16, H), H at most 16.
    edges : where the edges of each atom begin, and the source of each edge.
    formula : the same in torch operations, as a function of the four tensors.
    norms_only : leave out features and scalar sums.
    lanes : add columns of zeros up to the next multiple.

    Returns
    -------
    (n_atoms, columns), a multiple of ``lanes``
    """
    layout = Layout(features.shape[1] // WIDTH, charges.shape[1], weights.shape[2], norms_only, lanes)
    return differentiable(_Message(edges, layout, formula), features, charges, basis, weights)[0]


@dataclass(frozen=True)
class Layout:
    """Places of the columns of a message."""

    n_own: int
    n_charges: int
    n_norms: int
    norms_only: bool
    lanes: int

    @property
    def n_features(self) -> int:
        return 0 if self.norms_only else self.n_own * WIDTH

    @property
    def charges_at(self) -> int:
        return 2 * self.n_features + self.n_own * self.n_norms

    @property
    def used(self) -> int:
        """Columns that are not zero."""
        return self.charges_at + self.n_charges * (1 + WIDTH + self.n_norms)

    @property
    def width(self) -> int:
        return self.used + -self.used % self.lanes

    def arguments(self) -> tuple[Any, ...]:
        """Arguments of the kernels."""
        return self.n_own, self.n_charges, *_columns(self), self.n_norms, self.width

    def work(self, n_edges: int, n_atoms: int) -> float:
        """Multiply-adds of one sum and one combination."""
        return (self.n_own + self.n_charges) * WIDTH * (4.0 * n_edges + 3.0 * WIDTH * n_atoms)

    def inputs(self, rows: Tensor) -> tuple[Tensor | None, Tensor]:
        """Columns of features, if there are any, and of charges."""
        features = rows[:, : self.n_features] if not self.norms_only else None
        return features, rows[:, self.charges_at : self.charges_at + self.n_charges]

    def empty_rows(self, features: Tensor, charges: Tensor) -> Tensor:
        """Rows with features and charges, and zeros behind all that kernels write."""
        rows = features.new_empty(len(features), self.width)
        own_features, own_charges = self.inputs(rows)
        if own_features is not None:
            own_features.copy_(features)
        own_charges.copy_(charges)
        rows[:, self.used :] = 0.0
        return rows


@lru_cache(maxsize=64)
def _columns(layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """First columns of scalars and norms of each channel; -1 for scalars that are not there."""
    if layout.norms_only:
        return np.full(layout.n_own, -1), layout.n_norms * np.arange(layout.n_own)
    scalars_at, norms_at = [], []
    for n, at in ((layout.n_own, layout.n_features), (layout.n_charges, layout.charges_at + layout.n_charges)):
        scalars_at.append(at + WIDTH * np.arange(n))
        norms_at.append(at + WIDTH * n + layout.n_norms * np.arange(n))
    return np.concatenate(scalars_at), np.concatenate(norms_at)


@dataclass(frozen=True)
class _Message(CompiledFunction):
    edges: tuple[Tensor, Tensor]
    layout: Layout
    in_torch: Callable[..., Tensor]
    twice = (0, 1, 2)

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        features, charges, basis, weights = inputs
        result = self.layout.empty_rows(features, charges)
        share_range(
            push, len(features), self.layout.work(len(basis), len(features)), *self._edges(), flat(features),
            flat(charges), flat(basis), _padded(weights)[0], *self.layout.arguments(), flat(result),
        )  # fmt: skip
        return (result,), ()

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients:
        features, charges, basis, weights = inputs
        work = 3.0 * self.layout.work(len(basis), len(features))
        given = self.layout.inputs(upstream[0])
        results = _GradientArrays(*given, len(features), basis, self.layout, work, (wanted(2), wanted(3)))
        share_range(
            pull, results.n_parts, work, results.n_parts, len(features), *self._edges(), flat(features), flat(charges),
            flat(basis), flat(upstream[0]), *_padded(weights), *self.layout.arguments(), *results.arguments(),
            True, False,
        )  # fmt: skip
        return results.results()

    def second(self, inputs: Tensors, kept: Tensors, upstream: Tensors, tangents: Tensors, wanted: Wanted) -> Gradients:
        features, charges, basis, weights = inputs
        work = 8.0 * self.layout.work(len(basis), len(features))
        results = _GradientArrays(None, None, len(features), basis, self.layout, work, (wanted(2), wanted(3)))
        for_upstream = self.layout.empty_rows(*tangents[:2])
        share_range(
            pull_back, results.n_parts, work, results.n_parts, *self._edges(), flat(features), flat(charges),
            flat(basis), flat(upstream[0]), *_padded(weights), *self.layout.arguments(),
            *(flat(tangent) for tangent in tangents), flat(for_upstream), *results.arguments(),
        )  # fmt: skip
        return *results.results(), for_upstream

    def formula(self, *inputs: Tensor) -> Tensors:
        value = self.in_torch(*inputs)
        return (functional.pad(value, (0, self.layout.width - value.shape[1])),)

    def _edges(self) -> tuple[np.ndarray, np.ndarray]:
        return array(self.edges[0]), array(self.edges[1])


class _GradientArrays:
    """Arrays that kernels add gradients to, one of each for every part of the atoms.

    Parameters
    ----------
    features, charges : what the gradients begin with; None means 0.
    """

    def __init__(
        self, features: Tensor | None, charges: Tensor | None, n_atoms: int, basis: Tensor, layout: Layout,
        work: float, wants: tuple[bool, bool],
    ) -> None:  # fmt: skip
        self.layout, self.wants, self.own_charges = layout, wants, charges
        self.n_parts = max(1, min(n_atoms, slots_for(work)))
        self.features = basis.new_empty(self.n_parts, n_atoms, layout.n_own * WIDTH)
        self.features[0] = 0.0 if features is None else features
        self.features[1:] = 0.0
        self.charges = basis.new_zeros(self.n_parts, n_atoms, layout.n_charges, WIDTH)
        self.basis = torch.empty_like(basis, memory_format=torch.contiguous_format) if wants[0] else basis.new_empty(1)
        shape = (layout.n_own + layout.n_charges, WIDTH, WIDTH)
        self.weights = basis.new_zeros(self.n_parts, *shape) if wants[1] else basis.new_empty(1)

    def arguments(self) -> tuple[Any, ...]:
        """Arguments of the kernels."""
        with_basis, with_weights = self.wants
        return (
            flat(self.features), flat(self.charges), with_basis, flat(self.basis), with_weights, flat(self.weights)
        )  # fmt: skip

    def results(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Gradients for features, charges, basis and weights."""
        with_basis, with_weights = self.wants
        charges = self.charges.sum(dim=(0, 3))
        return (
            self.features.sum(dim=0) if self.n_parts > 1 else self.features[0],
            charges if self.own_charges is None else charges + self.own_charges,
            self.basis if with_basis else None,
            self.weights.sum(dim=0)[:, :, : self.layout.n_norms] if with_weights else None,
        )


def _padded(weights: Tensor) -> tuple[Any, Any]:
    """Weights with rows of sixteen lanes, by k and by h."""
    empty = WIDTH - weights.shape[2]
    turned = functional.pad(weights.detach().mT, (0, 0, 0, empty))
    return flat(functional.pad(weights.detach(), (0, empty))), flat(turned)
