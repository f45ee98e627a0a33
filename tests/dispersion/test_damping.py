"""Damping and cutoff functions."""

import math

import pytest
import torch

from molcalc.dispersion.damping import rational_damping, smooth_cutoff, three_body_damping

R = torch.linspace(0.5, 30.0, 60, dtype=torch.float64)


def test_rational_damping_is_finite_at_zero_and_bare_far_away():
    roots = torch.full_like(R, 3.0)
    radius = 0.4 * 3.0 + 4.8
    parameters = {"s6": 1.0, "s8": 0.8, "a1": 0.4, "a2": 4.8}
    at_zero = rational_damping(torch.zeros(1, dtype=torch.float64), roots[:1], **parameters)
    assert at_zero.item() == pytest.approx(radius**-6 + 0.8 * 9.0 * radius**-8, rel=1e-14)
    far = torch.tensor([1e8], dtype=torch.float64)
    assert rational_damping(far, roots[:1], **parameters).item() == pytest.approx(1e-24, rel=1e-6)
    assert (torch.diff(rational_damping(R * R, roots, **parameters)) < 0).all()


def test_three_body_damping_goes_from_zero_to_one():
    values = three_body_damping(torch.tensor([1e3, 1.0, 1e-3], dtype=torch.float64))
    assert values[0] < 1e-10
    assert values[1] == pytest.approx(1.0 / (1.0 + 6.0 * (4.0 / 3.0) ** 16), rel=1e-12)
    assert values[2] == pytest.approx(1.0, abs=1e-6)


def test_hard_cutoff_keeps_the_boundary():
    r = torch.tensor([9.99, 10.0, 10.01], dtype=torch.float64)
    assert smooth_cutoff(torch.ones_like(r), r, 10.0, 0.0).tolist() == [1.0, 1.0, 0.0]
    assert smooth_cutoff(r, r, math.inf, 0.0) is r


def test_switch_has_two_continuous_derivatives():
    r = torch.tensor([8.0, 9.0, 10.0], dtype=torch.float64, requires_grad=True)
    s = smooth_cutoff(torch.ones_like(r), r, 10.0, 2.0)
    (first,) = torch.autograd.grad(s.sum(), r, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), r)
    assert s.tolist() == pytest.approx([1.0, 0.5, 0.0])
    assert first[[0, 2]].tolist() == pytest.approx([0.0, 0.0], abs=1e-14)
    assert second[[0, 2]].tolist() == pytest.approx([0.0, 0.0], abs=1e-12)
    assert first[1] < 0
