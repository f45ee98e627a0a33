"""The axis of the smallest eigenvalue, with derivatives that stay finite where there is none."""

from __future__ import annotations

import torch

from molcalc.nn.principal_axis import principal_axis

X, Z = torch.tensor([[1.0, 0.0, 0.0]]).double(), torch.tensor([[0.0, 0.0, 1.0]]).double()


def symmetric(seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    matrix = torch.randn(1, 3, 3, dtype=torch.float64)
    return matrix + matrix.mT


def test_axis_and_gap_belong_to_the_smallest_eigenvalue() -> None:
    tensor = torch.diag(torch.tensor([2.0, -3.0, 1.0])).double()[None]
    axis, gap = principal_axis(tensor, toward=torch.tensor([[0.3, -0.1, 0.2]]).double())
    torch.testing.assert_close(axis, torch.tensor([[0.0, -1.0, 0.0]]).double())
    torch.testing.assert_close(gap, torch.tensor([4.0]).double())


def test_first_and_second_derivatives_are_those_of_differences() -> None:
    def found(matrix: torch.Tensor) -> torch.Tensor:
        axis, gap = principal_axis(0.5 * (matrix + matrix.mT), toward=X)
        return axis[0] @ torch.tensor([0.3, 1.0, -0.7]).double() + gap[0].square()

    tensor = symmetric().requires_grad_()
    assert torch.autograd.gradcheck(found, tensor)
    assert torch.autograd.gradgradcheck(found, tensor)


def test_derivatives_are_finite_where_no_axis_is_defined() -> None:
    tensor = torch.zeros(1, 3, 3, dtype=torch.float64, requires_grad=True)
    axis, gap = principal_axis(tensor, toward=Z)
    (axis.sum() + gap.sum()).backward()
    assert bool(torch.isfinite(tensor.grad).all())
    assert not gap.any()


def test_what_is_not_finite_stays_alone() -> None:
    tensors = torch.cat([symmetric(), torch.full_like(symmetric(), torch.nan)])
    axes, gaps = principal_axis(tensors, toward=X.expand(2, -1))
    torch.testing.assert_close((axes[:1], gaps[:1]), principal_axis(symmetric(), toward=X))
    assert bool(axes[1].isnan().all())
    assert bool(gaps[1].isnan())
