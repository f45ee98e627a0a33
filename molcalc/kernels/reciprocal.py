"""Compiled loops over charges and reciprocal vectors; import only when numba is available.

The formulas are those of :mod:`molcalc.electrostatics.reciprocal`. Vectors come in *runs* of constant first and second
index, within which the third goes up by one: ``runs`` is (n_runs, 4) with both indices, the first third index and the
place of the first vector, closed by one more row for the end. Both kernels work on a range of charges.
"""

import math

import numba
import numpy as np

from molcalc.kernels.runtime import OPTIONS, SUMS


@numba.njit(**OPTIONS)
def _fill_phases(turns: float, cosine: np.ndarray, sine: np.ndarray) -> None:
    """Cosine and sine of 2πnt for n = −reach … reach."""
    reach = cosine.shape[0] // 2
    c, s = math.cos(2.0 * math.pi * turns), math.sin(2.0 * math.pi * turns)
    cosine[reach], sine[reach] = 1.0, 0.0
    for n in range(1, reach + 1):
        up, down = reach + n, reach - n
        cosine[up] = cosine[up - 1] * c - sine[up - 1] * s
        sine[up] = sine[up - 1] * c + cosine[up - 1] * s
        cosine[down], sine[down] = cosine[up], -sine[up]


@numba.njit(**OPTIONS)
def _product(cosine: np.ndarray, sine: np.ndarray, h: int, k: int) -> tuple[float, float]:
    """exp(2πi(h s₁ + k s₂))."""
    reach = cosine.shape[1] // 2
    c_h, s_h, c_k, s_k = cosine[0, reach + h], sine[0, reach + h], cosine[1, reach + k], sine[1, reach + k]
    return c_h * c_k - s_h * s_k, s_h * c_k + c_h * s_k


@numba.njit(**SUMS)
def _add_run(c: float, s: float, cosine: np.ndarray, sine: np.ndarray, re: np.ndarray, im: np.ndarray) -> None:
    for m in range(re.shape[0]):
        re[m] += c * cosine[m] - s * sine[m]
        im[m] += s * cosine[m] + c * sine[m]


@numba.njit(**SUMS)
def _sum_run(
    first: int, cosine: np.ndarray, sine: np.ndarray, re: np.ndarray, im: np.ndarray
) -> tuple[float, float, float, float]:
    """Σ_m conj(e_m) S_m and Σ_m m conj(e_m) S_m, real and imaginary parts."""
    x = y = x_m = y_m = 0.0
    for m in range(re.shape[0]):
        real = cosine[m] * re[m] + sine[m] * im[m]
        imaginary = cosine[m] * im[m] - sine[m] * re[m]
        x += real
        y += imaginary
        x_m += m * real
        y_m += m * imaginary
    return x, y, x_m + first * x, y_m + first * y


@numba.njit(**OPTIONS)
def structure_factors(
    start: int, stop: int, fractional: np.ndarray, charges: np.ndarray, runs: np.ndarray, reach: int,
    re: np.ndarray, im: np.ndarray,
) -> None:  # fmt: skip
    """Add q exp(2πi h·s) of each charge; re and im are (n_slots, n_vectors), charges are dealt to slots in turn."""
    n_slots, n_runs = re.shape[0], runs.shape[0] - 1
    cosine, sine = np.empty((3, 2 * reach + 1)), np.empty((3, 2 * reach + 1))
    for slot in range(start, stop):
        for j in range(slot, charges.shape[0], n_slots):
            for axis in range(3):
                _fill_phases(fractional[j, axis], cosine[axis], sine[axis])
            for r in range(n_runs):
                c, s = _product(cosine, sine, runs[r, 0], runs[r, 1])
                here, after = runs[r, 3], runs[r + 1, 3]
                first = reach + runs[r, 2]
                c_m, s_m = cosine[2, first : first + after - here], sine[2, first : first + after - here]
                _add_run(charges[j] * c, charges[j] * s, c_m, s_m, re[slot, here:after], im[slot, here:after])


@numba.njit(**OPTIONS)
def potentials(
    start: int, stop: int, fractional: np.ndarray, runs: np.ndarray, reach: int, re: np.ndarray, im: np.ndarray,
    potential: np.ndarray, gradient: np.ndarray,
) -> None:  # fmt: skip
    """Set Re Σ_h conj(e_h) S_h and Im Σ_h h conj(e_h) S_h of each charge, for weighted structure factors S."""
    n_runs = runs.shape[0] - 1
    cosine, sine = np.empty((3, 2 * reach + 1)), np.empty((3, 2 * reach + 1))
    for j in range(start, stop):
        for axis in range(3):
            _fill_phases(fractional[j, axis], cosine[axis], sine[axis])
        total = g_h = g_k = g_m = 0.0
        for r in range(n_runs):
            h, k = runs[r, 0], runs[r, 1]
            c, s = _product(cosine, sine, h, k)
            here, after = runs[r, 3], runs[r + 1, 3]
            first = reach + runs[r, 2]
            c_m, s_m = cosine[2, first : first + after - here], sine[2, first : first + after - here]
            x, y, x_m, y_m = _sum_run(runs[r, 2], c_m, s_m, re[here:after], im[here:after])
            imaginary = c * y - s * x
            total += c * x + s * y
            g_h += h * imaginary
            g_k += k * imaginary
            g_m += c * y_m - s * x_m
        potential[j] = total
        gradient[j, 0], gradient[j, 1], gradient[j, 2] = g_h, g_k, g_m
