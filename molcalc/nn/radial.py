r"""Gaussians in exp(−r), PhysNet's radial functions.

.. math:: g_k(r) = φ(r) \exp\!\left(-β_k (e^{-r} - μ_k)^2\right), \qquad
    φ(r) = 1 - 6x^5 + 15x^4 - 10x^3, \quad x = r / r_c

φ and its first two derivatives vanish at the cutoff r_c. Centers μ_k and widths β_k are trained through a softplus,
which keeps them positive.

References
----------
Unke, Meuwly, J. Chem. Theory Comput. 15, 3678 (2019), eq. 7-8.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from molcalc.kernels.runtime import usable

LARGEST_EXPONENT = 50.0
"""Gaussians below 2e-22 are set to 0: numbers that are too small for full precision slow the processor down."""


class ExponentialGaussians(nn.Module):
    """Radial functions of edges, with trainable centers and widths.

    Parameters
    ----------
    n_radial : number of functions.
    cutoff : Å, where all functions vanish.
    """

    def __init__(self, n_radial: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.raw_centers = nn.Parameter(torch.empty(n_radial))
        self.raw_widths = nn.Parameter(torch.empty(n_radial))

    def initialize(self) -> None:
        """Space the centers evenly between exp(−cutoff) and 1; neighbors overlap as in PhysNet."""
        n_radial, last = self.raw_centers.shape[0], math.exp(-self.cutoff)
        centers = torch.linspace(last, 1.0, n_radial, dtype=torch.float64)
        width = ((2.0 / n_radial) * (1.0 - last)) ** -2
        with torch.no_grad():
            self.raw_centers.copy_(inverse_softplus(centers))
            self.raw_widths.copy_(inverse_softplus(torch.full_like(centers, width)))

    def forward(self, distances: Float[Tensor, " n_edges"]) -> Float[Tensor, "n_edges n_radial"]:
        """(n_edges, n_radial) values at (n_edges,) distances in Å, whose dtype is that of the result."""
        centers, widths = functional.softplus(self.raw_centers), functional.softplus(self.raw_widths)
        if usable(distances, centers) and centers.dtype == distances.dtype == torch.float32:
            basis: Tensor = _Compiled.apply(distances, centers, widths, self.cutoff)
            return basis
        difference = torch.exp(-distances)[:, None] - centers
        exponents = widths * difference * difference
        gaussians = torch.exp(-exponents) * (exponents < LARGEST_EXPONENT)
        return polynomial_cutoff(distances, self.cutoff)[:, None] * gaussians


class _Compiled(torch.autograd.Function):
    """The same in compiled loops. With ``create_graph`` only the gradient by distances is returned."""

    @staticmethod
    def forward(ctx: Any, distances: Tensor, centers: Tensor, widths: Tensor, cutoff: float) -> Tensor:
        from molcalc.kernels import radial as kernels

        gauss, basis = np.empty((2, len(distances), len(centers)), dtype=np.float32)
        ctx.arrays = *(_array(x) for x in (distances, centers, widths)), gauss
        ctx.cutoff = cutoff
        ctx.save_for_backward(distances, centers, widths)
        r, *parameters = ctx.arrays[:3]
        kernels.values(r, cutoff, LARGEST_EXPONENT, *parameters, gauss, basis)
        return torch.from_numpy(basis)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        if torch.is_grad_enabled():
            slope = _CompiledSlope.apply(*ctx.saved_tensors, upstream[0], ctx.arrays, ctx.cutoff)
            return slope, None, None, None
        from molcalc.kernels import radial as kernels

        r, *parameters, gauss = ctx.arrays
        to_r, to_parameters = np.empty_like(r), np.zeros((2, gauss.shape[1]), dtype=np.float32)
        kernels.first(r, ctx.cutoff, *parameters, gauss, _array(upstream[0]), to_r, *to_parameters)
        return torch.from_numpy(to_r), *torch.from_numpy(to_parameters), None


class _CompiledSlope(torch.autograd.Function):
    """Gradient by distances, which can be differentiated once more."""

    @staticmethod
    def forward(
        ctx: Any, distances: Tensor, centers: Tensor, widths: Tensor, weights: Tensor, arrays: Any, cutoff: float
    ) -> Tensor:
        from molcalc.kernels import radial as kernels

        ctx.arrays, ctx.weights, ctx.cutoff = arrays, _array(weights), cutoff
        r, *parameters, gauss = arrays
        to_r, nothing = np.empty_like(r), np.empty(0, dtype=np.float32)
        kernels.first(r, cutoff, *parameters, gauss, ctx.weights, to_r, nothing, nothing)
        return torch.from_numpy(to_r)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        from molcalc.kernels import radial as kernels

        r, *parameters, gauss = ctx.arrays
        to_r, to_weights = np.empty_like(r), np.empty_like(gauss)
        to_parameters = np.zeros((2, gauss.shape[1]), dtype=np.float32)
        kernels.second(
            r, ctx.cutoff, *parameters, gauss, ctx.weights, _array(upstream[0]), to_r, to_weights, *to_parameters
        )
        results = torch.from_numpy(to_r), *torch.from_numpy(to_parameters), torch.from_numpy(to_weights)
        return *results, None, None


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def polynomial_cutoff(distances: Float[Tensor, "*shape"], cutoff: float) -> Float[Tensor, "*shape"]:
    """1 − 6x⁵ + 15x⁴ − 10x³ with x = d / r_c for d < r_c, else 0."""
    x = (distances / cutoff).clamp(max=1.0)
    return 1.0 - x * x * x * (10.0 - x * (15.0 - 6.0 * x))


def inverse_softplus(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x > 0 with softplus(x) = value, also where exp(value) overflows."""
    return values + torch.log(-torch.expm1(-values))
