"""Derivatives of functions that torch does not compute: by their own loops as far as those go, by a formula above.

A :class:`CompiledFunction` says how its values and the gradient of a weighted sum of them are computed, and in torch
operations what it computes. :func:`differentiable` makes a node of autograd's graph of it:

- the gradient comes from the loops, unless it must be differentiated again;
- a gradient that must be differentiated again is a compiled function itself if there are loops for its own gradient,
  else autograd's gradient of the formula, which can be differentiated any number of times.

This is the one place below :mod:`molcalc.derivatives` where autograd is called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]
"""One gradient for each tensor that a function reads; None where it is not asked for."""


class CompiledFunction(ABC):
    """Function of tensors whose values and gradients are not computed by torch.

    Everything that it reads besides tensors to differentiate by belongs to the object.

    Attributes
    ----------
    twice : places of the inputs whose gradients :meth:`second` differentiates.
    """

    twice: tuple[int, ...] = ()

    @abstractmethod
    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        """Results, and what gradients will need of the way to them."""

    @abstractmethod
    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Sequence[bool]) -> Gradients | None:
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
        self, inputs: Tensors, kept: Tensors, upstream: Tensors, tangents: Tensors, wanted: Sequence[bool]
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


class _Node(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: CompiledFunction, *inputs: Tensor) -> Tensors:
        results, kept = function.value(*inputs)
        ctx.function, ctx.n_inputs = function, len(inputs)
        ctx.save_for_backward(*inputs, *kept)
        return results

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        function: CompiledFunction = ctx.function
        saved = ctx.saved_tensors
        inputs, kept = saved[: ctx.n_inputs], saved[ctx.n_inputs :]
        wanted = _wanted(ctx)
        gradients = None
        if not torch.is_grad_enabled():
            gradients = function.gradient(inputs, kept, upstream, wanted)
        elif function.twice and all(k in function.twice for k, needed in enumerate(wanted) if needed):
            of_twice = differentiable(_Gradient(function, len(inputs), len(kept)), *inputs, *kept, *upstream)
            at = dict(zip(function.twice, of_twice))
            gradients = tuple(at.get(k) for k in range(len(inputs)))
        if gradients is None:
            gradients = _by_formula(function, inputs, upstream, wanted)
        return None, *(gradient if needed else None for gradient, needed in zip(gradients, wanted))


@dataclass(frozen=True)
class _Gradient(CompiledFunction):
    """The gradient of a compiled function by its inputs ``twice``: a function of inputs, kept tensors and upstream."""

    function: CompiledFunction
    n_inputs: int
    n_kept: int

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        own, kept, upstream = self._parts(inputs)
        twice = self.function.twice
        gradients = self.function.gradient(own, kept, upstream, [k in twice for k in range(self.n_inputs)])
        assert gradients is not None
        return tuple(gradient for k in twice if (gradient := gradients[k]) is not None), ()

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Sequence[bool]) -> Gradients | None:
        own, own_kept, own_upstream = self._parts(inputs)
        wanted_own, _, wanted_upstream = self._parts(wanted)
        found = self.function.second(own, own_kept, own_upstream, upstream, [*wanted_own, *wanted_upstream])
        if found is None:
            return None
        return *found[: self.n_inputs], *[None] * self.n_kept, *found[self.n_inputs :]

    def formula(self, *inputs: Tensor) -> Tensors:
        own, _, upstream = self._parts(inputs)
        results = self.function.formula(*own)
        return torch.autograd.grad(results, [own[k] for k in self.function.twice], upstream, create_graph=True)

    def _parts(self, items: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Those of inputs, kept tensors and upstream."""
        end = self.n_inputs + self.n_kept
        return items[: self.n_inputs], items[self.n_inputs : end], items[end:]


def _by_formula(function: CompiledFunction, inputs: Tensors, upstream: Tensors, wanted: Sequence[bool]) -> Gradients:
    """Gradients of Σ upstream · formula, differentiable if the running backward pass is."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Views, because one input may depend on another, and partial derivatives are wanted.
        leaves = [x.view_as(x) if x.requires_grad else x for x in inputs]
        results = function.formula(*leaves)
        by = [leaf for leaf, needed in zip(leaves, wanted) if needed]
        found = iter(torch.autograd.grad(results, by, upstream, create_graph=again, allow_unused=True))
    return tuple(next(found) if needed else None for needed in wanted)


def _wanted(ctx: Any) -> list[bool]:
    """Whether the running backward pass will use the gradient for each input; True where torch does not tell.

    ``ctx.needs_input_grad`` says which inputs require a gradient at all. When the loss is differentiated for the
    weights alone, positions still require one, and the last step of half the formulas would be computed for nothing.
    """
    needed = ctx.needs_input_grad[1:]
    if sum(needed) == 1:
        return list(needed)  # why else would the pass come here
    nodes = (node for node, _ in ctx.next_functions)
    return [needs and _will_run(node) for needs, node in zip(needed, nodes)]


def _will_run(node: Any) -> bool:
    """Whether the running backward pass comes to a node of the graph."""
    try:
        return bool(torch._C._will_engine_execute_node(node))
    except (AttributeError, RuntimeError):
        return True  # not known outside a backward pass, or for a leaf
