"""How an energy that is not computed by torch gets its derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

Engine = Callable[
    [Float64[Tensor, " n_atoms"] | None],
    tuple[Float64[Tensor, " n_atoms"], Float64[Tensor, "n_atoms 3"], Float64[Tensor, "n_systems 3 3"]],
]
"""weights w → energies e, derivatives of Σ_i w_i e_i at given positions and cell; no weights are ones."""
Reference = Callable[[Float64[Tensor, "n_atoms 3"], Float64[Tensor, "n_systems 3 3"]], Float64[Tensor, " n_atoms"]]
"""(positions, cell) → energies, in torch operations."""


def differentiable(
    positions: Float64[Tensor, "n_atoms 3"],
    cell: Float64[Tensor, "n_systems 3 3"],
    engine: Engine,
    make_reference: Callable[[], Reference],
    *,
    weighted: bool,
) -> Float64[Tensor, " n_atoms"]:
    """Energies of an engine on the CPU, with first derivatives by it and higher ones by the reference.

    Parameters
    ----------
    positions, cell : float64; those the engine works at.
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
        energies, *ctx.of_plain_sum = engine(None)
        return energies

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        positions, cell = ctx.saved_tensors
        weights = upstream[0]
        factor = None if torch.is_grad_enabled() else _common_value(weights)
        if factor is not None:
            by_positions, by_cell = (gradient * factor for gradient in ctx.of_plain_sum)
        elif ctx.weighted and not torch.is_grad_enabled():
            by_positions, by_cell = ctx.engine(weights)[1:]
        else:
            pull_back = torch.func.vjp(ctx.make_reference(), positions, cell)[1]
            by_positions, by_cell = pull_back(weights)
        needed = ctx.needs_input_grad
        return by_positions if needed[0] else None, by_cell if needed[1] else None, None, None, None


def _common_value(weights: Tensor) -> float | None:
    """The value that all weights have, if there is one."""
    values = weights.numpy()
    return float(values[0]) if values.size and (values == values[0]).all() else None
