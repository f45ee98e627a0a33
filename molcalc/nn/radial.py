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
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from molcalc.kernels.runtime import usable
from molcalc.nn.switch import smooth_step

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
        formula = partial(exponential_gaussians, cutoff=self.cutoff)
        if usable(distances, centers) and centers.dtype == distances.dtype == torch.float32:
            from molcalc.kernels import radial as compiled

            return compiled.exponential_gaussians(distances, centers, widths, self.cutoff, LARGEST_EXPONENT, formula)
        return formula(distances, centers, widths)


def exponential_gaussians(
    distances: Float[Tensor, " n_edges"],
    centers: Float[Tensor, " n_radial"],
    widths: Float[Tensor, " n_radial"],
    cutoff: float,
) -> Float[Tensor, "n_edges n_radial"]:
    """Radial functions g_k(r), by the formula above.

    Parameters
    ----------
    distances : (n_edges,) Å.
    centers, widths : (n_radial,) μ and β.
    cutoff : Å.

    Returns
    -------
    (n_edges, n_radial)
    """
    difference = torch.exp(-distances)[:, None] - centers
    exponents = widths * difference * difference
    gaussians = torch.exp(-exponents) * (exponents < LARGEST_EXPONENT)
    return polynomial_cutoff(distances, cutoff)[:, None] * gaussians


def polynomial_cutoff(distances: Float[Tensor, "*shape"], cutoff: float) -> Float[Tensor, "*shape"]:
    """1 − 6x⁵ + 15x⁴ − 10x³ with x = d / r_c for d < r_c, else 0."""
    return 1.0 - smooth_step((distances / cutoff).clamp(max=1.0))


def inverse_softplus(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x > 0 with softplus(x) = value, also where exp(value) overflows."""
    return values + torch.log(-torch.expm1(-values))
