r"""PhysNet's interaction modules as one function with first and second derivatives, in single precision.

Training on forces differentiates twice, and torch's graph of that has about a thousand nodes for this network. Here the
whole stack is one node. The gradient of its gradient by the filters uses that ⟨v, Jᵀȳ⟩ = ⟨ȳ, J v⟩: the stack is run
once more on pairs (value, tangent), with v the tangent of the filters, and then back once. For an activation a = σ(x)
with s = σ'(x) the pair is (a, s ẋ), and on the way back

.. math:: \bar x = s\, \bar a + s (1 - s)\, \dot x\, \bar{\dot a}, \qquad \bar{\dot x} = s\, \bar{\dot a}

since σ'' = s (1 − s) for the shifted softplus. Import only where numba is available.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from molcalc.kernels.differentiation import CompiledFunction, Gradients, Tensors, Wanted, differentiable
from molcalc.kernels.interaction_stack_pull import pull_stack
from molcalc.kernels.interaction_stack_push import forward, push_stack
from molcalc.kernels.runtime import array


def interaction_stack(
    filters: Tensor, x: Tensor, weights: Tensor, index: Tensor, n_modules: int, blocks: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    """Outputs (n_atoms, 2) and features (n_atoms, F) after all modules.

    Parameters
    ----------
    filters : (n_edges, n_modules · F).
    x : (n_atoms, F) initial features.
    weights : all weights of the modules as one vector.
    index : (2, n_edges) int64.
    blocks : residual blocks on the message, on the features and in the output of each module.

    Returns
    -------
    outputs : (n_atoms, 2).
    features : (n_atoms, F).
    """
    outputs, features = differentiable(_InteractionStack(index, n_modules, blocks), filters, x, weights)
    return outputs, features


@dataclass(frozen=True)
class _InteractionStack(CompiledFunction):
    """Only the gradient by the filters can be differentiated again."""

    index: Tensor
    n_modules: int
    blocks: tuple[int, int, int]
    twice = (0,)

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        """Keep features before and after each module, and all activations with their slopes."""
        filters, x, weights = inputs
        features = x.new_empty(self.n_modules + 1, *x.shape)
        features[0] = x
        # The activation of the hidden layer, which is twice as wide, counts twice.
        n_slots = self.n_modules * (5 + 2 * sum(self.blocks))
        value, slope = x.new_empty(n_slots, *x.shape), x.new_empty(n_slots, *x.shape)
        outputs = x.new_empty(len(x), 2)
        forward(
            array(weights), array(filters), *array(self.index), self.n_modules, self.blocks, array(features),
            array(value), array(slope), array(outputs),
        )  # fmt: skip
        return (outputs, features[-1].clone()), (features, value, slope)

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients:
        filters, (features, value, _) = inputs[0], kept
        no_tangents = filters[:0], features[:0], value, value
        outputs, last = (cotangent[None] for cotangent in upstream)
        return self._pull(inputs, kept, no_tangents, outputs, last, wanted(2))

    def second(self, inputs: Tensors, kept: Tensors, upstream: Tensors, tangents: Tensors, wanted: Wanted) -> Gradients:
        filters, _, weights = inputs
        features, value, slope = kept
        features_tangent, tangent, curved = (torch.empty_like(x) for x in (features, value, value))
        outputs_tangent = torch.empty_like(upstream[0], memory_format=torch.contiguous_format)
        push_stack(
            array(weights), array(filters), array(tangents[0]), *array(self.index), self.n_modules, self.blocks,
            array(value), array(slope), array(features_tangent), array(tangent), array(curved), array(outputs_tangent),
        )  # fmt: skip
        along = tangents[0], features_tangent, tangent, curved
        # The upstream gradients of the results are cotangents of their tangents.
        outputs, last = (torch.stack([torch.zeros_like(cotangent), cotangent]) for cotangent in upstream)
        gradients = self._pull(inputs, kept, along, outputs, last, wanted(2))
        return *gradients, outputs_tangent, features_tangent[-1].clone()

    def _pull(
        self, inputs: Tensors, kept: Tensors, tangents: Tensors, outputs: Tensor, last: Tensor, with_weights: bool
    ) -> Gradients:
        """Cotangents of filters, first features and weights.

        Parameters
        ----------
        tangents : of filters, features and activations, and what second derivatives need of these.
        outputs, last : (1 or 2, n_atoms, …) cotangents of outputs and last features, and of their tangents.
        """
        filters, _, weights = inputs
        x = last.clone(memory_format=torch.contiguous_format)
        to_filters = torch.empty_like(filters, memory_format=torch.contiguous_format)
        # Of numpy, which takes zeroed pages from the system instead of writing them: a twentieth of a step.
        to_weights = torch.from_numpy(np.zeros(len(weights) if with_weights else 0, dtype=np.float32))
        features, value, slope = kept
        filters_tangent, features_tangent, tangent, curved = tangents
        pull_stack(
            array(weights), array(filters), array(filters_tangent), *array(self.index), self.n_modules, self.blocks,
            array(features), array(features_tangent), array(value), array(slope), array(tangent), array(curved),
            array(outputs), array(x), array(to_filters), array(to_weights),
        )  # fmt: skip
        return to_filters, x[0], to_weights if with_weights else None

    def formula(self, *inputs: Tensor) -> Tensors:
        raise NotImplementedError(
            "in single precision, PhysNet's interaction modules are differentiated twice by positions and weights "
            "only, once of them by positions: compute in double precision"
        )
