r"""Sum over neighbors of features times a basis, with exact derivatives of any order.

.. math:: s_{i,x,c,k} = \sum_{e=(i,j)} b_{e,x,k}\, a_{j,c,k}

The sum is linear in features *a* and in basis *b*, so its derivatives are the two other ways to contract the same
three arrays: *spread* (over edges to the neighbor) and *contract* (over channels). Each of the three is one operator,
and the gradient of each is made of the other two, which closes the circle for every order. On the CPU with numba the
loops are compiled; otherwise the same contractions are written with torch operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from molcalc.kernels import runtime as compiled

KERNEL_RADIAL = 16
"""Number of radial functions the compiled loops are written for."""


@dataclass(frozen=True)
class EdgeRows:
    """Edges grouped by receiving atom.

    Attributes
    ----------
    first : (n_atoms + 1,) int64, where the edges of each atom begin.
    receiver, source : (n_edges,) int64, atoms i and j of each edge, sorted by i.
    """

    first: Int[Tensor, " _"]
    receiver: Int[Tensor, " n_edges"]
    source: Int[Tensor, " n_edges"]

    @classmethod
    def from_edges(cls, edge_index: Int[Tensor, "2 n_edges"], n_atoms: int) -> EdgeRows:
        """Group an edge list that is sorted by its first row."""
        atoms = torch.arange(n_atoms + 1, device=edge_index.device)
        return cls(torch.searchsorted(edge_index[0], atoms), edge_index[0], edge_index[1])


def neighbor_sum(
    features: Float[Tensor, "n_atoms n_channels n_radial"], basis: Float[Tensor, "n_edges 4 n_radial"], rows: EdgeRows
) -> Float[Tensor, "n_atoms 4 n_channels n_radial"]:
    """Weighted sum of the neighbors' features.

    Parameters
    ----------
    features : (n_atoms, n_channels, n_radial).
    basis : (n_edges, 4, n_radial), one scalar and three vector components per radial function.

    Returns
    -------
    (n_atoms, 4, n_channels, n_radial)
    """
    if features.shape[2] == KERNEL_RADIAL and compiled.usable(features, basis):
        return _Gather.apply(features, basis, rows)
    return _gather_torch(features, basis, rows)


def _gather_torch(features: Tensor, basis: Tensor, rows: EdgeRows) -> Tensor:
    n_atoms, n_channels, n_radial = features.shape
    neighbors = features.index_select(0, rows.source)
    zeros = features.new_zeros(n_atoms, n_channels, n_radial)
    sums = [zeros.index_add(0, rows.receiver, neighbors * basis[:, x, None]) for x in range(4)]
    return torch.stack(sums, dim=1)


def _flat(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().view(-1).numpy()


def _gather(features: Tensor, basis: Tensor, rows: EdgeRows) -> Tensor:
    from molcalc.kernels import neighbor_sum as kernels

    n_atoms, n_channels, n_radial = features.shape
    sums = features.new_empty(n_atoms, 4, n_channels, n_radial)
    compiled.share_range(
        kernels.gather, n_atoms, 4.0 * basis.shape[0] * features[0].numel(), rows.first.numpy(),
        rows.source.numpy(), _flat(features), _flat(basis), n_channels, _flat(sums),
    )  # fmt: skip
    return sums


def _spread(basis: Tensor, sums: Tensor, rows: EdgeRows) -> Tensor:
    from molcalc.kernels import neighbor_sum as kernels

    n_atoms, _, n_channels, n_radial = sums.shape
    features = sums.new_zeros(n_atoms, n_channels, n_radial)
    compiled.share_range(
        kernels.spread, n_channels, 4.0 * basis.shape[0] * n_channels * n_radial, rows.first.numpy(),
        rows.source.numpy(), _flat(basis), _flat(sums), n_channels, _flat(features),
    )  # fmt: skip
    return features


def _contract(features: Tensor, sums: Tensor, rows: EdgeRows) -> Tensor:
    from molcalc.kernels import neighbor_sum as kernels

    n_atoms, n_channels, n_radial = features.shape
    n_edges = rows.source.shape[0]
    basis = features.new_empty(n_edges, 4, n_radial)
    compiled.share_range(
        kernels.contract, n_atoms, 4.0 * n_edges * n_channels * n_radial, rows.first.numpy(),
        rows.source.numpy(), _flat(features), _flat(sums), n_channels, _flat(basis),
    )  # fmt: skip
    return basis


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, basis: Tensor, rows: EdgeRows) -> Tensor:
        ctx.save_for_backward(features, basis)
        ctx.rows = rows
        return _gather(features, basis, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, basis = ctx.saved_tensors
        for_features = _Spread.apply(basis, grad, ctx.rows) if ctx.needs_input_grad[0] else None
        for_basis = _Contract.apply(features, grad, ctx.rows) if ctx.needs_input_grad[1] else None
        return for_features, for_basis, None


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, basis: Tensor, sums: Tensor, rows: EdgeRows) -> Tensor:
        ctx.save_for_backward(basis, sums)
        ctx.rows = rows
        return _spread(basis, sums, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        basis, sums = ctx.saved_tensors
        for_basis = _Contract.apply(grad, sums, ctx.rows) if ctx.needs_input_grad[0] else None
        for_sums = _Gather.apply(grad, basis, ctx.rows) if ctx.needs_input_grad[1] else None
        return for_basis, for_sums, None


class _Contract(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, sums: Tensor, rows: EdgeRows) -> Tensor:
        ctx.save_for_backward(features, sums)
        ctx.rows = rows
        return _contract(features, sums, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, sums = ctx.saved_tensors
        for_features = _Spread.apply(grad, sums, ctx.rows) if ctx.needs_input_grad[0] else None
        for_sums = _Gather.apply(features, grad, ctx.rows) if ctx.needs_input_grad[1] else None
        return for_features, for_sums, None
