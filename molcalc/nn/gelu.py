r"""Exact GELU whose second derivative costs a few products, for training on forces.

.. math:: y = x Φ(x), \qquad y' = Φ(x) + x φ(x), \qquad y'' = φ(x) (2 − x^2)

with the distribution Φ and density φ of the standard normal distribution. The double backward pass that autograd builds
from its own formulas takes three times as many passes over memory.

References
----------
Hendrycks, Gimpel, arXiv:1606.08415.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from molcalc.kernels import runtime as compiled

KERNEL_DTYPES = (torch.float32, torch.float64)
_DENSITY = 1.0 / math.sqrt(2.0 * math.pi)


def trained_gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x Φ(x), elementwise, with a cheap second derivative and no third."""
    result: Tensor = _GELU.apply(x)
    return result


class _GELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        value, slope = _value_and_slope(x)
        ctx.save_for_backward(x, slope)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, slope = ctx.saved_tensors
        return _Slope.apply(x, grad, slope) if torch.is_grad_enabled() else grad * slope


class _Slope(torch.autograd.Function):
    """y'(x) · grad, with y'(x) given."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grad: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, grad, slope)
        return grad * slope

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None]:
        x, grad, slope = ctx.saved_tensors
        return *_second(x, slope, grad, upstream), None


def _value_and_slope(x: Tensor) -> tuple[Tensor, Tensor]:
    """y and y'."""
    if not compiled.usable(x) or x.dtype not in KERNEL_DTYPES:
        return functional.gelu(x), torch.ops.aten.gelu_backward(torch.ones_like(x), x)
    from molcalc.kernels import gelu as kernels

    x = x.contiguous()
    value, slope = torch.empty_like(x), torch.empty_like(x)
    _share(kernels.value_and_slope, x, value, slope)
    return value, slope


def _second(x: Tensor, slope: Tensor, grad: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    """y'' · grad · upstream and y' · upstream."""
    if not compiled.usable(x) or any(t.dtype != x.dtype or t.dtype not in KERNEL_DTYPES for t in (grad, upstream)):
        square = x * x
        curvature = (-0.5 * square).exp_().mul_(square.neg_().add_(2.0))
        return curvature.mul_(grad).mul_(upstream).mul_(_DENSITY), slope * upstream
    from molcalc.kernels import gelu as kernels

    inputs = [tensor.contiguous() for tensor in (x, slope, grad, upstream)]
    for_x, for_grad = torch.empty_like(inputs[0]), torch.empty_like(inputs[0])
    _share(kernels.second, *inputs, for_x, for_grad)
    return for_x, for_grad


def _share(kernel: Any, *tensors: Tensor) -> None:
    n = tensors[0].numel()
    compiled.share_range(kernel, n, 20.0 * n, *(tensor.detach().view(-1).numpy() for tensor in tensors))
