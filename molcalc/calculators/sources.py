"""From an opened model to the networks and the name that a calculator uses."""

from __future__ import annotations

import os

from torch import nn

from molcalc.checkpoint import Checkpoint, ModelConfig
from molcalc.errors import CheckpointMismatchError, ConfigError

CALCULATORS = {
    "aimnet2": "AIMNet2",
    "aimnet2-multi": "AIMNet2",
    "physnet-dcm": "PhysNetDCM",
    "noneq-dcm": "NonEquivariantDCM",
}
"""Calculator of each kind of model."""


def check_kind(config: ModelConfig, kind: str, label: str) -> None:
    """Raise CheckpointMismatchError, naming the right calculator, when a model is of another kind."""
    if config.kind != kind:
        raise CheckpointMismatchError(
            f"{label!r} holds a {config.kind!r} model, not {kind!r}: load it with {CALCULATORS[config.kind]}({label!r})"
        )


def chosen_members(members: list[nn.Module], member: int | None, label: str) -> list[nn.Module]:
    """All networks of an ensemble, or the one that was asked for."""
    if member is None:
        return members
    if not isinstance(member, int) or not 0 <= member < len(members):
        raise ConfigError(f"member={member!r}; {label!r} has members 0…{len(members) - 1}")
    return [members[member]]


def label_of(model: str | os.PathLike[str] | Checkpoint) -> str:
    """Name of a model without its folder: results must not carry paths."""
    if isinstance(model, Checkpoint):
        return model.config.fidelities[0].name
    return os.path.basename(os.path.normpath(os.fspath(model)))
