"""PhysNet's radial functions against the published formula."""

from __future__ import annotations

import math

import pytest
import torch

from molcalc.nn.radial import ExponentialGaussians, inverse_softplus, polynomial_cutoff


def radial(n_radial: int = 8, cutoff: float = 4.0) -> ExponentialGaussians:
    basis = ExponentialGaussians(n_radial, cutoff).double()
    basis.initialize()
    return basis


def test_fresh_functions_have_the_published_centers_and_widths() -> None:
    """Unke, Meuwly 2019, below eq. 8: μ_k from exp(−r_c) to 1, β_k = [2/K (1 − exp(−r_c))]⁻²."""
    basis, r = radial(), torch.tensor([0.3, 1.1, 3.7], dtype=torch.float64)
    last = math.exp(-4.0)
    centers = torch.linspace(last, 1.0, 8, dtype=torch.float64)
    width = (2.0 / 8 * (1.0 - last)) ** -2
    x = (r / 4.0)[:, None]
    expected = (1 - 6 * x**5 + 15 * x**4 - 10 * x**3) * torch.exp(-width * (torch.exp(-r)[:, None] - centers) ** 2)
    assert torch.allclose(basis(r), expected, rtol=1e-6, atol=1e-12)  # parameters are stored in single precision


def test_functions_and_two_derivatives_vanish_at_the_cutoff() -> None:
    r = torch.tensor([4.0 - 1e-7, 4.0, 4.5], dtype=torch.float64, requires_grad=True)
    value = polynomial_cutoff(r, 4.0)
    (first,) = torch.autograd.grad(value.sum(), r, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), r)
    assert value.detach().abs().max() < 1e-12
    assert first.detach().abs().max() < 1e-10
    assert second.abs().max() < 1e-5
    assert radial()(torch.tensor([4.2], dtype=torch.float64)).abs().max() == 0.0


def test_derivatives_equal_finite_differences() -> None:
    basis, r = radial(), torch.tensor([0.4, 1.3, 2.8], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(basis, r)
    assert torch.autograd.gradgradcheck(basis, r)


def test_no_value_is_denormal() -> None:
    """Such numbers made matrix products four times slower."""
    basis = ExponentialGaussians(64, 6.0)
    basis.initialize()
    values = basis(torch.linspace(0.5, 6.0, 500))
    assert not bool(((values != 0.0) & (values.abs() < torch.finfo(torch.float32).tiny)).any())


@pytest.mark.parametrize("value", [1e-3, 1.0, 50.0, 1e4])
def test_inverse_softplus_undoes_softplus(value: float) -> None:
    x = inverse_softplus(torch.tensor(value, dtype=torch.float64))
    assert float(torch.nn.functional.softplus(x)) == pytest.approx(value, rel=1e-9)
