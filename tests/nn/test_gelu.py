"""GELU with a cheap second derivative."""

from __future__ import annotations

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
