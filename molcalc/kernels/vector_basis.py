"""Compiled vector basis (see :mod:`molcalc.nn.vector_basis`). Import only where numba is available.

With spacing Δ and η = 1/Δ², exp(−η(d − μ_k)²) = exp(−t²) · exp(2t)^k · exp(−k²) for t = (d − μ_0)/Δ: two exponentials
give all sixteen Gaussians. The intermediate values reach exp(±480), which double precision holds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
import torch
from torch import Tensor

from molcalc.kernels.differentiation import CompiledFunction, Gradients, Tensors, Wanted, differentiable
from molcalc.kernels.runtime import OPTIONS, WIDTH, array, share_range

_DAMP = np.exp(-(np.arange(WIDTH, dtype=np.float64) ** 2))


@numba.njit(inline="always", **OPTIONS)
def _edge(vectors, e, first_center, spacing, cutoff):  # type: ignore[no-untyped-def]
    """d and u; cutoff function and its slope; t, exp(−t²) and exp(2t)."""
    x, y, z = float(vectors[e, 0]), float(vectors[e, 1]), float(vectors[e, 2])
    d = math.sqrt(x * x + y * y + z * z)
    angle = math.pi * min(d, cutoff) / cutoff
    envelope, slope = 0.5 + 0.5 * math.cos(angle), -0.5 * math.pi / cutoff * math.sin(angle)
    t = (d - first_center) / spacing
    return d, x / d, y / d, z / d, envelope, slope, t, math.exp(-t * t), math.exp(2.0 * t)


@numba.njit(**OPTIONS)
def basis_values(
    start: int, stop: int, vectors: np.ndarray, first_center: float, spacing: float, cutoff: float,
    smallest: float, basis: np.ndarray,
) -> None:  # fmt: skip
    """basis[e] = (g, g·u_x, g·u_y, g·u_z) for edges start…stop."""
    for e in range(start, stop):
        _, ux, uy, uz, envelope, _, _, power, ratio = _edge(vectors, e, first_center, spacing, cutoff)
        for k in range(WIDTH):
            gaussian = power * _DAMP[k]
            power *= ratio
            g = gaussian * envelope if gaussian >= smallest else 0.0
            basis[e, 0, k] = g
            basis[e, 1, k] = g * ux
            basis[e, 2, k] = g * uy
            basis[e, 3, k] = g * uz


@numba.njit(**OPTIONS)
def basis_gradient(
    start: int, stop: int, vectors: np.ndarray, upstream: np.ndarray, first_center: float, spacing: float,
    cutoff: float, smallest: float, result: np.ndarray,
) -> None:  # fmt: skip
    """result[e] = Σ_xk upstream[e, x, k] ∂basis[e, x, k]/∂vectors[e] for edges start…stop."""
    for e in range(start, stop):
        d, ux, uy, uz, envelope, slope, t, power, ratio = _edge(vectors, e, first_center, spacing, cutoff)
        along = vx = vy = vz = 0.0
        for k in range(WIDTH):
            gaussian = power * _DAMP[k]
            power *= ratio
            if gaussian < smallest:
                gaussian = 0.0
            g = gaussian * envelope
            dg = gaussian * slope - 2.0 * (t - k) / spacing * g
            gx, gy, gz = upstream[e, 1, k], upstream[e, 2, k], upstream[e, 3, k]
            along += dg * (upstream[e, 0, k] + ux * gx + uy * gy + uz * gz)
            vx += g * gx
            vy += g * gy
            vz += g * gz
        radial = along - (ux * vx + uy * vy + uz * vz) / d
        result[e, 0] = ux * radial + vx / d
        result[e, 1] = uy * radial + vy / d
        result[e, 2] = uz * radial + vz / d


@numba.njit(**OPTIONS)
def along(
    start: int, stop: int, vectors: np.ndarray, change: np.ndarray, first_center: float, spacing: float,
    cutoff: float, smallest: float, result: np.ndarray,
) -> None:  # fmt: skip
    """result[e] = Σ_x change[e, x] ∂basis[e]/∂vectors[e, x] for edges start…stop."""
    for e in range(start, stop):
        d, ux, uy, uz, envelope, slope, t, power, ratio = _edge(vectors, e, first_center, spacing, cutoff)
        cx, cy, cz = float(change[e, 0]), float(change[e, 1]), float(change[e, 2])
        stretch = ux * cx + uy * cy + uz * cz
        tx, ty, tz = (cx - stretch * ux) / d, (cy - stretch * uy) / d, (cz - stretch * uz) / d
        for k in range(WIDTH):
            gaussian = power * _DAMP[k]
            power *= ratio
            if gaussian < smallest:
                gaussian = 0.0
            g = gaussian * envelope
            dg = (gaussian * slope - 2.0 * (t - k) / spacing * g) * stretch
            result[e, 0, k] = dg
            result[e, 1, k] = dg * ux + g * tx
            result[e, 2, k] = dg * uy + g * ty
            result[e, 3, k] = dg * uz + g * tz


def vector_basis(
    vectors: Tensor,
    first_center: float,
    spacing: float,
    cutoff: float,
    smallest: float,
    formula: Callable[[Tensor], Tensor],
) -> Tensor:
    """Scalar and vector basis of every edge, (n_edges, 4, 16).

    Parameters
    ----------
    vectors : (n_edges, 3) Å, single or double precision.
    first_center, spacing, cutoff : Å.
    smallest : Gaussians below it are set to 0.
    formula : the same in torch operations.

    Returns
    -------
    (n_edges, 4, 16)
    """
    return differentiable(_VectorBasis((first_center, spacing, cutoff, smallest), formula), vectors)[0]


@dataclass(frozen=True)
class _VectorBasis(CompiledFunction):
    shells: tuple[float, float, float, float]
    in_torch: Callable[[Tensor], Tensor]
    twice = (0,)

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        (vectors,) = inputs
        n, basis = len(vectors), vectors.new_empty(len(vectors), 4, WIDTH)
        share_range(basis_values, n, 400.0 * n, array(vectors), *self.shells, array(basis))
        return (basis,), ()

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients:
        (vectors,), n = inputs, len(inputs[0])
        result = torch.empty_like(vectors, memory_format=torch.contiguous_format)
        share_range(basis_gradient, n, 600.0 * n, array(vectors), array(upstream[0]), *self.shells, array(result))
        return (result,)

    def second(
        self, inputs: Tensors, kept: Tensors, upstream: Tensors, tangents: Tensors, wanted: Wanted
    ) -> Gradients | None:
        """When a loss on forces is differentiated for the weights, only the gradient by ``upstream`` is needed."""
        if wanted(0):
            return None
        (vectors,), n = inputs, len(inputs[0])
        result = torch.empty_like(upstream[0], memory_format=torch.contiguous_format)
        share_range(along, n, 600.0 * n, array(vectors), array(tangents[0]), *self.shells, array(result))
        return None, result

    def formula(self, *inputs: Tensor) -> Tensors:
        return (self.in_torch(*inputs),)
