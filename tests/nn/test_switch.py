"""The switching polynomial in torch and compiled."""

from __future__ import annotations

import pytest
import torch

from molcalc.nn.switch import smooth_step

T = torch.linspace(0.0, 1.0, 11, dtype=torch.float64)


def with_derivatives() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    t = T.clone().requires_grad_()
    value = smooth_step(t)
    (first,) = torch.autograd.grad(value.sum(), t, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), t)
    return value.detach(), first.detach(), second


def test_step_rises_from_0_to_1_with_two_flat_derivatives_at_both_ends() -> None:
    value, first, second = with_derivatives()
    ends = torch.tensor([0, -1])
    torch.testing.assert_close(value[ends], torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert first[ends].abs().max() < 1e-13
    assert second[ends].abs().max() < 1e-12
    assert (first[1:-1] > 0.0).all()
    torch.testing.assert_close(value + value.flip(0), torch.ones_like(value))


def test_compiled_step_and_its_derivatives_are_those_of_torch() -> None:
    pytest.importorskip("numba")
    from molcalc.kernels import switch as compiled

    rows = [(*compiled.smooth_step(t), compiled.smooth_step_curvature(t)) for t in T.tolist()]
    found = torch.tensor(rows, dtype=torch.float64).T
    for one, other in zip(found, with_derivatives()):
        torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-13)
