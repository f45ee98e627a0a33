"""Compiled linear layers of a few rows, which libraries take up to twice as long for.

Arrays are flat: x (n_rows, n_in), weight (n_out, n_in) and results (n_rows, n_out). An activation, GELU, comes with the
layer before it; its arrays are empty where there is none. Import only where numba is available.
"""

import numba
import numpy as np

from molcalc.kernels.gelu import value_and_slope
from molcalc.kernels.runtime import OPTIONS, WIDTH
from molcalc.kernels.simd import fma, load_first, load_row, soon, splat, splat_at, store_first, total, zero

MOST_ROWS = 32
"""Rows up to which these loops are quicker than a library on one thread."""
MOST_ROWS_BESIDE_THREADS = 8
"""Rows up to which they are quicker than one that shares its work among several."""

TOGETHER = 128
"""Rows of weights whose terms are added up at once: 48 columns of them stay near the processor, and sums of sums are
rounded less."""


@numba.njit(inline="always", **OPTIONS)
def _four_rows(u, v, x0, x1, x2, x3, p0, p1, p2, p3, q0, q1, q2, q3):  # type: ignore[no-untyped-def]
    return (
        fma(u, x0, p0), fma(u, x1, p1), fma(u, x2, p2), fma(u, x3, p3),
        fma(v, x0, q0), fma(v, x1, q1), fma(v, x2, q2), fma(v, x3, q3),
    )  # fmt: skip


@numba.njit(inline="always", **OPTIONS)
def _write(result, at, n_out, n_rows, o, bias, y0, y1, y2, y3):  # type: ignore[no-untyped-def]
    """Column o of up to four rows from ``at`` on."""
    result[at + o] = y0 + bias
    if n_rows > 1:
        result[at + n_out + o] = y1 + bias
    if n_rows > 2:
        result[at + 2 * n_out + o] = y2 + bias
    if n_rows > 3:
        result[at + 3 * n_out + o] = y3 + bias


@numba.njit(**OPTIONS)
def layer(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, n_rows: int, n_in: int, n_out: int, result: np.ndarray,
    value: np.ndarray, slope: np.ndarray,
) -> None:  # fmt: skip
    """result[m, o] = Σ_k x[m, k] weight[o, k] + bias[o], for two o and four m at once; its activation and slope."""
    rest = n_in % WIDTH
    whole = n_in - rest
    for o in range(0, n_out, 2):
        first, second = o, min(o + 1, n_out - 1)
        for m in range(0, n_rows, 4):
            a, b = m * n_in, min(m + 1, n_rows - 1) * n_in
            c, d = min(m + 2, n_rows - 1) * n_in, min(m + 3, n_rows - 1) * n_in
            p0 = p1 = p2 = p3 = q0 = q1 = q2 = q3 = zero(x)
            for k in range(0, whole, WIDTH):
                if m == 0:
                    soon(weight, first * n_in + k + 2 * n_in)
                    soon(weight, second * n_in + k + 2 * n_in)
                p0, p1, p2, p3, q0, q1, q2, q3 = _four_rows(
                    load_row(weight, first * n_in + k), load_row(weight, second * n_in + k), load_row(x, a + k),
                    load_row(x, b + k), load_row(x, c + k), load_row(x, d + k), p0, p1, p2, p3, q0, q1, q2, q3,
                )  # fmt: skip
            if rest:
                p0, p1, p2, p3, q0, q1, q2, q3 = _four_rows(
                    load_first(weight, first * n_in + whole, rest), load_first(weight, second * n_in + whole, rest),
                    load_first(x, a + whole, rest), load_first(x, b + whole, rest), load_first(x, c + whole, rest),
                    load_first(x, d + whole, rest), p0, p1, p2, p3, q0, q1, q2, q3,
                )  # fmt: skip
            left = n_rows - m
            _write(result, m * n_out, n_out, left, first, bias[first], total(p0), total(p1), total(p2), total(p3))
            _write(result, m * n_out, n_out, left, second, bias[second], total(q0), total(q1), total(q2), total(q3))
    value_and_slope(0, value.size, result, value, slope)


@numba.njit(inline="always", **OPTIONS)
def _scaled(g, w0, w1, w2, p0, p1, p2):  # type: ignore[no-untyped-def]
    return fma(g, w0, p0), fma(g, w1, p1), fma(g, w2, p2)


@numba.njit(inline="always", **OPTIONS)
def _add(result, at, n0, n1, n2, p0, p1, p2):  # type: ignore[no-untyped-def]
    one = splat(result, 1.0)
    store_first(result, at, fma(one, load_first(result, at, n0), p0), n0)
    store_first(result, at + WIDTH, fma(one, load_first(result, at + WIDTH, n1), p1), n1)
    store_first(result, at + 2 * WIDTH, fma(one, load_first(result, at + 2 * WIDTH, n2), p2), n2)


@numba.njit(**OPTIONS)
def layer_gradient(
    by_result: np.ndarray, weight: np.ndarray, n_rows: int, n_in: int, n_out: int, start: int, slope: np.ndarray,
    by_x: np.ndarray,
) -> None:  # fmt: skip
    """by_x[m, k − start] = Σ_o by_result[m, o] weight[o, k] for k ≥ start, for four m and 48 k at once.

    ``slope`` is that of the activation which made x: the gradient is that by the numbers before it then.
    """
    size = n_in - start
    by_x[: n_rows * size] = 0.0
    for k in range(0, size, 3 * WIDTH):
        left = size - k
        n0, n1, n2 = min(WIDTH, left), max(0, min(WIDTH, left - WIDTH)), max(0, min(WIDTH, left - 2 * WIDTH))
        for begin in range(0, n_out, TOGETHER):
            end = min(begin + TOGETHER, n_out)
            for m in range(0, n_rows, 4):
                # rows that are not there are the first one, and go nowhere
                there = min(4, n_rows - m)
                a = m * n_out
                b, c, d = a + n_out * (there > 1), a + 2 * n_out * (there > 2), a + 3 * n_out * (there > 3)
                a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = d0 = d1 = d2 = zero(by_x)
                for o in range(begin, end):
                    at = o * n_in + start + k
                    w0, w1 = load_first(weight, at, n0), load_first(weight, at + WIDTH, n1)
                    w2 = load_first(weight, at + 2 * WIDTH, n2)
                    a0, a1, a2 = _scaled(splat_at(by_result, a + o), w0, w1, w2, a0, a1, a2)
                    b0, b1, b2 = _scaled(splat_at(by_result, b + o), w0, w1, w2, b0, b1, b2)
                    c0, c1, c2 = _scaled(splat_at(by_result, c + o), w0, w1, w2, c0, c1, c2)
                    d0, d1, d2 = _scaled(splat_at(by_result, d + o), w0, w1, w2, d0, d1, d2)
                to = m * size + k
                _add(by_x, to, n0, n1, n2, a0, a1, a2)
                if there > 1:
                    _add(by_x, to + size, n0, n1, n2, b0, b1, b2)
                if there > 2:
                    _add(by_x, to + 2 * size, n0, n1, n2, c0, c1, c2)
                if there > 3:
                    _add(by_x, to + 3 * size, n0, n1, n2, d0, d1, d2)
    for k in range(slope.size):
        by_x[k] *= slope[k]
