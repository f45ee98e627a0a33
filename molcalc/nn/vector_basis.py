r"""Radial functions of an edge and their products with its direction.

.. math::
    g_k(d) = e^{-\eta (d-\mu_k)^2} f_c(d), \qquad
    b_{e} = \left(g_k,\; g_k u_x,\; g_k u_y,\; g_k u_z\right), \qquad u = r/d

with :math:`f_c(d) = \tfrac12 (1 + \cos(\pi d / r_c))` inside the cutoff and 0 beyond.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from molcalc.kernels.runtime import WIDTH, usable

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
    formula = partial(vector_basis_formula, shells=shells)
    if shells.n_radial == WIDTH and usable(vectors):
        from molcalc.kernels import vector_basis as compiled

        smallest = math.exp(SMALLEST_EXPONENT)
        return compiled.vector_basis(vectors, shells.start, shells.spacing, shells.cutoff, smallest, formula)
    return formula(vectors)


def vector_basis_formula(
    vectors: Float[Tensor, "n_edges 3"], shells: GaussianShells
) -> Float[Tensor, "n_edges 4 {shells.n_radial}"]:
    """Reference of :func:`vector_basis`, in operations that can be differentiated any number of times."""
    distances = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    steps = torch.arange(shells.n_radial, dtype=vectors.dtype, device=vectors.device)
    centers = shells.start + shells.spacing * steps
    exponents = -shells.eta * (distances - centers) ** 2
    exponents = exponents.masked_fill(exponents < SMALLEST_EXPONENT, -math.inf)
    radial = torch.exp(exponents) * cosine_cutoff(distances, shells.cutoff)
    weights = torch.cat([torch.ones_like(distances), vectors / distances], dim=1)
    return weights[:, :, None] * radial[:, None, :]
