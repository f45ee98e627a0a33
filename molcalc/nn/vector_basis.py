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


def vector_basis_derivatives(
    vectors: Float[Tensor, "n_edges 3"], shells: GaussianShells
) -> tuple[Float[Tensor, "n_edges 3 4 {shells.n_radial}"], Float[Tensor, "n_edges 3 3 4 {shells.n_radial}"]]:
    r"""First and second derivatives of :func:`vector_basis` by the vectors.

    With h = g/d, the functions of an edge are g(d) and h(d) r, of which

    .. math::
        ∂_y g = g' u_y, \qquad ∂_y ∂_z g = g'' u_y u_z + \frac{g'}{d} (δ_{yz} - u_y u_z), \qquad
        ∂_y (h r_x) = r_x ∂_y h + h δ_{xy}, \qquad ∂_y ∂_z (h r_x) = r_x ∂_y ∂_z h + δ_{xz} ∂_y h + δ_{xy} ∂_z h

    Returns
    -------
    first : (n_edges, 3, 4, n_radial) 1/Å, the derivative outside.
    second : (n_edges, 3, 3, 4, n_radial) 1/Å².
    """
    d = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    steps = d - shells.start - shells.spacing * torch.arange(shells.n_radial, dtype=d.dtype, device=d.device)
    exponents = -shells.eta * steps**2
    gaussian = torch.exp(exponents.masked_fill(exponents < SMALLEST_EXPONENT, -math.inf))
    wave = math.pi / shells.cutoff
    inside = d < shells.cutoff
    envelope = cosine_cutoff(d, shells.cutoff)
    slope, curvature = -0.5 * wave * torch.sin(wave * d) * inside, -0.5 * wave**2 * torch.cos(wave * d) * inside
    by_d, by_d_twice = -2.0 * shells.eta * steps, 4.0 * shells.eta**2 * steps**2 - 2.0 * shells.eta
    g = gaussian * envelope
    dg = gaussian * (by_d * envelope + slope)
    ddg = gaussian * (by_d_twice * envelope + 2.0 * by_d * slope + curvature)
    h = g / d
    dh = (dg - h) / d
    ddh = (ddg - 2.0 * dh) / d
    u, one = vectors / d, torch.eye(3, dtype=d.dtype, device=d.device)
    along = u[:, :, None, None] * u[:, None, :, None]
    across = one[:, :, None] - along
    first_g, first_h = u[:, :, None] * dg[:, None], u[:, :, None] * dh[:, None]
    second_g = along * ddg[:, None, None] + across * (dg / d)[:, None, None]
    second_h = along * ddh[:, None, None] + across * (dh / d)[:, None, None]
    first = torch.cat(
        [
            first_g[:, :, None],
            vectors[:, None, :, None] * first_h[:, :, None] + one[:, :, None] * h[:, None, None],
        ],
        dim=2,
    )
    mixed = first_h[:, :, None, None] * one[:, :, None]  # by y, with x = z
    second = torch.cat(
        [
            second_g[:, :, :, None],
            vectors[:, None, None, :, None] * second_h[:, :, :, None] + mixed + mixed.transpose(1, 2),
        ],
        dim=3,
    )
    return first, second
