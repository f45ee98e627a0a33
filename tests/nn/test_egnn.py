"""The layer of EGNN."""

from __future__ import annotations

import torch

from molcalc.nn.dense_graph import DenseGraph
from molcalc.nn.egnn import EGNNLayer


def test_positions_turn_and_features_stay_when_the_structure_is_turned_or_mirrored() -> None:
    torch.manual_seed(0)
    layer = EGNNLayer(6, gain=1.0).double()
    h, x = torch.randn(2, 5, 6, dtype=torch.float64), torch.randn(2, 5, 3, dtype=torch.float64)
    q, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    h1, x1 = layer(h, x, DenseGraph.all_pairs(x))
    h2, x2 = layer(h, x @ q.T + 1.0, DenseGraph.all_pairs(x))
    assert torch.allclose(h1, h2, atol=1e-10)
    assert torch.allclose(x1 @ q.T + 1.0, x2, atol=1e-10)
    assert not torch.allclose(x1, x, atol=1e-3)


def test_a_gain_near_zero_leaves_atoms_where_they_are() -> None:
    torch.manual_seed(0)
    layer = EGNNLayer(6, gain=1e-6).double()
    h, x = torch.randn(1, 5, 6, dtype=torch.float64), torch.randn(1, 5, 3, dtype=torch.float64)
    assert torch.allclose(layer(h, x, DenseGraph.all_pairs(x))[1], x, atol=1e-4)
