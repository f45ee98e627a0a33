r"""What a pass of AIMNet2 reads: features of an atom, and scalars made of sums over its neighbors.

.. math:: m_i = \left(a,\; S_a,\; R_a,\; q,\; S_q,\; R_q\right), \qquad
          R_{ch} = \sum_x U_{xch}^2, \qquad U_{xch} = \sum_k W_{ckh} V_{xck}

with the scalar sum S and the vector sums V of every channel c (k counts radial functions, x directions, h combinations;
see :mod:`molcalc.nn.neighbor_sum`). A charge is a channel whose sixteen numbers are equal. On the CPU with numba, the
sums of one atom at a time are made, used and forgotten, here as in both derivatives: writing them to memory takes
longer than computing them again.

References
----------
Anstine, Zubatyuk, Isayev, Chem. Sci. 16, 10228 (2025), doi:10.1039/D4SC08572H.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from molcalc.kernels import runtime as compiled
from molcalc.nn.join import join
from molcalc.nn.neighbor_sum import KERNEL_RADIAL, EdgeRows, neighbor_sum
from molcalc.nn.wanted import wanted

KERNEL_VECTORS = 16
"""Largest number of vector combinations the compiled loops are written for."""
KERNEL_DTYPES = (torch.float32, torch.float64)
ROW_LANES = 16
"""Numbers of single precision in what a processor reads from memory at once."""


def message(
    features: Float[Tensor, "n_atoms A·G"],
    charges: Float[Tensor, "n_atoms Q"] | None,
    basis: Float[Tensor, "n_edges 4 G"],
    weights: Float[Tensor, "_ G H"],
    rows: EdgeRows,
    *,
    norms_only: bool = False,
    aligned: bool = False,
) -> Float[Tensor, "n_atoms width"]:
    """Features, neighbor sums and their norms side by side.

    Parameters
    ----------
    features : (n_atoms, A · G).
    charges : (n_atoms, Q) channels that follow the A feature channels, or None.
    basis : (n_edges, 4, G), one scalar and three vector components.
    weights : (A + Q, G, H) combinations of the vector sums.
    norms_only : leave out features and scalar sums (of a message without charges).
    aligned : add columns of zeros up to the next multiple of ROW_LANES. Matrix products are quicker then.

    Returns
    -------
    (n_atoms, width)
    """
    charges = features.new_empty(len(features), 0) if charges is None else charges
    tensors = (features, charges, basis, weights)
    fits = basis.shape[2] == KERNEL_RADIAL and weights.shape[2] <= KERNEL_VECTORS
    same = basis.dtype in KERNEL_DTYPES and all(tensor.dtype == basis.dtype for tensor in tensors)
    if fits and same and compiled.usable(*tensors):
        result: Tensor = _Push.apply(*tensors, rows, norms_only, aligned)
        return result
    result = _message_torch(*tensors, rows, norms_only)
    return functional.pad(result, (0, -result.shape[1] % ROW_LANES)) if aligned else result


def _message_torch(
    features: Tensor, charges: Tensor, basis: Tensor, weights: Tensor, rows: EdgeRows, norms_only: bool
) -> Tensor:
    n_atoms, n_charges, n_radial = len(features), charges.shape[1], basis.shape[2]
    channels = join([features, charges[:, :, None].expand(-1, -1, n_radial)])
    sums = neighbor_sum(channels.view(n_atoms, -1, n_radial), basis, rows)
    scalars, vectors = sums.split((1, 3), dim=1)
    norms = torch.einsum("ixck,ckh->ixch", vectors, weights).square().sum(dim=1)
    split = (len(weights) - n_charges, n_charges)
    (scalar_a, scalar_q), (norm_a, norm_q) = scalars.split(split, dim=2), norms.split(split, dim=1)
    return norm_a.flatten(1) if norms_only else join([features, scalar_a, norm_a, charges, scalar_q, norm_q])


@dataclass(frozen=True)
class _Layout:
    """Where the columns of a message are."""

    n_own: int
    n_charges: int
    n_norms: int
    norms_only: bool
    aligned: bool

    @property
    def n_features(self) -> int:
        return 0 if self.norms_only else self.n_own * KERNEL_RADIAL

    @property
    def charges_at(self) -> int:
        return 2 * self.n_features + self.n_own * self.n_norms

    @property
    def used(self) -> int:
        """Columns that are not zero."""
        return self.charges_at + self.n_charges * (1 + KERNEL_RADIAL + self.n_norms)

    @property
    def width(self) -> int:
        return self.used + -self.used % (ROW_LANES if self.aligned else 1)

    def arguments(self) -> tuple[Any, ...]:
        """What kernels are told."""
        return self.n_own, self.n_charges, *_columns(self), self.n_norms, self.width

    def inputs(self, rows: Tensor) -> tuple[Tensor | None, Tensor]:
        """Columns of features, if there are any, and of charges."""
        features = rows[:, : self.n_features] if not self.norms_only else None
        return features, rows[:, self.charges_at : self.charges_at + self.n_charges]

    def empty_rows(self, features: Tensor, charges: Tensor) -> Tensor:
        """Rows with features and charges, and zeros behind all that kernels write."""
        rows = features.new_empty(len(features), self.width)
        own_features, own_charges = self.inputs(rows)
        if own_features is not None:
            own_features.copy_(features)
        own_charges.copy_(charges)
        rows[:, self.used :] = 0.0
        return rows


@lru_cache(maxsize=64)
def _columns(layout: _Layout) -> tuple[np.ndarray, np.ndarray]:
    """Where scalars and norms of each channel begin; -1 for scalars that are not there."""
    if layout.norms_only:
        return np.full(layout.n_own, -1), layout.n_norms * np.arange(layout.n_own)
    scalars_at, norms_at = [], []
    for n, at in ((layout.n_own, layout.n_features), (layout.n_charges, layout.charges_at + layout.n_charges)):
        scalars_at.append(at + KERNEL_RADIAL * np.arange(n))
        norms_at.append(at + KERNEL_RADIAL * n + layout.n_norms * np.arange(n))
    return np.concatenate(scalars_at), np.concatenate(norms_at)


def _flat(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().view(-1).numpy()


def _padded(weights: Tensor) -> tuple[Any, Any]:
    """Weights with rows of sixteen lanes, by k and by h."""
    empty = KERNEL_VECTORS - weights.shape[2]
    turned = functional.pad(weights.detach().mT, (0, 0, 0, empty))
    return _flat(functional.pad(weights.detach(), (0, empty))), _flat(turned)


def _work(basis: Tensor, layout: _Layout, n_atoms: int) -> float:
    """Multiply-adds of one sum and one combination."""
    channels = layout.n_own + layout.n_charges
    return channels * KERNEL_RADIAL * (4.0 * len(basis) + 3.0 * KERNEL_VECTORS * n_atoms)


class _Gradients:
    """Arrays that kernels add gradients to, one of each for every part of the atoms.

    Parameters
    ----------
    features, charges : what the gradients begin with; None means 0.
    """

    def __init__(
        self, features: Tensor | None, charges: Tensor | None, n_atoms: int, basis: Tensor, layout: _Layout,
        work: float, wants: tuple[bool, bool],
    ) -> None:  # fmt: skip
        self.layout, self.wants, self.own_charges = layout, wants, charges
        self.n_parts = max(1, min(torch.get_num_threads(), n_atoms, int(work / compiled.SERIAL_WORK)))
        self.features = basis.new_empty(self.n_parts, n_atoms, layout.n_own * KERNEL_RADIAL)
        self.features[0] = 0.0 if features is None else features
        self.features[1:] = 0.0
        self.charges = basis.new_zeros(self.n_parts, n_atoms, layout.n_charges, KERNEL_RADIAL)
        self.basis = torch.empty_like(basis, memory_format=torch.contiguous_format) if wants[0] else basis.new_empty(1)
        shape = (layout.n_own + layout.n_charges, KERNEL_RADIAL, KERNEL_VECTORS)
        self.weights = basis.new_zeros(self.n_parts, *shape) if wants[1] else basis.new_empty(1)

    def arguments(self) -> tuple[Any, ...]:
        """What kernels are told."""
        with_basis, with_weights = self.wants
        return (
            _flat(self.features), _flat(self.charges), with_basis, _flat(self.basis), with_weights, _flat(self.weights)
        )  # fmt: skip

    def results(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Gradients for features, charges, basis and weights."""
        with_basis, with_weights = self.wants
        charges = self.charges.sum(dim=(0, 3))
        return (
            self.features.sum(dim=0) if self.n_parts > 1 else self.features[0],
            charges if self.own_charges is None else charges + self.own_charges,
            self.basis if with_basis else None,
            self.weights.sum(dim=0)[:, :, : self.layout.n_norms] if with_weights else None,
        )


class _Push(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, charges: Tensor, basis: Tensor, weights: Tensor, rows: EdgeRows,
        norms_only: bool, aligned: bool,
    ) -> Tensor:  # fmt: skip
        from molcalc.kernels import message as kernels

        n_own = features.shape[1] // KERNEL_RADIAL
        layout = _Layout(n_own, charges.shape[1], weights.shape[2], norms_only, aligned)
        ctx.save_for_backward(features, charges, basis, weights)
        ctx.rows, ctx.layout = rows, layout
        result = layout.empty_rows(features, charges)
        compiled.share_range(
            kernels.push, len(features), _work(basis, layout, len(features)), rows.first.numpy(), rows.source.numpy(),
            _flat(features), _flat(charges), _flat(basis), _padded(weights)[0], *layout.arguments(), _flat(result),
        )  # fmt: skip
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        wants = wanted(ctx, 2), wanted(ctx, 3)
        if not torch.is_grad_enabled():
            return *_pull(grad, inputs, ctx.rows, ctx.layout, wants), None, None, None
        if wants[1]:
            return *_reference_gradient(grad, inputs, ctx.rows, ctx.layout), None, None, None
        return *_Pull.apply(grad, *inputs, ctx.rows, ctx.layout), None, None, None, None


def _pull(
    grad: Tensor, inputs: Sequence[Tensor], rows: EdgeRows, layout: _Layout, wants: tuple[bool, bool]
) -> tuple[Tensor | None, ...]:
    """Gradients of Σ grad · message; for basis and weights if wanted."""
    from molcalc.kernels import message as kernels

    features, charges, basis, weights = inputs
    work = 3.0 * _work(basis, layout, len(features))
    results = _Gradients(*layout.inputs(grad), len(features), basis, layout, work, wants)
    compiled.share_range(
        kernels.pull, results.n_parts, work, results.n_parts, rows.first.numpy(), rows.source.numpy(), _flat(features),
        _flat(charges), _flat(basis), _flat(grad), *_padded(weights), *layout.arguments(), *results.arguments(),
    )  # fmt: skip
    return results.results()


def _reference_gradient(grad: Tensor, inputs: Sequence[Tensor], rows: EdgeRows, layout: _Layout) -> tuple[Tensor, ...]:
    """Gradients of Σ grad · message for all inputs, differentiable any number of times."""
    with torch.enable_grad():
        features, charges, basis, weights = leaves = _apart(inputs)
        value = _message_torch(features, charges, basis, weights, rows, layout.norms_only)
        return torch.autograd.grad(value, leaves, grad[:, : layout.used], create_graph=True)


def _apart(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Names of their own for tensors: differentiating for one does not run on through another that it is made of."""
    return [t.view_as(t) if t.requires_grad else t.detach().requires_grad_() for t in tensors]


class _Pull(torch.autograd.Function):
    """Gradients for features, charges and basis."""

    @staticmethod
    def forward(
        ctx: Any, grad: Tensor, features: Tensor, charges: Tensor, basis: Tensor, weights: Tensor, rows: EdgeRows,
        layout: _Layout,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        ctx.save_for_backward(grad, features, charges, basis, weights)
        ctx.rows, ctx.layout = rows, layout
        return _pull(grad, (features, charges, basis, weights), rows, layout, (True, False))[:3]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        grad, features, charges, basis, weights = ctx.saved_tensors
        if torch.is_grad_enabled():
            leaves = _apart(ctx.saved_tensors)
            first = _reference_gradient(leaves[0], leaves[1:], ctx.rows, ctx.layout)[:3]
            return *torch.autograd.grad(first, leaves, upstream, create_graph=True, allow_unused=True), None, None
        from molcalc.kernels import message as kernels

        layout, rows = ctx.layout, ctx.rows
        work = 8.0 * _work(basis, layout, len(features))
        results = _Gradients(None, None, len(features), basis, layout, work, (wanted(ctx, 3), wanted(ctx, 4)))
        for_grad = layout.empty_rows(*upstream[:2])
        compiled.share_range(
            kernels.pull_back, results.n_parts, work, results.n_parts, rows.first.numpy(), rows.source.numpy(),
            _flat(features), _flat(charges), _flat(basis), _flat(grad), *_padded(weights), *layout.arguments(),
            *(_flat(tensor) for tensor in upstream), _flat(for_grad), *results.arguments(),
        )  # fmt: skip
        return for_grad, *results.results(), None, None
