"""Compiled radial functions of PhysNet in single precision (see :mod:`molcalc.nn.radial`).

With t = exp(−r), u = t − μ, G = exp(−β u²) and h = 2 β u t the derivatives by r are

    G' = h G,    B' = G (φ' + φ h),    B'' = G (φ'' + 2 φ' h + φ (h² − 2 β t (t + u)))

Import only where numba is available.
"""

import math

import numba
import numpy as np

from molcalc.kernels.exponential import exp_negative

_OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy", "boundscheck": False}
_LANES = {"fastmath": {"contract", "nsz"}, **_OPTIONS}
_SUMS = {"fastmath": {"contract", "nsz", "reassoc"}, **_OPTIONS}

_F = np.float32
_ZERO, _TWO = _F(0.0), _F(2.0)


@numba.njit(**_OPTIONS)
def _envelope(r: float, cutoff: float) -> tuple[float, float, float]:
    """φ, φ' and φ'' in double precision."""
    if r >= cutoff:
        return 0.0, 0.0, 0.0
    x = r / cutoff
    value = 1.0 - x * x * x * (10.0 - x * (15.0 - 6.0 * x))
    first = -30.0 * x * x * (1.0 - x) * (1.0 - x) / cutoff
    second = -60.0 * x * (1.0 - x) * (1.0 - 2.0 * x) / (cutoff * cutoff)
    return value, first, second


@numba.njit(**_LANES)
def _row(
    t: float, scale: float, largest: float, centers: np.ndarray, widths: np.ndarray, gauss: np.ndarray, out: np.ndarray
) -> None:
    for k in range(out.size):
        u = t - centers[k]
        exponent = widths[k] * u * u
        value = exp_negative(-exponent)
        gauss[k] = value if exponent < largest else _ZERO
        out[k] = scale * gauss[k]


@numba.njit(**_OPTIONS)
def values(
    r: np.ndarray, cutoff: float, largest: float, centers: np.ndarray, widths: np.ndarray, gauss: np.ndarray,
    out: np.ndarray,
) -> None:  # fmt: skip
    """Gaussians and, multiplied by the envelope, radial functions: (n_edges, K) both."""
    for e in range(r.size):
        scale = _F(_envelope(r[e], cutoff)[0])
        _row(_F(math.exp(-r[e])), scale, _F(largest), centers, widths, gauss[e], out[e])


@numba.njit(**_SUMS)
def _slope_row(
    t: float, a: float, b: float, centers: np.ndarray, widths: np.ndarray, gauss: np.ndarray, weights: np.ndarray
) -> np.float32:
    total = _ZERO
    for k in range(weights.size):
        h = _TWO * widths[k] * (t - centers[k]) * t
        total += weights[k] * gauss[k] * (b + a * h)
    return total


@numba.njit(**_LANES)
def _parameter_row(
    t: float, a: float, centers: np.ndarray, widths: np.ndarray, gauss: np.ndarray, weights: np.ndarray,
    to_centers: np.ndarray, to_widths: np.ndarray,
) -> None:  # fmt: skip
    for k in range(weights.size):
        u = t - centers[k]
        common = a * weights[k] * gauss[k] * u
        to_centers[k] += _TWO * widths[k] * common
        to_widths[k] -= u * common


@numba.njit(**_OPTIONS)
def first(
    r: np.ndarray, cutoff: float, centers: np.ndarray, widths: np.ndarray, gauss: np.ndarray, weights: np.ndarray,
    to_r: np.ndarray, to_centers: np.ndarray, to_widths: np.ndarray,
) -> None:  # fmt: skip
    """Derivatives of Σ weights B by r, μ and β; those by parameters only if their arrays are not empty."""
    for e in range(r.size):
        t = _F(math.exp(-r[e]))
        value, slope, _ = _envelope(r[e], cutoff)
        to_r[e] = _slope_row(t, _F(value), _F(slope), centers, widths, gauss[e], weights[e])
        if to_centers.size:
            _parameter_row(t, _F(value), centers, widths, gauss[e], weights[e], to_centers, to_widths)


@numba.njit(**_SUMS)
def _second_row(
    t: float, a: float, b: float, c: float, v: float, centers: np.ndarray, widths: np.ndarray, gauss: np.ndarray,
    weights: np.ndarray,
) -> np.float32:  # fmt: skip
    total = _ZERO
    for k in range(weights.size):
        u = t - centers[k]
        h = _TWO * widths[k] * u * t
        bent = c + h * (_TWO * b + a * h) - a * _TWO * widths[k] * t * (t + u)
        total += weights[k] * gauss[k] * bent
    return v * total


@numba.njit(**_LANES)
def _mixed_row(
    t: float, a: float, b: float, v: float, centers: np.ndarray, widths: np.ndarray, gauss: np.ndarray,
    weights: np.ndarray, to_weights: np.ndarray, to_centers: np.ndarray, to_widths: np.ndarray,
) -> None:  # fmt: skip
    for k in range(weights.size):
        u = t - centers[k]
        slope = b + a * _TWO * widths[k] * u * t
        to_weights[k] = v * gauss[k] * slope
        common = v * weights[k] * gauss[k]
        to_centers[k] += common * _TWO * widths[k] * (u * slope - a * t)
        to_widths[k] += common * u * (_TWO * a * t - u * slope)


@numba.njit(**_OPTIONS)
def second(
    r: np.ndarray, cutoff: float, centers: np.ndarray, widths: np.ndarray, gauss: np.ndarray, weights: np.ndarray,
    v: np.ndarray, to_r: np.ndarray, to_weights: np.ndarray, to_centers: np.ndarray, to_widths: np.ndarray,
) -> None:  # fmt: skip
    """Derivatives of Σ_e v_e Σ_k weights B' by r, weights, μ and β."""
    for e in range(r.size):
        t = _F(math.exp(-r[e]))
        value, slope, bend = _envelope(r[e], cutoff)
        a, b, c = _F(value), _F(slope), _F(bend)
        to_r[e] = _second_row(t, a, b, c, v[e], centers, widths, gauss[e], weights[e])
        _mixed_row(
            t, a, b, v[e], centers, widths, gauss[e], weights[e], to_weights[e], to_centers, to_widths
        )  # fmt: skip
