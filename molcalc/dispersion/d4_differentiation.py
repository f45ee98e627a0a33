"""How D4 energies of the dftd4 package get first and second derivatives in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from molcalc.dispersion.d4_library import D4Structures
from molcalc.errors import ConfigError
from molcalc.nn.segments import segment_sum

STEP = 1e-3
"""Å, largest shift of an atom in the differences. The error of the formula, which grows as the fourth power of the
step, and rounding, which grows as its inverse, are then both below 1e-8 of the largest second derivative."""
STENCIL = ((1, 8 / 12), (-1, -8 / 12), (2, -1 / 12), (-2, 1 / 12))
"""Points and weights of f'(0) ≈ [8 f(h) − 8 f(−h) − f(2h) + f(−2h)] / 12h, with an error of h⁴ f⁽⁵⁾/30."""


def d4_energies(
    positions: Float[Tensor, "n_atoms 3"],
    cell: Float[Tensor, "n_systems 3 3"],
    system_idx: Int[Tensor, " n_atoms"],
    structures: D4Structures,
) -> Float64[Tensor, " n_atoms"]:
    """Energies (n_atoms,) in eV at positions (n_atoms, 3) and cells (n_systems, 3, 3) in Å.

    The library differentiates sums over a structure, hence only such sums have derivatives: a ConfigError is raised
    when energies of one structure enter a result with different weights.
    """
    energies: Tensor = _Energies.apply(positions.double(), cell.double(), system_idx, structures)
    return energies


class _Energies(torch.autograd.Function):
    """Energies with first derivatives by the library."""

    @staticmethod
    def forward(ctx: Any, positions: Tensor, cell: Tensor, system_idx: Tensor, structures: D4Structures) -> Tensor:
        gradients = any(ctx.needs_input_grad[:2])
        results = structures.evaluate(_array(positions), _array(cell), gradients=gradients)
        energies, *ctx.gradients = (torch.as_tensor(x, device=positions.device) for x in results)
        ctx.save_for_backward(positions, cell, system_idx)
        ctx.structures = structures
        return energies

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        positions, cell, system_idx = ctx.saved_tensors
        weights = _weight_of_structures(upstream[0], system_idx, cell.shape[0])
        given = (system_idx, ctx.structures, *ctx.gradients)
        by_positions, by_cell = _Gradients.apply(positions, cell, weights, *given)
        needed = ctx.needs_input_grad
        return by_positions if needed[0] else None, by_cell if needed[1] else None, None, None


class _Gradients(torch.autograd.Function):
    """w_s ∂E_s/∂(R, h), with derivatives by differences along the one direction that is asked for."""

    @staticmethod
    def forward(
        ctx: Any, positions: Tensor, cell: Tensor, weights: Tensor, system_idx: Tensor, structures: D4Structures,
        by_positions: Tensor, by_cell: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        ctx.save_for_backward(positions, cell, weights, system_idx, by_positions, by_cell)
        ctx.structures = structures
        return weights[system_idx, None] * by_positions, weights[:, None, None] * by_cell

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        positions, cell, weights, system_idx, by_positions, by_cell = ctx.saved_tensors
        n_systems = cell.shape[0]
        moved, deformed = upstream
        size = deformed.abs().amax((1, 2)).scatter_reduce(0, system_idx, moved.abs().amax(1), "amax")
        size = torch.where(size == 0.0, 1.0, size)
        step_positions, step_cell = moved / size[system_idx, None], deformed / size[:, None, None]
        slopes = [torch.zeros_like(positions), torch.zeros_like(cell)]
        for point, factor in STENCIL:
            x, h = positions + point * STEP * step_positions, cell + point * STEP * step_cell
            results = ctx.structures.evaluate(_array(x), _array(h))[1:]
            for slope, gradient in zip(slopes, results):
                slope += factor / STEP * torch.as_tensor(gradient, device=slope.device)
        scale = weights * size
        by_weights = segment_sum((moved * by_positions).sum(1), system_idx, n_systems)
        by_weights = by_weights + (deformed * by_cell).sum((1, 2))
        second = scale[system_idx, None] * slopes[0], scale[:, None, None] * slopes[1]
        return *second, by_weights, None, None, None, None


def _weight_of_structures(weights: Tensor, system_idx: Tensor, n_systems: int) -> Tensor:
    """(n_systems,) the weight that all atoms of a structure share."""
    count = torch.bincount(system_idx, minlength=n_systems)
    mean = segment_sum(weights, system_idx, n_systems) / count
    deviation = (weights - mean[system_idx]).detach().abs()
    if (deviation > 1e-12 * mean.detach().abs()[system_idx]).any():
        raise ConfigError(
            "D4 energies of single atoms have no derivatives (the package dftd4 gives those of whole structures): "
            "differentiate sums over structures, or use D3"
        )
    return mean


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
