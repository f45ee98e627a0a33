"""Concatenation whose second derivative is a concatenation again.

torch.cat differentiates into one slice per part, and a slice into a padded copy of the whole; with two derivatives
those copies cost as much as the rest of the bookkeeping. Here both ways take one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from molcalc.kernels.differentiation import CompiledFunction, Gradients, Tensors, Wanted, differentiable


def join(parts: Sequence[Float[Tensor, "n ..."]]) -> Float[Tensor, "n width"]:
    """Columns of all parts side by side.

    Parameters
    ----------
    parts : (n, ...) each; trailing dimensions are flattened.

    Returns
    -------
    (n, total width)
    """
    return differentiable(_Join([part.shape for part in parts], dim=1), *parts)[0]


def join_flat(parts: Sequence[Float[Tensor, "*_"]]) -> Float[Tensor, " length"]:
    """All numbers of all parts as one vector.

    Parameters
    ----------
    parts : of any shapes.

    Returns
    -------
    (total number of elements,)
    """
    return differentiable(_Join([part.shape for part in parts], dim=0), *parts)[0]


@dataclass(frozen=True)
class _Join(CompiledFunction):
    """Parts that are flattened from ``dim`` on, and joined there."""

    shapes: list[torch.Size]
    dim: int
    reads_inputs = False

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        return (torch.cat([part.flatten(self.dim) for part in inputs], dim=self.dim),), ()

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients:
        return self.torch_gradient(inputs, upstream, wanted)

    def torch_gradient(self, inputs: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients:
        sizes = [shape[self.dim :].numel() for shape in self.shapes]
        pieces = upstream[0].split(sizes, dim=self.dim)
        return tuple(piece.reshape(shape) for piece, shape in zip(pieces, self.shapes))
