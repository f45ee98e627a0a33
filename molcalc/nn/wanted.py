"""Which gradients the running backward pass will use.

``ctx.needs_input_grad`` says which inputs require a gradient at all. When the loss is differentiated for the weights
alone, positions still require one, and the last step of half the formulas would be computed for nothing.
"""

from __future__ import annotations

from typing import Any

import torch


def wanted(ctx: Any, index: int) -> bool:
    """Whether the gradient for an input of an autograd function is used; True where torch does not tell."""
    if not ctx.needs_input_grad[index]:
        return False
    try:
        return bool(torch._C._will_engine_execute_node(ctx.next_functions[index][0]))
    except (AttributeError, RuntimeError):
        return True  # not known outside a backward pass, or for a leaf
