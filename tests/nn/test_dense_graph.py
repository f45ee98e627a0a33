"""Neighbors in dense arrays."""

from __future__ import annotations

import torch

from molcalc.nn.dense_graph import DenseGraph


def positions(n: int = 6) -> torch.Tensor:
    return torch.randn(2, n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2.0


def test_a_wide_cutoff_gives_the_sums_over_all_pairs() -> None:
    x = positions()
    every, within = DenseGraph.all_pairs(x), DenseGraph.within(x, 100.0)
    values = torch.randn(2, 6, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    sums = [
        (
            graph.sum_weighted(
                values, (graph.vectors(x).square().sum(-1) * graph.present)[..., None].expand(-1, -1, -1, 4)
            )
        ).sum(0)
        for graph in (every, within)
    ]
    assert torch.allclose(*sums, atol=1e-10)
    products = [(graph.products(values, 2.0 * values) * graph.present[..., None]).sum(2) for graph in (every, within)]
    assert torch.allclose(*products, atol=1e-10)
    directions = [(graph.projections(values, graph.vectors(x)) * graph.present[..., None]).sum(2)
                  for graph in (every, within)]  # fmt: skip
    assert torch.allclose(*directions, atol=1e-10)


def test_a_cutoff_keeps_the_near_ones_only() -> None:
    x = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [5, 0, 0]]], dtype=torch.float64)
    graph = DenseGraph.within(x, 2.0)
    assert graph.present.sum(2).tolist() == [[1.0, 1.0, 0.0]]


def test_bonded_atoms_come_first_and_the_nearest_after_them() -> None:
    x = torch.arange(5, dtype=torch.float64)[None, :, None] * torch.tensor([1.0, 0, 0], dtype=torch.float64)
    bonded = torch.zeros(5, 5, dtype=torch.float64)
    bonded[0, 4] = bonded[4, 0] = 1.0
    graph = DenseGraph.bonded_and_nearest(x, bonded, 1)
    assert graph.places is not None
    found = [set(row[keep.bool()].tolist()) for row, keep in zip(graph.places[0], graph.present[0])]
    assert found[0] == {4, 1}
    assert found[4] == {0, 3}
    assert len(found[2]) == 1
    assert all(k not in row for k, row in enumerate(found))
