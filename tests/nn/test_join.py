"""Concatenation with two derivatives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from molcalc.nn.join import join, join_flat


def parts() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 3), (4, 2, 2), (4, 1))
    return [torch.randn(s, dtype=torch.float64, generator=generator, requires_grad=True) for s in shapes]


def test_columns_stand_side_by_side() -> None:
    a, b, c = parts()
    assert torch.equal(join([a, b, c]), torch.cat([a, b.flatten(1), c], dim=1))


def test_all_numbers_stand_in_one_vector() -> None:
    a, b, c = parts()
    assert torch.equal(join_flat([a.T, b, c]), torch.cat([a.T.flatten(), b.flatten(), c.flatten()]))


@pytest.mark.parametrize("joined", [join, join_flat])
def test_gradgradcheck_passes(joined: Callable[[list[torch.Tensor]], torch.Tensor]) -> None:
    assert torch.autograd.gradcheck(lambda *p: joined(list(p)), parts())
    assert torch.autograd.gradgradcheck(lambda *p: joined([q.sin() for q in p]), parts())
