r"""Radial functions of an edge and their products with its direction.

.. math::
    g_k(d) = e^{-\eta (d-\mu_k)^2} f_c(d), \qquad
    b_{e} = \left(g_k,\; g_k u_x,\; g_k u_y,\; g_k u_z\right), \qquad u = r/d

with :math:`f_c(d) = \tfrac12 (1 + \cos(\pi d / r_c))` inside the cutoff and 0 beyond.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from molcalc.kernels import runtime as compiled
from molcalc.nn.neighbor_sum import KERNEL_RADIAL
from molcalc.nn.wanted import wanted

SMALLEST_EXPONENT = -41.5
"""Gaussians below 1e-18 are set to 0: single precision would hold their squares as subnormal numbers, with which
processors compute a hundred times more slowly. Next to the other terms they are below the last digit."""


@dataclass(frozen=True)
class GaussianShells:
    """Evenly spaced Gaussians between ``start`` and ``cutoff`` (the cutoff itself is not a center).

    Attributes
    ----------
    n_radial : number of Gaussians.
    start : Å, center of the first.
    cutoff : Å, where all functions vanish.
    """

    n_radial: int
    start: float
    cutoff: float

    @property
    def spacing(self) -> float:
        """Distance between neighboring centers in Å."""
        return (self.cutoff - self.start) / self.n_radial

    @property
    def eta(self) -> float:
        """Exponent in Å⁻²: the inverse square of the spacing."""
        return 1.0 / self.spacing**2


def cosine_cutoff(distances: Float[Tensor, "*shape"], cutoff: float) -> Float[Tensor, "*shape"]:
    """½(1 + cos(π d / r_c)) for d < r_c, else 0."""
    return 0.5 + 0.5 * torch.cos((math.pi / cutoff) * distances.clamp(max=cutoff))


def vector_basis(
    vectors: Float[Tensor, "n_edges 3"], shells: GaussianShells
) -> Float[Tensor, "n_edges 4 {shells.n_radial}"]:
    """Scalar and vector basis of every edge.

    Parameters
    ----------
    vectors : (n_edges, 3) r_ij in Å; their dtype is that of the result.

    Returns
    -------
    (n_edges, 4, n_radial)
    """
    if shells.n_radial == KERNEL_RADIAL and compiled.usable(vectors):
        return _VectorBasis.apply(vectors, shells)
    return _vector_basis_torch(vectors, shells)


def _vector_basis_torch(vectors: Tensor, shells: GaussianShells) -> Tensor:
    distances = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    steps = torch.arange(shells.n_radial, dtype=vectors.dtype, device=vectors.device)
    centers = shells.start + shells.spacing * steps
    exponents = -shells.eta * (distances - centers) ** 2
    exponents = exponents.masked_fill(exponents < SMALLEST_EXPONENT, -math.inf)
    radial = torch.exp(exponents) * cosine_cutoff(distances, shells.cutoff)
    weights = torch.cat([torch.ones_like(distances), vectors / distances], dim=1)
    return weights[:, :, None] * radial[:, None, :]


class _VectorBasis(torch.autograd.Function):
    """Compiled values and derivatives."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, shells: GaussianShells) -> Tensor:
        from molcalc.kernels import vector_basis as kernels

        ctx.save_for_backward(vectors)
        ctx.shells = shells
        basis = vectors.new_empty(vectors.shape[0], 4, shells.n_radial)
        compiled.share_range(
            kernels.values, vectors.shape[0], 400.0 * vectors.shape[0], vectors.detach().contiguous().numpy(),
            shells.start, shells.spacing, shells.cutoff, basis.numpy(),
        )  # fmt: skip
        return basis

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (vectors,) = ctx.saved_tensors
        gradient: Tensor = _Gradient.apply(vectors, grad, ctx.shells)
        return gradient, None


class _Gradient(torch.autograd.Function):
    """Gradient for the vectors. When a loss on forces is differentiated, only that for ``grad`` is needed of it."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, grad: Tensor, shells: GaussianShells) -> Tensor:
        from molcalc.kernels import vector_basis as kernels

        ctx.save_for_backward(vectors, grad)
        ctx.shells = shells
        gradient = torch.empty_like(vectors, memory_format=torch.contiguous_format)
        compiled.share_range(
            kernels.gradient, vectors.shape[0], 600.0 * vectors.shape[0],
            vectors.detach().contiguous().numpy(), grad.detach().contiguous().numpy(),
            shells.start, shells.spacing, shells.cutoff, gradient.numpy(),
        )  # fmt: skip
        return gradient

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        vectors, grad = ctx.saved_tensors
        shells = ctx.shells
        if torch.is_grad_enabled() or wanted(ctx, 0):
            return *_reference_gradient(vectors, grad, upstream, shells), None
        from molcalc.kernels import vector_basis as kernels

        along = torch.empty_like(grad, memory_format=torch.contiguous_format)
        compiled.share_range(
            kernels.along, vectors.shape[0], 600.0 * vectors.shape[0],
            vectors.detach().contiguous().numpy(), upstream.detach().contiguous().numpy(),
            shells.start, shells.spacing, shells.cutoff, along.numpy(),
        )  # fmt: skip
        return None, along, None


def _reference_gradient(
    vectors: Tensor, grad: Tensor, upstream: Tensor, shells: GaussianShells
) -> tuple[Tensor, Tensor]:
    """Gradients of Σ upstream · ∂(grad · basis)/∂vectors for vectors and grad, differentiable any number of times."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        leaves = [t.view_as(t) if t.requires_grad else t.detach().requires_grad_() for t in (vectors, grad)]
        basis = _vector_basis_torch(leaves[0], shells)
        (gradient,) = torch.autograd.grad(basis, leaves[0], leaves[1], create_graph=True)
        for_vectors, for_grad = torch.autograd.grad(gradient, leaves, upstream, create_graph=create_graph)
    return for_vectors, for_grad
