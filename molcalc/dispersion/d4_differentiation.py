"""First and second derivatives in torch of D4 energies that the dftd4 package computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from molcalc.dispersion.d4_library import D4Structures
from molcalc.errors import ConfigError
from molcalc.kernels.differentiation import CompiledFunction, Gradients, Tensors, differentiable
from molcalc.nn.segments import segment_sum

GRADIENT_STEP = 1e-3
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

    The library differentiates sums over a structure, hence only such sums have derivatives.

    Returns
    -------
    (n_atoms,) eV.

    Raises
    ------
    ConfigError
        While differentiating, when energies of one structure enter a result with different weights, or for a third
        derivative.
    """
    return differentiable(_Energies(system_idx, structures), positions.double(), cell.double())[0]


@dataclass(frozen=True)
class _Energies(CompiledFunction):
    """Energies with gradients by the library, and theirs by differences along the one direction that is asked for."""

    system_idx: Tensor
    structures: D4Structures
    twice = (0, 1)

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        positions, cell = inputs
        gradients = any(x.requires_grad for x in inputs)
        results = self.structures.evaluate(_array(positions), _array(cell), gradients=gradients)
        energies, *kept = (torch.as_tensor(x, device=positions.device) for x in results)
        return (energies,), tuple(kept)

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Sequence[bool]) -> Gradients:
        by_positions, by_cell = kept
        weights = _weight_of_structures(upstream[0], self.system_idx, len(by_cell))
        return weights[self.system_idx, None] * by_positions, weights[:, None, None] * by_cell

    def second(
        self, inputs: Tensors, kept: Tensors, upstream: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> Gradients:
        positions, cell = inputs
        system_idx, n_systems = self.system_idx, len(cell)
        by_positions, by_cell = kept
        weights = _weight_of_structures(upstream[0], system_idx, n_systems)
        moved, deformed = tangents
        size = deformed.abs().amax((1, 2)).scatter_reduce(0, system_idx, moved.abs().amax(1), "amax")
        size = torch.where(size == 0.0, 1.0, size)
        step_positions, step_cell = moved / size[system_idx, None], deformed / size[:, None, None]
        slopes = [torch.zeros_like(positions), torch.zeros_like(cell)]
        for point, factor in STENCIL:
            x, h = positions + point * GRADIENT_STEP * step_positions, cell + point * GRADIENT_STEP * step_cell
            results = self.structures.evaluate(_array(x), _array(h))[1:]
            for slope, gradient in zip(slopes, results):
                slope += factor / GRADIENT_STEP * torch.as_tensor(gradient, device=slope.device)
        scale = weights * size
        by_weights = segment_sum((moved * by_positions).sum(1), system_idx, n_systems)
        by_weights = by_weights + (deformed * by_cell).sum((1, 2))
        by_upstream = (by_weights / _sizes(system_idx, n_systems)).index_select(0, system_idx)
        return scale[system_idx, None] * slopes[0], scale[:, None, None] * slopes[1], by_upstream

    def formula(self, *inputs: Tensor) -> Tensors:
        raise ConfigError("D4 has no third derivatives (the package dftd4 gives first ones): use D3")


def _weight_of_structures(weights: Tensor, system_idx: Tensor, n_systems: int) -> Tensor:
    """(n_systems,) the weight that all atoms of a structure share."""
    mean = segment_sum(weights, system_idx, n_systems) / _sizes(system_idx, n_systems)
    deviation = (weights - mean[system_idx]).detach().abs()
    if (deviation > 1e-12 * mean.detach().abs()[system_idx]).any():
        raise ConfigError(
            "D4 energies of single atoms have no derivatives (the package dftd4 gives those of whole structures): "
            "differentiate sums over structures, or use D3"
        )
    return mean


def _sizes(system_idx: Tensor, n_systems: int) -> Tensor:
    """(n_systems,) number of atoms."""
    return torch.bincount(system_idx, minlength=n_systems)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
