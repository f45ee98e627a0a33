r"""Positions pulled towards given distances of some pairs, by a fixed number of damped steps.

.. math:: E = \tfrac12 \sum_{(i,j)} (|x_i - x_j| - t_{ij})^2

descends along −dE/dx_i, divided by the number of pairs that end at the atom; a part of the last step is repeated (heavy
ball), so that errors spread along chains. Everything is differentiable, and turns with the positions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from molcalc.nn.dense_graph import lengths

PULL, MOMENTUM = 0.6, 0.5
"""Of the descent: 0.5 of a pair alone would end its error at once."""


def restrained(
    positions: Float[Tensor, "n_structures n_atoms 3"],
    pairs: Int64[Tensor, "2 n_pairs"],
    targets: Float[Tensor, "n_structures n_pairs"],
    n_steps: int,
) -> Float[Tensor, "n_structures n_atoms 3"]:
    """Positions after some steps towards distances.

    Parameters
    ----------
    positions : Å.
    pairs : indices of atoms.
    targets : Å.

    Returns
    -------
    positions whose distances are nearer to the targets; their center stays where it is in a molecule of equal ends only
    """
    incidence = positions.new_zeros(pairs.shape[1], positions.shape[1])  # takes differences, and hands out pushes
    rows = torch.arange(pairs.shape[1], device=pairs.device)
    incidence[rows, pairs[0]], incidence[rows, pairs[1]] = 1.0, -1.0
    shares = PULL * incidence.T / incidence.abs().sum(0).clamp(min=1.0)[:, None]
    move = torch.zeros_like(positions)
    for _ in range(n_steps):
        vectors = incidence @ positions
        pushes = (targets / lengths(vectors) - 1.0)[..., None] * vectors
        move = MOMENTUM * move + shares @ pushes
        positions = positions + move
    return positions
