r"""EGNN: messages of distances that move atoms along the lines between them.

.. math::
    m_{ij} &= φ_e(h_i, h_j, |x_i - x_j|^2) \\
    x_i &← x_i + \frac{1}{n_i} \sum_j \tanh φ_x(m_{ij})\, (x_i - x_j) \\
    h_i &← \mathrm{LN}\big(h_i + φ_h(h_i, \sum_j m_{ij})\big)

The bounded weight keeps one step from throwing atoms apart; where the last layer of φ_x begins near zero, so does the
move.

References
----------
Satorras, Hoogeboom, Welling, ICML 2021, eq. 3-6.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from molcalc.nn.dense_graph import DenseGraph


class EGNNLayer(nn.Module):
    """One round of messages and moves.

    Parameters
    ----------
    gain : of the last layer of φ_x at first.
    """

    def __init__(self, n_features: int, gain: float) -> None:
        super().__init__()
        # The first layer of φ_e by parts: what belongs to atoms is multiplied once for each atom, not for each pair.
        self.own = nn.Linear(n_features, n_features)
        self.other = nn.Linear(n_features, n_features, bias=False)
        self.square = nn.Linear(1, n_features, bias=False)
        self.message = nn.Linear(n_features, n_features)
        weight = nn.Linear(n_features, 1, bias=False)
        nn.init.xavier_uniform_(weight.weight, gain=gain)
        self.move = nn.Sequential(nn.Linear(n_features, n_features), nn.SiLU(), weight)
        self.update = nn.Sequential(nn.Linear(2 * n_features, n_features), nn.SiLU(), nn.Linear(n_features, n_features))
        self.norm = nn.LayerNorm(n_features)

    def forward(
        self,
        h: Float[Tensor, "n_structures n_atoms n_features"],
        x: Float[Tensor, "n_structures n_atoms 3"],
        graph: DenseGraph,
    ) -> tuple[Float[Tensor, "n_structures n_atoms n_features"], Float[Tensor, "n_structures n_atoms 3"]]:
        """Features and positions, Å, after this round."""
        vectors = graph.vectors(x)
        squares = vectors.square().sum(-1, keepdim=True)
        inner = self.own(h)[:, :, None] + graph.near(self.other(h)) + self.square(squares)
        messages = functional.silu(self.message(functional.silu(inner))) * graph.present[..., None]
        weights = torch.tanh(self.move(messages)) * graph.present[..., None]
        n_neighbors = graph.present.sum(2).clamp(min=1.0)[..., None]
        x = x - (weights * vectors).sum(2) / n_neighbors
        summed = messages.sum(2) / n_neighbors.sqrt()
        return self.norm(h + self.update(torch.cat([h, summed], dim=-1))), x
