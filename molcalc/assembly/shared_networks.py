"""Networks that lie in memory once, however many potentials are made of them, and still belong to each alone.

Copies share their weights until somebody writes to one, who then gets memory of its own: fine-tuning or editing the
weights of one calculator changes no other.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from molcalc.io.checkpoint import Checkpoint
from molcalc.models.network import TrainableNetwork
from molcalc.registry import build_members

KEPT_MODELS = 4
"""Models that were opened last; their networks stay in memory."""

Module = TypeVar("Module", bound=nn.Module)

_kept: dict[str, list[TrainableNetwork]] = {}


def shared_members(checkpoint: Checkpoint, checksum: str) -> list[TrainableNetwork]:
    """Networks of a model, which share their weights with others of the same content.

    Parameters
    ----------
    checksum : of configuration and weights, as :attr:`molcalc.io.checkpoint.Checkpoint.hash` is.

    Returns
    -------
    one network for each member, in evaluation mode

    Raises
    ------
    CheckpointMismatchError
        When the weights do not fit, as :func:`molcalc.registry.build_members` tells.
    """
    members = _kept.pop(checksum, None) or build_members(checkpoint)
    _kept[checksum] = members  # the newest is the last
    for oldest in list(_kept)[:-KEPT_MODELS]:
        _kept.pop(oldest, None)  # another thread may have been here
    return [shared_copy(member) for member in members]


def shared_copy(module: Module) -> Module:
    """A module of its own with the weights of another, in the same memory until one of both writes to them.

    Returns
    -------
    module of the same class; what is not a weight is copied at once
    """
    known: dict[int, Any] = {id(each): _shared_parameter(each) for each in module.parameters()}
    known.update({id(each): _shared(each) for each in module.buffers()})
    return copy.deepcopy(module, known)


def _shared_parameter(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(_shared(parameter.detach()), requires_grad=parameter.requires_grad)


def _shared(tensor: Tensor) -> Tensor:
    """The tensor in the same memory, until either is written to; a plain copy where torch has no such thing."""
    try:
        shared: Tensor = torch._lazy_clone(tensor)
    except (AttributeError, RuntimeError):
        return tensor.clone()
    return shared
