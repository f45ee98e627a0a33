"""Derivatives of functions that torch does not compute: by their own loops as far as those go, by a formula above.

A :class:`CompiledFunction` says how its values and the gradient of a weighted sum of them are computed, and in torch
operations what it computes. :func:`differentiable` makes a node of autograd's graph of it:

- the gradient comes from the loops, unless it must be differentiated again;
- a gradient that must be differentiated again is a compiled function itself if there are loops for its own gradient;
  else it is computed by torch, and can be differentiated any number of times: by autograd from the formula, unless the
  function writes its gradient in torch operations itself.

This is the one place below :mod:`molcalc.derivatives` where autograd is called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]
"""One gradient for each tensor that a function reads; None where it is not asked for."""
Wanted = Callable[[int], bool]
"""Whether the gradient by the input at a place will be used."""


class CompiledFunction(ABC):
    """Function of tensors whose values and gradients are not computed by torch.

    Everything that it reads besides tensors to differentiate by belongs to the object.

    Attributes
    ----------
    twice : places of the inputs whose gradients :meth:`second` differentiates.
    reads_inputs : whether gradients read the inputs. Where not, these need not stay in memory, and come as ().
    """

    twice: tuple[int, ...] = ()
    reads_inputs: bool = True

    @abstractmethod
    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        """Results, and what gradients will need of the way to them."""

    @abstractmethod
    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients | None:
        """Gradients of Σ upstream · results by the inputs that are wanted; None leaves it to the formula.

        Parameters
        ----------
        kept : what :meth:`value` kept.
        upstream : one tensor for each result.

        Returns
        -------
        one tensor for each input, or None for those that are not wanted
        """

    def second(
        self, inputs: Tensors, kept: Tensors, upstream: Tensors, tangents: Tensors, wanted: Wanted
    ) -> Gradients | None:
        """Gradients of Σ tangents · gradients by inputs and then upstream; None leaves it to the formula.

        Parameters
        ----------
        tangents : one tensor for the gradient by each input in ``twice``.

        Returns
        -------
        one tensor for each input and each upstream, or None for those that are not wanted
        """
        return None

    def formula(self, *inputs: Tensor) -> Tensors:
        """Results of the same function by torch operations.

        Returns
        -------
        results, as :meth:`value` computes them

        Raises
        ------
        NotImplementedError
            If there is no such formula: the loops are all there is.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no derivatives by these inputs, or none of this order: "
            "compute in double precision, where torch differentiates"
        )

    def torch_gradient(self, inputs: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients:
        """Gradients of Σ upstream · formula, differentiable if the running backward pass is.

        Returns
        -------
        one tensor for each input, or None for those that are not wanted
        """
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            # Views, because one input may depend on another, and partial derivatives are wanted.
            leaves = [x.view_as(x) if x.requires_grad else x for x in inputs]
            results = self.formula(*leaves)
            places = [k for k in range(len(inputs)) if wanted(k)]
            by = [leaves[k] for k in places]
            found = dict(zip(places, torch.autograd.grad(results, by, upstream, create_graph=again, allow_unused=True)))
        return tuple(found.get(k) for k in range(len(inputs)))


def differentiable(function: CompiledFunction, *inputs: Tensor) -> Tensors:
    """Results of a compiled function that can be differentiated by its inputs.

    Parameters
    ----------
    inputs : tensors of any shapes; two of them may depend on each other.

    Returns
    -------
    tuple of Tensor
        As :meth:`CompiledFunction.value` computes them.

    Raises
    ------
    NotImplementedError
        While differentiating, where neither loops nor a formula go as far.
    """
    results: Tensors = _Node.apply(function, *inputs)
    return results


def common_value(weights: Tensor) -> float | None:
    """The value that all weights on the CPU have, if there is one: then derivatives of the plain sum will do."""
    values = weights.numpy()
    return float(values[0]) if values.size and (values == values[0]).all() else None


class _Node(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: CompiledFunction, *inputs: Tensor) -> Tensors:
        results, kept = function.value(*inputs)
        read = inputs if function.reads_inputs else ()
        ctx.function, ctx.n_inputs = function, len(read)
        ctx.save_for_backward(*read, *kept)
        return results

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        function: CompiledFunction = ctx.function
        saved, n = ctx.saved_tensors, ctx.n_inputs
        inputs, kept, wanted = saved[:n], saved[n:], _wanted(ctx)
        gradients = None
        if not torch.is_grad_enabled():
            gradients = function.gradient(inputs, kept, upstream, wanted)
        elif function.twice and all(k in function.twice for k in range(n) if wanted(k)):
            found = iter(differentiable(_Gradient(function, kept, n), *inputs, *upstream))
            gradients = tuple(next(found) if k in function.twice else None for k in range(n))
        if gradients is None:
            gradients = function.torch_gradient(inputs, upstream, wanted)
        return None, *gradients


@dataclass(frozen=True)
class _Gradient(CompiledFunction):
    """The gradient of a compiled function by its inputs ``twice``: a function of inputs and upstream."""

    function: CompiledFunction
    kept: Tensors
    n_inputs: int

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        twice, n = self.function.twice, self.n_inputs
        gradients = self.function.gradient(inputs[:n], self.kept, inputs[n:], twice.__contains__)
        assert gradients is not None
        return tuple(gradient for k in twice if (gradient := gradients[k]) is not None), ()

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients | None:
        n = self.n_inputs
        return self.function.second(inputs[:n], self.kept, inputs[n:], upstream, wanted)

    def formula(self, *inputs: Tensor) -> Tensors:
        own, upstream = inputs[: self.n_inputs], inputs[self.n_inputs :]
        gradients = self.function.torch_gradient(own, upstream, self.function.twice.__contains__)
        return tuple(gradient for gradient in gradients if gradient is not None)


def _wanted(ctx: Any) -> Wanted:
    """Whether the running backward pass will use the gradient by an input; True where torch does not tell.

    ``ctx.needs_input_grad`` says which inputs require a gradient at all. When the loss is differentiated for the
    weights alone, positions still require one, and the last step of half the formulas would be computed for nothing.
    Torch is asked only when a function wants to know, for asking takes time.
    """
    needed: tuple[bool, ...] = ctx.needs_input_grad[1:]
    if sum(needed) == 1:
        return needed.__getitem__  # why else would the pass come here

    def wanted(place: int) -> bool:
        if not needed[place]:
            return False
        try:
            return bool(torch._C._will_engine_execute_node(ctx.next_functions[place][0]))
        except (AttributeError, RuntimeError):
            return True  # not known outside a backward pass, or of a leaf that will be used

    return wanted
