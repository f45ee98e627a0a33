"""How an energy that is not computed by torch gets its derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Gradients = tuple[Tensor, Tensor]
"""Derivatives by positions (n_atoms, 3) and cell (n_systems, 3, 3)."""
Engine = Callable[[Tensor, Tensor, "Tensor | None"], tuple[Tensor, Tensor, Tensor]]
"""(positions, cell, weights) → energies e, derivatives of Σ_i w_i e_i; no weights are ones."""
Reference = Callable[[Tensor, Tensor], Tensor]
"""(positions, cell) → energies, in torch operations."""


def differentiable(
    positions: Tensor, cell: Tensor, engine: Engine, make_reference: Callable[[], Reference], *, weighted: bool
) -> Tensor:
    """Energies of an engine, with first derivatives by the engine and higher ones by the reference.

    Parameters
    ----------
    make_reference : returns the reference; called only when it is needed.
    weighted : whether the engine takes weights other than ones; where not, the reference does their work.
    """
    energies: Tensor = _FirstOrder.apply(positions, cell, engine, make_reference, weighted)
    return energies


class _FirstOrder(torch.autograd.Function):
    """The derivatives of the plain sum come with the energies; only other weights need a second pass."""

    @staticmethod
    def forward(
        ctx: Any,
        positions: Tensor,
        cell: Tensor,
        engine: Engine,
        make_reference: Callable[[], Reference],
        weighted: bool,
    ) -> Tensor:
        ctx.save_for_backward(positions, cell)
        ctx.engine, ctx.make_reference, ctx.weighted = engine, make_reference, weighted
        energies, *ctx.of_plain_sum = engine(positions.detach(), cell.detach(), None)
        return energies

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        positions, cell = ctx.saved_tensors
        weights = upstream[0]
        if torch.is_grad_enabled():
            by_positions, by_cell = _by_reference(ctx.make_reference(), positions, cell, weights)
        elif weights.numel() and bool((weights == weights[0]).all()):
            by_positions, by_cell = (gradient * weights[0] for gradient in ctx.of_plain_sum)
        elif ctx.weighted:
            by_positions, by_cell = ctx.engine(positions.detach(), cell.detach(), weights)[1:]
        else:
            with torch.enable_grad():
                by_positions, by_cell = _by_reference(ctx.make_reference(), positions, cell, weights)
        needed = ctx.needs_input_grad
        return by_positions if needed[0] else None, by_cell if needed[1] else None, None, None, None


def _by_reference(reference: Reference, positions: Tensor, cell: Tensor, weights: Tensor) -> Gradients:
    """First derivatives in operations that can be differentiated again."""
    pull_back = torch.func.vjp(reference, positions, cell)[1]
    gradients: Gradients = pull_back(weights)
    return gradients
