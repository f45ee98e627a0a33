"""The closed table of networks: kind → class. Nothing else is ever built from a model file."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from molcalc.checkpoint import Checkpoint, ModelConfig
from molcalc.errors import CheckpointMismatchError, ConfigError, UnsafeCheckpointError
from molcalc.models.aimnet2 import AIMNet2, AIMNet2Config
from molcalc.schema import from_dict, suggest


class Entry(NamedTuple):
    """A network class and the dataclass of its arguments."""

    model: type[nn.Module]
    config: type[Any]


MODELS: dict[str, Entry] = {"aimnet2": Entry(AIMNet2, AIMNet2Config)}


def network_config(config: ModelConfig) -> Any:
    """The typed configuration of a model's network.

    Raises
    ------
    UnsafeCheckpointError
        When the kind is not in the table.
    CheckpointMismatchError
        When the arguments do not fit.
    """
    if config.kind not in MODELS:
        raise UnsafeCheckpointError(
            f"unknown architecture {config.kind!r}{suggest(config.kind, MODELS)}; known: {', '.join(MODELS)}"
        )
    try:
        return from_dict(MODELS[config.kind].config, config.arguments, "arguments")
    except ConfigError as error:
        raise CheckpointMismatchError(str(error)) from error


def build_members(checkpoint: Checkpoint) -> list[nn.Module]:
    """Networks with their weights, in evaluation mode.

    Raises
    ------
    CheckpointMismatchError
        When a weight is missing, unexpected or of the wrong shape.
    """
    config = checkpoint.config
    arguments = network_config(config)
    if not 1 <= config.n_members <= 64:
        raise CheckpointMismatchError(f"n_members={config.n_members}; allowed are 1…64")
    prefixes = [f"members.{k}." for k in range(config.n_members)]
    with torch.device("meta"):
        members = [MODELS[config.kind].model(arguments) for _ in prefixes]
    expected = {
        prefix + name: tensor.shape
        for prefix, member in zip(prefixes, members)
        for name, tensor in member.state_dict().items()
    }
    missing, extra = sorted(expected.keys() - checkpoint.weights), sorted(checkpoint.weights.keys() - expected)
    if missing or extra:
        raise CheckpointMismatchError(
            f"weights do not fit the architecture: missing {missing[:5] or 'none'}, unexpected {extra[:5] or 'none'}"
        )
    for name, shape in expected.items():
        if checkpoint.weights[name].shape != shape:
            raise CheckpointMismatchError(
                f"weight {name} has shape {tuple(checkpoint.weights[name].shape)}; expected {tuple(shape)}"
            )
    for prefix, member in zip(prefixes, members):
        state = {name: checkpoint.weights[prefix + name] for name in member.state_dict()}
        member.load_state_dict(state, strict=True, assign=True)
        member.requires_grad_(False).eval()
    return members


def checkpoint_of(config: ModelConfig, members: list[nn.Module]) -> Checkpoint:
    """Collect the weights of networks under the names that :func:`build_members` expects."""
    weights = {
        f"members.{k}.{name}": value.detach()
        for k, member in enumerate(members)
        for name, value in member.state_dict().items()
    }
    return Checkpoint(config, weights)
