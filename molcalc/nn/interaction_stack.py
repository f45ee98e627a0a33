"""PhysNet's interaction modules in one piece.

The formulas are those of :class:`molcalc.models.physnet.Interaction`, which torch differentiates module by module.
"""

from __future__ import annotations

import torch
from jaxtyping import Float32, Int
from torch import Tensor

from molcalc.kernels.runtime import usable


def compiled_stack_usable(*tensors: Tensor) -> bool:
    """Whether :func:`interaction_stack` can work on these tensors: single precision, on the CPU with numba."""
    return usable(*tensors) and all(tensor.dtype == torch.float32 for tensor in tensors)


def interaction_stack(
    filters: Float32[Tensor, "n_edges n_modules·F"],
    x: Float32[Tensor, "n_atoms F"],
    weights: Float32[Tensor, " n_weights"],
    index: Int[Tensor, "2 n_edges"],
    n_modules: int,
    blocks: tuple[int, int, int],
) -> tuple[Float32[Tensor, "n_atoms 2"], Float32[Tensor, "n_atoms F"]]:
    """Outputs and features after all modules, by compiled loops.

    Parameters
    ----------
    filters : (n_edges, n_modules · F).
    x : (n_atoms, F) initial features.
    weights : all weights of the modules as one vector, see :meth:`molcalc.models.physnet.Interaction.weights`.
    index : (2, n_edges) receiver and source.
    blocks : residual blocks on the message, on the features and in the output of each module.

    Returns
    -------
    outputs : (n_atoms, 2).
    features : (n_atoms, F).

    Raises
    ------
    NotImplementedError
        While differentiating twice, for a first derivative by anything but the filters.
    """
    from molcalc.kernels import interaction_stack as compiled

    return compiled.interaction_stack(filters, x, weights, index, n_modules, blocks)
