r"""Axis of the smallest eigenvalue of symmetric tensors, and how well it is defined.

Eigenvectors are found without derivatives, and get them by steps that change no value,

.. math:: e_n ← e_n + \sum_{k ≠ n} \frac{v_k}{λ_n - λ_k}\, v_k · (M - e_n · M e_n)\, e_n

with the found v and λ as constants. One step gives first derivatives of the eigenvector, two steps second ones as well.
A difference of eigenvalues near zero, where no axis is defined, is kept from dividing.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

SMALLEST_GAP = 1e-3
"""Differences of eigenvalues below this do not make derivatives of the axis larger."""


def principal_axis(
    tensors: Float[Tensor, "n 3 3"], toward: Float[Tensor, "n 3"]
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, " n"]]:
    """Unit vectors along the axes of the smallest eigenvalues λ₀, and the distances λ₁ − λ₀ ≥ 0 to the next ones.

    Parameters
    ----------
    tensors : (n, 3, 3) symmetric.
    toward : (n, 3) vectors that the axes point along rather than against.

    Returns
    -------
    axes (n, 3) and gaps (n,); where the gap is zero, the axis is any
    """
    given = tensors.detach()
    finite = torch.isfinite(given).flatten(1).all(dim=1)[:, None, None]
    values, vectors = torch.linalg.eigh(torch.where(finite, given, 0.0))  # fails for all if one is not
    first, second = (_followed(tensors, values, vectors, n) for n in (0, 1))
    along = (first.detach() * toward.detach()).sum(dim=1, keepdim=True)
    return first * torch.where(along < 0, -1.0, 1.0), _quotient(tensors, second) - _quotient(tensors, first)


def _followed(tensors: Tensor, values: Tensor, vectors: Tensor, n: int) -> Tensor:
    """(n, 3) the n-th eigenvectors, with derivatives by the tensors."""
    found = vectors[:, :, n]
    differences = values[:, n, None] - values
    scales = differences / (differences.square() + SMALLEST_GAP**2)  # 0 for k = n
    for _ in range(2):
        missing = torch.einsum("nxy,ny->nx", tensors, found) - _quotient(tensors, found)[:, None] * found
        found = found + torch.einsum("nxk,nk,nyk,ny->nx", vectors, scales, vectors, missing)
        found = functional.normalize(found, dim=1)
    return found


def _quotient(tensors: Tensor, vectors: Tensor) -> Tensor:
    return torch.einsum("nx,nxy,ny->n", vectors, tensors, vectors)
