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
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from molcalc.kernels.differentiation import CompiledFunction, Gradients, Tensors, Wanted, differentiable
from molcalc.kernels.runtime import FLOATS, flat, share_range, usable

_DENSITY = 1.0 / math.sqrt(2.0 * math.pi)


def trained_gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x Φ(x), elementwise, with a cheap second derivative.

    Returns
    -------
    Tensor
        Of the same shape.
    """
    return differentiable(_GELU(), x)[0]


class _GELU(CompiledFunction):
    twice = (0,)

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        value, slope = _value_and_slope(inputs[0])
        return (value,), (slope,)

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients:
        return (upstream[0] * kept[0],)

    def second(self, inputs: Tensors, kept: Tensors, upstream: Tensors, tangents: Tensors, wanted: Wanted) -> Gradients:
        return _second(inputs[0], kept[0], upstream[0], tangents[0])

    def formula(self, *inputs: Tensor) -> Tensors:
        return (functional.gelu(inputs[0]),)


def _value_and_slope(x: Tensor) -> tuple[Tensor, Tensor]:
    """y and y'."""
    if not usable(x) or x.dtype not in FLOATS:
        return functional.gelu(x), torch.ops.aten.gelu_backward(torch.ones_like(x), x)
    from molcalc.kernels import gelu as compiled

    x = x.contiguous()
    value, slope = torch.empty_like(x), torch.empty_like(x)
    _share(compiled.value_and_slope, x, value, slope)
    return value, slope


def _second(x: Tensor, slope: Tensor, grad: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    """y'' · grad · upstream and y' · upstream."""
    if not usable(x) or any(t.dtype != x.dtype or t.dtype not in FLOATS for t in (grad, upstream)):
        square = x * x
        curvature = (-0.5 * square).exp_().mul_(square.neg_().add_(2.0))
        return curvature.mul_(grad).mul_(upstream).mul_(_DENSITY), slope * upstream
    from molcalc.kernels import gelu as compiled

    inputs = [tensor.contiguous() for tensor in (x, slope, grad, upstream)]
    for_x, for_grad = torch.empty_like(inputs[0]), torch.empty_like(inputs[0])
    _share(compiled.slope_gradients, *inputs, for_x, for_grad)
    return for_x, for_grad


def _share(kernel: Callable[..., None], *tensors: Tensor) -> None:
    n = tensors[0].numel()
    share_range(kernel, n, 20.0 * n, *(flat(tensor) for tensor in tensors))
