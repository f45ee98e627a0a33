"""GELU with a cheap second derivative."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from molcalc.nn.gelu import trained_gelu


def test_values_and_both_derivatives_are_those_of_torch() -> None:
    x = torch.linspace(-8, 8, 200, dtype=torch.float64).requires_grad_()
    weight = torch.cos(torch.arange(200.0, dtype=torch.float64))
    found, expected = [], []
    for function, results in ((trained_gelu, found), (functional.gelu, expected)):
        y = function(x)
        (first,) = torch.autograd.grad((weight * y).sum(), x, create_graph=True)
        loss = (first.square() * weight).sum() + y.square().sum()
        (second,) = torch.autograd.grad(loss, x)
        results += [y, first, second]
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_gradgradcheck_passes() -> None:
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(trained_gelu, x)
    assert torch.autograd.gradgradcheck(trained_gelu, x)


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])
def test_single_precision_agrees_with_double_in_all_derivatives(
    compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr("molcalc.kernels.runtime.available", lambda: False)
    found = []
    for dtype in (torch.float32, torch.float64):
        x = torch.linspace(-30, 30, 4001, dtype=torch.float32).to(dtype).requires_grad_()
        y = trained_gelu(x)
        (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
        found.append((y, first, second))
    for single, double in zip(*found):
        assert ((single.double() - double).abs() / (1 + double.abs())).max() < 8e-7  # torch itself: 7e-7


def test_far_numbers_stay_finite_and_a_nan_stays_one() -> None:
    x = torch.tensor([1e30, -1e30, 200.0, -200.0], requires_grad=True)
    y = trained_gelu(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert torch.allclose(y, torch.tensor([1e30, 0.0, 200.0, 0.0]), atol=1e-5)
    assert torch.allclose(slope, torch.tensor([1.0, 0.0, 1.0, 0.0]), atol=2e-5)
    assert trained_gelu(torch.tensor([math.nan], requires_grad=True)).isnan().all()


def test_two_threads_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molcalc.kernels.runtime.SERIAL_WORK", 1)
    found = []
    for threads in (1, 2):
        monkeypatch.setattr("torch.get_num_threads", lambda threads=threads: threads)
        x = torch.linspace(-5, 5, 1001).requires_grad_()
        y = trained_gelu(x)
        (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        found.append((y, first, *torch.autograd.grad(first.square().sum(), x)))
    for a, b in zip(*found):
        assert torch.equal(a, b)
