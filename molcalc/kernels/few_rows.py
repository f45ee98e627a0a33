"""Compiled linear layers of a few rows, which take as long as reading the weights: libraries take twice as long.

Arrays are flat: x (n_rows, n_in), weight (n_out, n_in) and results (n_rows, n_out). Import only where numba is
available.
"""

import numba
import numpy as np

from molcalc.kernels.runtime import OPTIONS, WIDTH
from molcalc.kernels.simd import fma, load_first, load_row, splat, store_first, store_row, zero

MOST_ROWS = 6
"""Rows up to which these loops are quicker than a library."""


@numba.njit(inline="always", **OPTIONS)
def _four_rows(u, v, x0, x1, x2, x3, p0, p1, p2, p3, q0, q1, q2, q3):  # type: ignore[no-untyped-def]
    return (
        fma(u, x0, p0), fma(u, x1, p1), fma(u, x2, p2), fma(u, x3, p3),
        fma(v, x0, q0), fma(v, x1, q1), fma(v, x2, q2), fma(v, x3, q3),
    )  # fmt: skip


@numba.njit(**OPTIONS)
def layer(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, n_rows: int, n_in: int, n_out: int, result: np.ndarray
) -> None:
    """result[m, o] = Σ_k x[m, k] weight[o, k] + bias[o], for two o and four m at once."""
    lanes = np.empty(8 * WIDTH, dtype=x.dtype)
    rest = n_in % WIDTH
    whole = n_in - rest
    for o in range(0, n_out, 2):
        first, second = o, min(o + 1, n_out - 1)
        for m in range(0, n_rows, 4):
            a, b = m * n_in, min(m + 1, n_rows - 1) * n_in
            c, d = min(m + 2, n_rows - 1) * n_in, min(m + 3, n_rows - 1) * n_in
            p0 = p1 = p2 = p3 = q0 = q1 = q2 = q3 = zero(x)
            for k in range(0, whole, WIDTH):
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
            store_row(lanes, 0, p0)
            store_row(lanes, WIDTH, p1)
            store_row(lanes, 2 * WIDTH, p2)
            store_row(lanes, 3 * WIDTH, p3)
            store_row(lanes, 4 * WIDTH, q0)
            store_row(lanes, 5 * WIDTH, q1)
            store_row(lanes, 6 * WIDTH, q2)
            store_row(lanes, 7 * WIDTH, q3)
            for row in range(min(4, n_rows - m)):
                of_first, of_second = 0.0, 0.0
                for lane in range(WIDTH):
                    of_first += lanes[row * WIDTH + lane]
                    of_second += lanes[(4 + row) * WIDTH + lane]
                result[(m + row) * n_out + first] = of_first + bias[first]
                result[(m + row) * n_out + second] = of_second + bias[second]


@numba.njit(**OPTIONS)
def layer_gradient(
    by_result: np.ndarray, weight: np.ndarray, n_rows: int, n_in: int, n_out: int, start: int, by_x: np.ndarray
) -> None:
    """by_x[m, k − start] = Σ_o by_result[m, o] weight[o, k] for k ≥ start, four o at once."""
    size = n_in - start
    rest = size % WIDTH
    whole = size - rest
    by_x[: n_rows * size] = 0.0
    for o in range(0, n_out, 4):
        left, at = n_out - o, o * n_in + start
        # rows of weights that are not there are the first one, times 0
        b, c, d = at + n_in * (left > 1), at + 2 * n_in * (left > 2), at + 3 * n_in * (left > 3)
        for m in range(n_rows):
            of = m * n_out + o
            g0, g1 = splat(by_x, by_result[of]), splat(by_x, by_result[of + 1] if left > 1 else 0.0)
            g2 = splat(by_x, by_result[of + 2] if left > 2 else 0.0)
            g3 = splat(by_x, by_result[of + 3] if left > 3 else 0.0)
            for k in range(0, whole, WIDTH):
                row = fma(g0, load_row(weight, at + k), load_row(by_x, m * size + k))
                row = fma(g1, load_row(weight, b + k), row)
                row = fma(g2, load_row(weight, c + k), row)
                store_row(by_x, m * size + k, fma(g3, load_row(weight, d + k), row))
            if rest:
                k = whole
                row = fma(g0, load_first(weight, at + k, rest), load_first(by_x, m * size + k, rest))
                row = fma(g1, load_first(weight, b + k, rest), row)
                row = fma(g2, load_first(weight, c + k, rest), row)
                store_first(by_x, m * size + k, fma(g3, load_first(weight, d + k, rest), row), rest)
