"""Sums over groups of rows, by torch and by torch-scatter."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor

from molcalc.nn import segments
from molcalc.nn.segments import segment_sum

INDEX = torch.tensor([2, 0, 2, 4, 0, 2])
SUMS_EQUAL = 1e-14
"""Relative; the same numbers added in another order, in double precision."""


class StandIn(ModuleType):
    """What segment_sum uses of torch-scatter, written as that package writes it; counts its calls."""

    def __init__(self) -> None:
        super().__init__("torch_scatter")
        self.n_calls = 0

    def scatter_sum(self, src: Tensor, index: Tensor, dim: int, dim_size: int) -> Tensor:
        self.n_calls += 1
        shape = [1] * src.dim()
        shape[dim] = -1
        size = list(src.shape)
        size[dim] = dim_size
        return torch.zeros(size, dtype=src.dtype).scatter_add_(dim, index.view(shape).expand_as(src), src)


@pytest.fixture(autouse=True)
def fresh_choice() -> Iterator[None]:
    """Look for the package anew in each test, and after it."""
    segments._scatter_sum.cache_clear()
    yield
    segments._scatter_sum.cache_clear()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    module = StandIn()
    monkeypatch.setitem(sys.modules, "torch_scatter", module)
    return module


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_scatter", None)


def rows(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()


def by_loop(values: Tensor, n_segments: int) -> Tensor:
    sums = torch.zeros(n_segments, *values.shape[1:], dtype=values.dtype)
    for k, value in zip(INDEX.tolist(), values):
        sums[k] += value
    return sums


@pytest.mark.parametrize("shape", [(6,), (6, 3), (6, 2, 3)], ids=str)
def test_sums_without_torch_scatter_follow_their_definition(absent: None, shape: tuple[int, ...]) -> None:
    values = rows(*shape).detach()
    torch.testing.assert_close(segment_sum(values, INDEX, 5), by_loop(values, 5), rtol=SUMS_EQUAL, atol=0.0)


@pytest.mark.parametrize("shape", [(6,), (6, 3), (6, 2, 3)], ids=str)
def test_torch_scatter_makes_the_same_sums_where_it_is_installed(stand_in: StandIn, shape: tuple[int, ...]) -> None:
    values = rows(*shape).detach()
    torch.testing.assert_close(segment_sum(values, INDEX, 5), by_loop(values, 5), rtol=SUMS_EQUAL, atol=0.0)
    assert stand_in.n_calls == 1


def test_one_segment_needs_neither_way(stand_in: StandIn) -> None:
    values = rows(6, 3).detach()
    assert torch.equal(segment_sum(values, torch.zeros(6, dtype=torch.int64), 1), values.sum(0, keepdim=True))
    assert stand_in.n_calls == 0


def test_derivatives_without_torch_scatter_are_exact(absent: None) -> None:
    check_derivatives()


def test_derivatives_with_torch_scatter_are_exact(stand_in: StandIn) -> None:
    check_derivatives()
    assert stand_in.n_calls > 2


def check_derivatives() -> None:
    """First and second derivatives of a function that is not linear in the sums."""

    def function(values: Tensor) -> Tensor:
        return segment_sum(values.square(), INDEX, 5).square()

    assert torch.autograd.gradcheck(function, rows(6, 2))
    assert torch.autograd.gradgradcheck(function, rows(6, 2))


def test_a_package_built_for_another_torch_is_left_alone_and_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path
) -> None:
    (tmp_path / "torch_scatter.py").write_text("raise OSError('undefined symbol')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch_scatter", raising=False)
    values = rows(6, 3).detach()
    with caplog.at_level(logging.WARNING):
        found = segment_sum(values, INDEX, 5)
    torch.testing.assert_close(found, by_loop(values, 5), rtol=SUMS_EQUAL, atol=0.0)
    assert "torch-scatter is installed but does not load" in caplog.text


@pytest.mark.slow
def test_the_real_torch_scatter_makes_the_same_sums_and_derivatives() -> None:
    pytest.importorskip("torch_scatter")
    assert segments._scatter_sum() is not None
    values = rows(6, 2, 3).detach()
    torch.testing.assert_close(segment_sum(values, INDEX, 5), by_loop(values, 5), rtol=SUMS_EQUAL, atol=0.0)
    check_derivatives()
