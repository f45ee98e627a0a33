"""Layers of PhysNet that act on each atom alone.

References
----------
Unke, Meuwly, J. Chem. Theory Comput. 15, 3678 (2019).
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

LN2 = math.log(2.0)


def shifted_softplus(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """σ(x) = ln(1 + eˣ) − ln 2: smooth to all orders, 0 at 0."""
    return functional.softplus(x) - LN2


class Residual(nn.Module):
    """x + W₂ σ(W₁ σ(x) + b₁) + b₂."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.first = nn.Linear(n_features, n_features)
        self.second = nn.Linear(n_features, n_features)

    def forward(self, x: Float[Tensor, "n_atoms n_features"]) -> Float[Tensor, "n_atoms n_features"]:
        return x + self.second(shifted_softplus(self.first(shifted_softplus(x))))
