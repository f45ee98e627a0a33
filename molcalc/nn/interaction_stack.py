r"""PhysNet's interaction modules as one compiled operator with first and second derivatives.

Training on forces differentiates twice, and torch's graph of that has about a thousand nodes for this network. Here the
whole stack is one operator. Its gradient by the filters is a second operator, whose backward pass uses that
⟨v, Jᵀȳ⟩ = ⟨ȳ, J v⟩: the stack is run once more on pairs (value, tangent), with v the tangent of the filters, and then
back once. For an activation a = σ(x) with s = σ'(x) the pair is (a, s ẋ), and on the way back

.. math:: \bar x = s\, \bar a + s (1 - s)\, \dot x\, \bar{\dot a}, \qquad \bar{\dot x} = s\, \bar{\dot a}

since σ'' = s (1 − s) for the shifted softplus. Single precision on the CPU with numba; otherwise torch differentiates
the formulas of :class:`molcalc.models.physnet.Interaction`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from torch.autograd.function import once_differentiable

from molcalc.kernels.runtime import usable


class StackShape(NamedTuple):
    """Number of modules, and (n_interaction, n_atomic, n_output) residual blocks in each."""

    n_modules: int
    blocks: tuple[int, int, int]

    @property
    def n_slots(self) -> int:
        """Activations of all modules; the one of the hidden layer, which is twice as wide, counts twice."""
        return self.n_modules * (5 + 2 * sum(self.blocks))


def compiled_stack_usable(*tensors: Tensor) -> bool:
    """Whether the operator can work on these tensors."""
    return usable(*tensors) and all(tensor.dtype == torch.float32 for tensor in tensors)


class InteractionStack(torch.autograd.Function):
    """Outputs (n_atoms, 2) and features (n_atoms, F) after all modules.

    Arguments: filters (n_edges, n_modules · F), initial features (n_atoms, F), all weights of the modules as one
    vector, edges (2, n_edges), shape. With ``create_graph`` only the gradient by the filters is returned; to ask for
    the others is an error of autograd ("not used in the graph").
    """

    @staticmethod
    def forward(
        ctx: Any, filters: Tensor, x: Tensor, weights: Tensor, index: Tensor, shape: StackShape
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(filters, x, weights)
        ctx.tape = Tape(_array(filters), _array(x), _array(weights), _array(index), shape)
        return torch.from_numpy(ctx.tape.outputs), torch.from_numpy(ctx.tape.features[-1].copy())

    @staticmethod
    def backward(ctx: Any, outputs: Tensor | None, features: Tensor | None) -> Any:
        filters, x, weights = ctx.saved_tensors
        if outputs is None:
            outputs = x.new_zeros(len(x), 2)
        if torch.is_grad_enabled():
            return _FilterGradient.apply(filters, x, weights, outputs, features, ctx.tape), None, None, None, None
        return *ctx.tape.pull(outputs, features, ctx.needs_input_grad[2]), None, None


class _FilterGradient(torch.autograd.Function):
    """Gradient by the filters, which can be differentiated once more."""

    @staticmethod
    def forward(
        ctx: Any, filters: Tensor, x: Tensor, weights: Tensor, outputs: Tensor, features: Tensor | None, tape: Tape
    ) -> Tensor:
        ctx.save_for_backward(outputs, features)
        ctx.tape = tape
        return tape.pull(outputs, features, False)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, tangent: Tensor) -> Any:
        outputs, features = ctx.saved_tensors
        tape: Tape = ctx.tape
        to_outputs, to_features = tape.push(tangent)
        gradients = tape.pull(outputs, features, ctx.needs_input_grad[2], tangents=True)
        return *gradients, to_outputs, None if features is None else to_features, None


class Tape:
    """Intermediate results of one evaluation of the stack."""

    def __init__(
        self, filters: np.ndarray, x: np.ndarray, weights: np.ndarray, index: np.ndarray, shape: StackShape
    ) -> None:
        from molcalc.kernels import interaction_stack as kernels

        self.filters, self.weights, self.shape = filters, weights, shape
        self.edges = index[0], index[1]
        self.features = np.empty((shape.n_modules + 1, *x.shape), dtype=x.dtype)
        self.features[0] = x
        self.value, self.slope = np.empty((2, shape.n_slots, *x.shape), dtype=x.dtype)
        self.outputs = np.empty((len(x), 2), dtype=x.dtype)
        nothing = np.empty((0, *x.shape), dtype=x.dtype)
        self.no_tangents = np.empty_like(filters[:0]), nothing, self.value, self.value
        self.tangents = self.no_tangents
        kernels.forward(weights, filters, *self.edges, *shape, self.features, self.value, self.slope, self.outputs)

    def push(
        self, filters_tangent: Float32[Tensor, "n_edges n_modules·F"]
    ) -> tuple[Float32[Tensor, "n_atoms 2"], Float32[Tensor, "n_atoms F"]]:
        """Tangents of outputs and last features."""
        from molcalc.kernels import interaction_stack as kernels

        tangent, curved = np.empty((2, *self.value.shape), dtype=self.value.dtype)
        self.tangents = _array(filters_tangent), np.empty_like(self.features), tangent, curved
        outputs = np.empty_like(self.outputs)
        kernels.push(
            self.weights, self.filters, self.tangents[0], *self.edges, *self.shape, self.value, self.slope,
            *self.tangents[1:], outputs,
        )  # fmt: skip
        return torch.from_numpy(outputs), torch.from_numpy(self.tangents[1][-1].copy())

    def pull(
        self,
        outputs: Float32[Tensor, "n_atoms 2"],
        features: Float32[Tensor, "n_atoms F"] | None,
        with_weights: bool,
        tangents: bool = False,
    ) -> tuple[
        Float32[Tensor, "n_edges n_modules·F"], Float32[Tensor, "n_atoms F"], Float32[Tensor, " n_weights"] | None
    ]:
        """Cotangents of filters, first features and weights.

        Parameters
        ----------
        outputs, features : cotangents of the results, or, with ``tangents``, of their tangents.
        """
        from molcalc.kernels.interaction_stack_pull import pull

        pairs = 2 if tangents else 1
        to_outputs = np.zeros((pairs, *self.outputs.shape), dtype=self.outputs.dtype)
        x = np.zeros((pairs, *self.features[0].shape), dtype=self.outputs.dtype)
        to_outputs[-1] = _array(outputs)
        if features is not None:
            x[-1] = _array(features)
        to_filters = np.empty_like(self.filters)
        gradient = np.zeros(self.weights.size if with_weights else 0, dtype=self.weights.dtype)
        filters_tangent, features_tangent, tangent, curved = self.tangents if tangents else self.no_tangents
        pull(
            self.weights, self.filters, filters_tangent, *self.edges, *self.shape, self.features, features_tangent,
            self.value, self.slope, tangent, curved, to_outputs, x, to_filters, gradient,
        )  # fmt: skip
        return (
            torch.from_numpy(to_filters),
            torch.from_numpy(x[0]),
            torch.from_numpy(gradient) if with_weights else None,
        )


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()
