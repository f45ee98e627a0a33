"""The closed table of networks: kind → class. Nothing else is ever built from a model file."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from molcalc.errors import CheckpointMismatchError, ConfigError, UnsafeCheckpointError, short, suggest
from molcalc.io.checkpoint import Checkpoint, ModelConfig
from molcalc.io.schema import from_dict
from molcalc.models.aimnet2 import AIMNet2, AIMNet2Config
from molcalc.models.dcm import NonEquivariantConfig, NonEquivariantDCM, PhysNetDCM, PhysNetDCMConfig
from molcalc.models.multifidelity import MultiFidelityAIMNet2, MultiFidelityConfig


class Entry(NamedTuple):
    """A network class and the dataclass of its arguments."""

    model: type[nn.Module]
    config: type[Any]


MODELS: dict[str, Entry] = {
    "aimnet2": Entry(AIMNet2, AIMNet2Config),
    "aimnet2-multi": Entry(MultiFidelityAIMNet2, MultiFidelityConfig),
    "physnet-dcm": Entry(PhysNetDCM, PhysNetDCMConfig),
    "noneq-dcm": Entry(NonEquivariantDCM, NonEquivariantConfig),
}
CALCULATORS = {
    "aimnet2": "molcalc.calculators.aimnet2.AIMNet2",
    "aimnet2-multi": "molcalc.calculators.aimnet2.AIMNet2",
    "physnet-dcm": "molcalc.calculators.physnet_dcm.PhysNetDCM",
    "noneq-dcm": "molcalc.calculators.physnet_dcm.NonEquivariantDCM",
}
"""Dotted name of the ASE calculator of each kind; it is imported only when it is asked for."""
MAX_VALUES = 1000
"""Single values in the arguments of a network; more would take long to build."""


def calculator_class(kind: str) -> type[Any]:
    """Class of the ASE calculator for a kind of model.

    Parameters
    ----------
    kind : key of :data:`MODELS`.

    Returns
    -------
    subclass of :class:`ase.calculators.calculator.Calculator`
    """
    module, _, name = CALCULATORS[kind].rpartition(".")
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found


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
            f"unknown architecture {short(config.kind)}{suggest(config.kind[:80], MODELS)}; known: {', '.join(MODELS)}"
        )
    if _count(config.arguments) > MAX_VALUES:
        raise CheckpointMismatchError(f"arguments hold more than {MAX_VALUES} values")
    try:
        return from_dict(MODELS[config.kind].config, config.arguments, "arguments")
    except ConfigError as error:
        raise CheckpointMismatchError(str(error)) from error


def build_members(checkpoint: Checkpoint) -> list[nn.Module]:
    """Networks with their weights, in evaluation mode.

    Raises
    ------
    CheckpointMismatchError
        When a weight is missing, unexpected, or of the wrong shape or type.
    """
    prefixes = [f"members.{k}." for k in range(checkpoint.config.n_members)]
    first = _build_empty(checkpoint.config)
    expected = {prefix + name: tensor.shape for prefix in prefixes for name, tensor in first.state_dict().items()}
    _check_weights(checkpoint.weights, expected)
    members = [first, *(_build_empty(checkpoint.config) for _ in prefixes[1:])]
    for prefix, member in zip(prefixes, members):
        state = {name: checkpoint.weights[prefix + name].clone() for name in member.state_dict()}
        member.load_state_dict(state, strict=True, assign=True)
        member.requires_grad_(False).eval()
    return members


def _build_empty(config: ModelConfig) -> nn.Module:
    """A network whose weights take no memory, whatever sizes a file claims."""
    arguments = network_config(config)
    try:
        with torch.device("meta"):
            return MODELS[config.kind].model(arguments)
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointMismatchError(f"arguments {short(config.arguments)} describe no network: {reason}") from error


def _check_weights(weights: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    missing, extra = sorted(expected.keys() - weights), sorted(weights.keys() - expected)
    if missing or extra:
        raise CheckpointMismatchError(
            f"weights do not fit the architecture: missing {missing[:5] or 'none'}, unexpected {extra[:5] or 'none'}"
        )
    for name, shape in expected.items():
        value = weights[name]
        if value.shape != shape:
            raise CheckpointMismatchError(f"weight {name} has shape {tuple(value.shape)}; expected {tuple(shape)}")
        if not value.is_floating_point():
            raise CheckpointMismatchError(f"weight {name} is of type {value.dtype}; expected floating point numbers")


def _count(values: Any) -> int:
    if isinstance(values, Mapping):
        return sum(_count(value) for value in values.values())
    if isinstance(values, (list, tuple)):
        return sum(_count(value) for value in values)
    return 1


def checkpoint_of(config: ModelConfig, members: list[nn.Module]) -> Checkpoint:
    """Collect the weights of networks under the names that :func:`build_members` expects."""
    weights = {
        f"members.{k}.{name}": value.detach()
        for k, member in enumerate(members)
        for name, value in member.state_dict().items()
    }
    return Checkpoint(config, weights)
