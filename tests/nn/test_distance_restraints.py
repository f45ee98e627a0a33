"""Distances that positions are brought to."""

from __future__ import annotations

import torch

from molcalc.nn.distance_restraints import restrained

PAIRS = torch.tensor([[0, 1, 2, 0, 1], [1, 2, 3, 2, 3]])


def chain() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    true = torch.cumsum(torch.randn(1, 4, 3, dtype=torch.float64), dim=1)
    targets = (true[:, PAIRS[0]] - true[:, PAIRS[1]]).norm(dim=-1)
    return true + 0.1 * torch.randn_like(true), targets


def test_distances_come_near_their_targets() -> None:
    start, targets = chain()
    errors = [
        ((x[:, PAIRS[0]] - x[:, PAIRS[1]]).norm(dim=-1) - targets).abs().max()
        for x in (start, restrained(start, PAIRS, targets, 12), restrained(start, PAIRS, targets, 100))
    ]
    assert errors[1] < 0.2 * errors[0]
    assert errors[2] < 1e-3 * errors[0]


def test_it_turns_with_the_structure_and_has_derivatives() -> None:
    start, targets = chain()
    q, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    assert torch.allclose(
        restrained(start, PAIRS, targets, 5) @ q.T, restrained(start @ q.T, PAIRS, targets, 5), atol=1e-10
    )
    start, targets = start.requires_grad_(), targets.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, t: restrained(x, PAIRS, t, 3), (start, targets))
