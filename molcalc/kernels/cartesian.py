"""Compiled messages between Cartesian tensors (see :mod:`molcalc.nn.cartesian`).

Arrays are flat: s (n_atoms, F), v (n_atoms, 3, F), t (n_atoms, 5, F), weights (n_edges, n_paths, F), unit (n_edges, 3).
F is a multiple of sixteen; n_paths is 7 or 11. Import only where numba is available.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numba
import numpy as np
import torch
from torch import Tensor

from molcalc.kernels.differentiation import CompiledFunction, Gradients, Tensors, Wanted, differentiable
from molcalc.kernels.runtime import OPTIONS, WIDTH, flat
from molcalc.kernels.simd import fma, load_row, mul, splat, store_row, zero

_A, _B = 1.0 / math.sqrt(2.0), 1.0 / math.sqrt(6.0)
"""Elements of the basis tensors."""


@numba.njit(inline="always", **OPTIONS)
def _dot(x0, x1, x2, y0, y1, y2):  # type: ignore[no-untyped-def]
    return fma(x0, y0, fma(x1, y1, mul(x2, y2)))


@numba.njit(inline="always", **OPTIONS)
def _apply(a, b, t0, t1, t2, t3, t4, x0, x1, x2):  # type: ignore[no-untyped-def]
    """Tensor times vector; a and b are rows of 1/√2 and −1/√6."""
    xy, yz, xz, wide, axial = mul(a, t0), mul(a, t1), mul(a, t2), mul(a, t3), mul(b, t4)
    level = mul(wide, x1)
    y0 = fma(xy, x1, fma(xz, x2, fma(wide, x0, mul(axial, x0))))
    y1 = fma(xy, x0, fma(yz, x2, mul(axial, x1)))
    y2 = fma(yz, x1, mul(xz, x0))
    return y0, y1, y2, level, mul(axial, x2)


@numba.njit(inline="always", **OPTIONS)
def _add_to(out, at, row):  # type: ignore[no-untyped-def]
    ones = splat(out, 1.0)
    store_row(out, at, fma(ones, row, load_row(out, at)))


@numba.njit(**OPTIONS)
def gather_messages(
    receiver: np.ndarray, source: np.ndarray, unit: np.ndarray, s: np.ndarray, v: np.ndarray, t: np.ndarray,
    weights: np.ndarray, size: int, n_paths: int, to_s: np.ndarray, to_v: np.ndarray, to_t: np.ndarray,
) -> None:  # fmt: skip
    """Add the messages to arrays of zeros; to_t is left alone with 7 paths."""
    a, b, minus, two = splat(s, _A), splat(s, -_B), splat(s, -1.0), splat(s, -2.0)
    for e in range(receiver.size):
        i, j = receiver[e] * size, source[e] * size
        u0, u1, u2 = splat(s, unit[3 * e]), splat(s, unit[3 * e + 1]), splat(s, unit[3 * e + 2])
        for f in range(0, size, WIDTH):
            at = j + f
            x = load_row(s, at)
            at = 3 * j + f
            v0, v1, v2 = load_row(v, at), load_row(v, at + size), load_row(v, at + 2 * size)
            at = 5 * j + f
            t0, t1, t2 = load_row(t, at), load_row(t, at + size), load_row(t, at + 2 * size)
            t3, t4 = load_row(t, at + 3 * size), load_row(t, at + 4 * size)
            y0, y1, y2, level, axial = _apply(a, b, t0, t1, t2, t3, t4, u0, u1, u2)
            y1, y2 = fma(minus, level, y1), fma(two, axial, y2)
            d, uy = _dot(u0, u1, u2, v0, v1, v2), _dot(u0, u1, u2, y0, y1, y2)
            w = e * n_paths * size + f
            row = fma(
                load_row(weights, w), x, fma(load_row(weights, w + size), d, mul(load_row(weights, w + 2 * size), uy))
            )
            _add_to(to_s, i + f, row)
            along = fma(load_row(weights, w + 3 * size), x, mul(load_row(weights, w + 4 * size), d))
            w5, w6 = load_row(weights, w + 5 * size), load_row(weights, w + 6 * size)
            at = 3 * i + f
            _add_to(to_v, at, fma(along, u0, fma(w5, v0, mul(w6, y0))))
            _add_to(to_v, at + size, fma(along, u1, fma(w5, v1, mul(w6, y1))))
            _add_to(to_v, at + 2 * size, fma(along, u2, fma(w5, v2, mul(w6, y2))))
            if n_paths > 7:
                along = mul(load_row(weights, w + 7 * size), x)
                w8, w9, w10 = (
                    load_row(weights, w + 8 * size),
                    load_row(weights, w + 9 * size),
                    load_row(weights, w + 10 * size),
                )
                p0 = fma(along, u0, fma(w8, v0, mul(w9, y0)))
                p1 = fma(along, u1, fma(w8, v1, mul(w9, y1)))
                p2 = fma(along, u2, fma(w8, v2, mul(w9, y2)))
                xx, yy, zz = mul(p0, u0), mul(p1, u1), mul(p2, u2)
                at = 5 * i + f
                _add_to(to_t, at, fma(w10, t0, mul(a, fma(p0, u1, mul(p1, u0)))))
                _add_to(to_t, at + size, fma(w10, t1, mul(a, fma(p1, u2, mul(p2, u1)))))
                _add_to(to_t, at + 2 * size, fma(w10, t2, mul(a, fma(p0, u2, mul(p2, u0)))))
                _add_to(to_t, at + 3 * size, fma(w10, t3, mul(a, fma(minus, yy, xx))))
                _add_to(to_t, at + 4 * size, fma(w10, t4, mul(b, fma(two, zz, fma(splat(s, 1.0), xx, yy)))))


@numba.njit(**OPTIONS)
def scatter_messages(
    receiver: np.ndarray, source: np.ndarray, unit: np.ndarray, s: np.ndarray, v: np.ndarray, t: np.ndarray,
    weights: np.ndarray, size: int, n_paths: int, of_s: np.ndarray, of_v: np.ndarray, of_t: np.ndarray,
    to_s: np.ndarray, to_v: np.ndarray, to_t: np.ndarray, to_weights: np.ndarray, to_unit: np.ndarray,
) -> None:  # fmt: skip
    """Gradients, from those of the messages (of_…); all but to_weights are added to arrays of zeros."""
    a, b, minus, two, one = splat(s, _A), splat(s, -_B), splat(s, -1.0), splat(s, -2.0), splat(s, 1.0)
    lanes = np.empty(3 * WIDTH, dtype=s.dtype)
    for e in range(receiver.size):
        i, j = receiver[e] * size, source[e] * size
        u0, u1, u2 = splat(s, unit[3 * e]), splat(s, unit[3 * e + 1]), splat(s, unit[3 * e + 2])
        r0 = r1 = r2 = zero(s)
        for f in range(0, size, WIDTH):
            x = load_row(s, j + f)
            at = 3 * j + f
            v0, v1, v2 = load_row(v, at), load_row(v, at + size), load_row(v, at + 2 * size)
            at = 5 * j + f
            t0, t1, t2 = load_row(t, at), load_row(t, at + size), load_row(t, at + 2 * size)
            t3, t4 = load_row(t, at + 3 * size), load_row(t, at + 4 * size)
            y0, y1, y2, level, axial = _apply(a, b, t0, t1, t2, t3, t4, u0, u1, u2)
            y1, y2 = fma(minus, level, y1), fma(two, axial, y2)
            d, uy = _dot(u0, u1, u2, v0, v1, v2), _dot(u0, u1, u2, y0, y1, y2)
            g = load_row(of_s, i + f)
            at = 3 * i + f
            g0, g1, g2 = load_row(of_v, at), load_row(of_v, at + size), load_row(of_v, at + 2 * size)
            ug = _dot(u0, u1, u2, g0, g1, g2)
            w = e * n_paths * size + f
            store_row(to_weights, w, mul(g, x))
            store_row(to_weights, w + size, mul(g, d))
            store_row(to_weights, w + 2 * size, mul(g, uy))
            store_row(to_weights, w + 3 * size, mul(x, ug))
            store_row(to_weights, w + 4 * size, mul(d, ug))
            store_row(to_weights, w + 5 * size, _dot(v0, v1, v2, g0, g1, g2))
            store_row(to_weights, w + 6 * size, _dot(y0, y1, y2, g0, g1, g2))
            w3, w4 = load_row(weights, w + 3 * size), load_row(weights, w + 4 * size)
            w5, w6 = load_row(weights, w + 5 * size), load_row(weights, w + 6 * size)
            g_x = fma(load_row(weights, w), g, mul(w3, ug))
            g_d = fma(load_row(weights, w + size), g, mul(w4, ug))
            g_uy = mul(load_row(weights, w + 2 * size), g)
            along = fma(w3, x, mul(w4, d))
            h0, h1, h2 = fma(g_uy, u0, mul(w6, g0)), fma(g_uy, u1, mul(w6, g1)), fma(g_uy, u2, mul(w6, g2))
            q0, q1, q2 = fma(g_d, u0, mul(w5, g0)), fma(g_d, u1, mul(w5, g1)), fma(g_d, u2, mul(w5, g2))
            r0 = fma(g_d, v0, fma(g_uy, y0, fma(along, g0, r0)))
            r1 = fma(g_d, v1, fma(g_uy, y1, fma(along, g1, r1)))
            r2 = fma(g_d, v2, fma(g_uy, y2, fma(along, g2, r2)))
            if n_paths > 7:
                at = 5 * i + f
                k0, k1, k2 = load_row(of_t, at), load_row(of_t, at + size), load_row(of_t, at + 2 * size)
                k3, k4 = load_row(of_t, at + 3 * size), load_row(of_t, at + 4 * size)
                z0, z1, z2, level, axial = _apply(a, b, k0, k1, k2, k3, k4, u0, u1, u2)
                z1, z2 = fma(minus, level, z1), fma(two, axial, z2)
                uz = _dot(u0, u1, u2, z0, z1, z2)
                store_row(to_weights, w + 7 * size, mul(x, uz))
                store_row(to_weights, w + 8 * size, _dot(v0, v1, v2, z0, z1, z2))
                store_row(to_weights, w + 9 * size, _dot(y0, y1, y2, z0, z1, z2))
                store_row(to_weights, w + 10 * size, fma(k3, t3, fma(k4, t4, _dot(k0, k1, k2, t0, t1, t2))))
                w7, w8 = load_row(weights, w + 7 * size), load_row(weights, w + 8 * size)
                w9, w10 = load_row(weights, w + 9 * size), load_row(weights, w + 10 * size)
                g_x = fma(w7, uz, g_x)
                q0, q1, q2 = fma(w8, z0, q0), fma(w8, z1, q1), fma(w8, z2, q2)
                h0, h1, h2 = fma(w9, z0, h0), fma(w9, z1, h1), fma(w9, z2, h2)
                along = mul(w7, x)
                p0 = fma(along, u0, fma(w8, v0, mul(w9, y0)))
                p1 = fma(along, u1, fma(w8, v1, mul(w9, y1)))
                p2 = fma(along, u2, fma(w8, v2, mul(w9, y2)))
                m0, m1, m2, level, axial = _apply(a, b, k0, k1, k2, k3, k4, p0, p1, p2)
                r0 = fma(along, z0, fma(one, m0, r0))
                r1 = fma(along, z1, fma(minus, level, fma(one, m1, r1)))
                r2 = fma(along, z2, fma(two, axial, fma(one, m2, r2)))
                at = 5 * j + f
                _add_to(to_t, at, mul(w10, k0))
                _add_to(to_t, at + size, mul(w10, k1))
                _add_to(to_t, at + 2 * size, mul(w10, k2))
                _add_to(to_t, at + 3 * size, mul(w10, k3))
                _add_to(to_t, at + 4 * size, mul(w10, k4))
            m0, m1, m2, level, axial = _apply(a, b, t0, t1, t2, t3, t4, h0, h1, h2)
            r0 = fma(one, m0, r0)
            r1 = fma(minus, level, fma(one, m1, r1))
            r2 = fma(two, axial, fma(one, m2, r2))
            _add_to(to_s, j + f, g_x)
            at = 3 * j + f
            _add_to(to_v, at, q0)
            _add_to(to_v, at + size, q1)
            _add_to(to_v, at + 2 * size, q2)
            at = 5 * j + f
            xx, yy, zz = mul(h0, u0), mul(h1, u1), mul(h2, u2)
            _add_to(to_t, at, mul(a, fma(h0, u1, mul(h1, u0))))
            _add_to(to_t, at + size, mul(a, fma(h1, u2, mul(h2, u1))))
            _add_to(to_t, at + 2 * size, mul(a, fma(h0, u2, mul(h2, u0))))
            _add_to(to_t, at + 3 * size, mul(a, fma(minus, yy, xx)))
            _add_to(to_t, at + 4 * size, mul(b, fma(two, zz, fma(one, xx, yy))))
        store_row(lanes, 0, r0)
        store_row(lanes, WIDTH, r1)
        store_row(lanes, 2 * WIDTH, r2)
        for k in range(3):
            to_unit[3 * e + k] = lanes[k * WIDTH : (k + 1) * WIDTH].sum()


def cartesian_message(
    parts: Sequence[Tensor], weights: Tensor, unit: Tensor, index: Tensor, formula: Callable[..., Sequence[Tensor]]
) -> list[Tensor]:
    """Sum over neighbors of all products of their features with the direction of the edge; see above for shapes.

    Parameters
    ----------
    parts : s, v and t.
    index : (2, n_edges) int64, receiver and source.
    formula : the same in torch operations, as a function of s, v, t, weights and unit.

    Returns
    -------
    list of Tensor
        New s and v, and t if there are eleven paths.
    """
    return list(differentiable(_CartesianMessage(index, formula), *parts, weights, unit))


@dataclass(frozen=True)
class _CartesianMessage(CompiledFunction):
    index: Tensor
    in_torch: Callable[..., Sequence[Tensor]]

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        s, v, t, weights, unit = inputs
        n_paths, size = weights.shape[1:]
        computed = (s, v, t) if n_paths > 7 else (s, v)
        results = [torch.zeros_like(x, memory_format=torch.contiguous_format) for x in computed]
        arrays = [flat(x) for x in (*self.index, unit, s, v, t, weights)]
        gather_messages(*arrays, size, n_paths, *(flat(x) for x in self._with_tensors(results)))
        return tuple(results), ()

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients:
        s, v, t, weights, unit = inputs
        n_paths, size = weights.shape[1:]
        results = tuple(torch.zeros_like(x, memory_format=torch.contiguous_format) for x in inputs)
        arrays = [flat(x) for x in (*self.index, unit, s, v, t, weights)]
        given = (flat(x) for x in self._with_tensors(upstream))
        scatter_messages(*arrays, size, n_paths, *given, *(flat(x) for x in results))
        return results

    def formula(self, *inputs: Tensor) -> Tensors:
        return tuple(self.in_torch(*inputs))

    def _with_tensors(self, parts: Sequence[Tensor]) -> Sequence[Tensor]:
        """Three parts, the last of which is empty if it is not computed."""
        return parts if len(parts) == 3 else [*parts, parts[0].new_empty(0)]
