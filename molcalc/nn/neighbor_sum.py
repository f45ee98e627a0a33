r"""Sum over neighbors of features times a basis.

.. math:: s_{i,x,c,k} = \sum_{e=(i,j)} b_{e,x,k}\, a_{j,c,k}
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from molcalc.kernels.runtime import WIDTH, usable


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
    formula = partial(neighbor_sum_formula, rows=rows)
    if features.shape[2] == WIDTH and usable(features, basis):
        from molcalc.kernels import neighbor_sum as compiled

        return compiled.neighbor_sum(features, basis, rows.first, rows.source, formula)
    return formula(features, basis)


def neighbor_sum_formula(
    features: Float[Tensor, "n_atoms n_channels n_radial"], basis: Float[Tensor, "n_edges 4 n_radial"], rows: EdgeRows
) -> Float[Tensor, "n_atoms 4 n_channels n_radial"]:
    """Reference of :func:`neighbor_sum`, in operations that can be differentiated any number of times."""
    n_atoms, n_channels, n_radial = features.shape
    neighbors = features.index_select(0, rows.source)
    zeros = features.new_zeros(n_atoms, n_channels, n_radial)
    sums = [zeros.index_add(0, rows.receiver, neighbors * basis[:, x, None]) for x in range(4)]
    return torch.stack(sums, dim=1)
