"""Compiled first order, compiled second order where there is one, a formula in torch above."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from molcalc.kernels.differentiation import CompiledFunction, Gradients, Tensors, Wanted, differentiable


@dataclass
class Product(CompiledFunction):
    """(x² y, x + y), which torch only sees in the formula. Names of what was called are noted."""

    with_second: bool = False
    with_gradient: bool = True
    called: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.twice = (0,) if self.with_second else ()

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        self.called.append("value")
        x, y = (t.detach() for t in inputs)
        return (x * x * y, x + y), (2.0 * x,)

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients | None:
        self.called.append("gradient of " + "".join(n for k, n in enumerate("xy") if wanted(k)))
        x, y = (t.detach() for t in inputs)
        of_product, of_sum = (t.detach() for t in upstream)
        return (of_product * kept[0] * y + of_sum, of_product * x * x + of_sum) if self.with_gradient else None

    def second(
        self, inputs: Tensors, kept: Tensors, upstream: Tensors, tangents: Tensors, wanted: Wanted
    ) -> Gradients | None:
        self.called.append("second")
        y, along, of_product = inputs[1], tangents[0], upstream[0]
        return 2.0 * along * of_product * y, along * of_product * kept[0], along * kept[0] * y, along

    def formula(self, *inputs: Tensor) -> Tensors:
        self.called.append("formula")
        x, y = inputs
        return x * x * y, x + y


def inputs() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2)]


@pytest.mark.parametrize("with_second", [False, True], ids=["first order", "second order"])
@pytest.mark.parametrize("with_gradient", [True, False], ids=["loops", "formula"])
def test_derivatives_of_every_order_are_exact(with_second: bool, with_gradient: bool) -> None:
    def of(x: Tensor, y: Tensor) -> Tensors:
        return differentiable(Product(with_second and with_gradient, with_gradient), x, y)

    def force(x: Tensor, y: Tensor) -> Tensor:
        product, total = of(x, y)
        return torch.autograd.grad((product.square() * total).sum(), x, create_graph=True)[0]

    assert torch.autograd.gradcheck(of, inputs())
    assert torch.autograd.gradgradcheck(of, inputs())
    assert torch.autograd.gradgradcheck(force, inputs())


def test_a_plain_gradient_needs_no_formula() -> None:
    function, (x, y) = Product(), inputs()
    torch.autograd.grad(differentiable(function, x, y)[0].sum(), (x, y))
    assert function.called == ["value", "gradient of xy"]


def test_a_compiled_second_order_needs_no_formula() -> None:
    function, (x, y) = Product(with_second=True), inputs()
    weight = y * 1.0  # not a leaf: torch then tells that its gradient is not wanted in the first pass
    (force,) = torch.autograd.grad(differentiable(function, x, weight)[0].sum(), x, create_graph=True)
    torch.autograd.grad(force.square().sum(), (x, y))
    assert function.called == ["value", "gradient of x", "second"]


def test_a_gradient_that_has_no_compiled_second_order_comes_from_the_formula() -> None:
    function, (x, y) = Product(with_second=True), inputs()
    torch.autograd.grad(differentiable(function, x, y)[0].sum(), (x, y), create_graph=True)
    assert function.called == ["value", "formula"]


def test_only_gradients_that_the_running_pass_uses_are_wanted() -> None:
    function, (x, y) = Product(), inputs()
    weight = y * 1.0
    torch.autograd.grad(differentiable(function, x, weight)[0].sum(), x)
    assert function.called == ["value", "gradient of x"]


def test_partial_derivatives_are_meant_where_one_input_depends_on_another() -> None:
    """d/dx of x² y(x), with y = x³, twice: the formula must not run on through y."""
    x = torch.tensor([1.3], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(differentiable(Product(), x, x**3)[0], x, create_graph=True)
    (second,) = torch.autograd.grad(first, x)
    assert first.item() == pytest.approx(5 * 1.3**4)
    assert second.item() == pytest.approx(20 * 1.3**3)


def test_an_order_that_nothing_computes_is_refused_by_name() -> None:
    class Loops(Product):
        formula = CompiledFunction.formula

    x, y = inputs()
    with pytest.raises(NotImplementedError, match="Loops has no derivatives"):
        torch.autograd.grad(differentiable(Loops(), x, y)[0].sum(), x, create_graph=True)
