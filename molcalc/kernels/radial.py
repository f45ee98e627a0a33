"""Compiled Gaussians in exp(−r), in single precision (see :mod:`molcalc.nn.radial`).

With t = exp(−r), u = t − μ, G = exp(−β u²) and h = 2 β u t the derivatives by r are

    G' = h G,    B' = G (φ' + φ h),    B'' = G (φ'' + 2 φ' h + φ (h² − 2 β t (t + u)))

Import only where numba is available.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
import torch
from torch import Tensor

from molcalc.kernels.differentiation import CompiledFunction, Gradients, Tensors, Wanted, differentiable
from molcalc.kernels.exponential import exp_negative
from molcalc.kernels.runtime import LANES, OPTIONS, SUMS, array
from molcalc.kernels.switch import smooth_step, smooth_step_curvature

_F = np.float32
_ZERO, _TWO = _F(0.0), _F(2.0)


@numba.njit(**OPTIONS)
def _envelope(r: float, cutoff: float) -> tuple[float, float, float]:
    """φ, φ' and φ'' in double precision."""
    if r >= cutoff:
        return 0.0, 0.0, 0.0
    x = r / cutoff
    value, slope = smooth_step(x)
    return 1.0 - value, -slope / cutoff, -smooth_step_curvature(x) / (cutoff * cutoff)


@numba.njit(**LANES)
def _row(
    t: float, scale: float, largest: float, centers: np.ndarray, widths: np.ndarray, gauss: np.ndarray, out: np.ndarray
) -> None:
    for k in range(out.size):
        u = t - centers[k]
        exponent = widths[k] * u * u
        value = exp_negative(-exponent)
        gauss[k] = value if exponent < largest else _ZERO
        out[k] = scale * gauss[k]


@numba.njit(**OPTIONS)
def values(
    r: np.ndarray, cutoff: float, largest: float, centers: np.ndarray, widths: np.ndarray, gauss: np.ndarray,
    out: np.ndarray,
) -> None:  # fmt: skip
    """Gaussians and, multiplied by the envelope, radial functions: (n_edges, K) both."""
    for e in range(r.size):
        scale = _F(_envelope(r[e], cutoff)[0])
        _row(_F(math.exp(-r[e])), scale, _F(largest), centers, widths, gauss[e], out[e])


@numba.njit(**SUMS)
def _slope_row(
    t: float, a: float, b: float, centers: np.ndarray, widths: np.ndarray, gauss: np.ndarray, weights: np.ndarray
) -> np.float32:
    total = _ZERO
    for k in range(weights.size):
        h = _TWO * widths[k] * (t - centers[k]) * t
        total += weights[k] * gauss[k] * (b + a * h)
    return total


@numba.njit(**LANES)
def _parameter_row(
    t: float, a: float, centers: np.ndarray, widths: np.ndarray, gauss: np.ndarray, weights: np.ndarray,
    to_centers: np.ndarray, to_widths: np.ndarray,
) -> None:  # fmt: skip
    for k in range(weights.size):
        u = t - centers[k]
        common = a * weights[k] * gauss[k] * u
        to_centers[k] += _TWO * widths[k] * common
        to_widths[k] -= u * common


@numba.njit(**OPTIONS)
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


@numba.njit(**SUMS)
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


@numba.njit(**LANES)
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


@numba.njit(**OPTIONS)
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


def exponential_gaussians(
    distances: Tensor, centers: Tensor, widths: Tensor, cutoff: float, largest: float, formula: Callable[..., Tensor]
) -> Tensor:
    """Radial functions of edges, (n_edges, K).

    Parameters
    ----------
    distances : (n_edges,) Å.
    centers, widths : (K,) μ and β.
    cutoff : Å.
    largest : exponents above it make functions that are set to 0.
    formula : the same in torch operations, as a function of the three tensors.

    Returns
    -------
    (n_edges, K)
    """
    return differentiable(_ExponentialGaussians(cutoff, largest, formula), distances, centers, widths)[0]


@dataclass(frozen=True)
class _ExponentialGaussians(CompiledFunction):
    cutoff: float
    largest: float
    in_torch: Callable[..., Tensor]
    twice = (0,)

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        r, centers, widths = inputs
        gauss = r.new_empty(len(r), len(centers))
        basis = torch.empty_like(gauss)
        values(array(r), self.cutoff, self.largest, array(centers), array(widths), array(gauss), array(basis))
        return (basis,), (gauss,)

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients:
        r, *parameters = (array(x) for x in inputs)
        with_parameters = wanted(1) or wanted(2)
        to_r, to_parameters = kept[0].new_empty(r.shape), kept[0].new_zeros(2, len(inputs[1]) * with_parameters)
        first(r, self.cutoff, *parameters, array(kept[0]), array(upstream[0]), array(to_r), *array(to_parameters))
        return to_r, *(to_parameters if with_parameters else (None, None))

    def second(self, inputs: Tensors, kept: Tensors, upstream: Tensors, tangents: Tensors, wanted: Wanted) -> Gradients:
        r, *parameters = (array(x) for x in inputs)
        gauss, weights = array(kept[0]), array(upstream[0])
        to_r, to_weights = kept[0].new_empty(r.shape), torch.empty_like(kept[0])
        to_parameters = kept[0].new_zeros(2, gauss.shape[1])
        second(
            r, self.cutoff, *parameters, gauss, weights, array(tangents[0]), array(to_r), array(to_weights),
            *array(to_parameters),
        )  # fmt: skip
        return to_r, *to_parameters, to_weights

    def formula(self, *inputs: Tensor) -> Tensors:
        return (self.in_torch(*inputs),)
