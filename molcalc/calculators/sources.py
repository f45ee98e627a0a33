"""From what a user names as a model to the networks and the name that a calculator uses."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from molcalc.assembly.ensembles import Source, join_runs
from molcalc.errors import CheckpointMismatchError, ConfigError
from molcalc.io.checkpoint import Checkpoint, ModelConfig
from molcalc.pretrained.sources import open_model
from molcalc.registry import build_members

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator

CALCULATORS = {
    "aimnet2": "AIMNet2",
    "physnet-dcm": "PhysNetDCM",
    "noneq-dcm": "NonEquivariantDCM",
}
"""Calculator of each kind of model."""
Model = str | os.PathLike[str] | Checkpoint
"""What a user may name as a model."""


def open_source(model: Model | Sequence[Model] | Source, *, trusted: bool = False) -> Source:
    """Read a model, or several runs of the same one that make an ensemble.

    Parameters
    ----------
    trusted : as in :func:`molcalc.pretrained.sources.open_model`, which tells the other errors.

    Raises
    ------
    CheckpointMismatchError
        When the runs are not of the same model, or a model does not have the fidelities that it names.
    ConfigError
        For an empty list, or one with the same weights twice.
    """
    if isinstance(model, Source):
        return model
    if isinstance(model, (str, os.PathLike, Checkpoint)):
        return _open_one(model, trusted)
    return join_runs([_open_one(each, trusted) for each in model])


def _open_one(model: Model, trusted: bool) -> Source:
    checkpoint = model if isinstance(model, Checkpoint) else open_model(model, trusted=trusted)
    config, label = checkpoint.config, label_of(model)
    members = build_members(checkpoint)
    n_fidelities = members[0].n_fidelities
    if len(config.fidelities) != n_fidelities:
        raise CheckpointMismatchError(
            f"{label!r} names {len(config.fidelities)} fidelities, but its network has {n_fidelities}: the file is "
            "inconsistent"
        )
    return Source(config, members, label, checkpoint.hash)


def calculator_of(model: Model | Sequence[Model] | Source, *, trusted: bool = False, **options: Any) -> MolCalculator:
    """The calculator for a model of any kind; options are those of its class."""
    from molcalc import calculators

    source = open_source(model, trusted=trusted)
    found: MolCalculator = getattr(calculators, CALCULATORS[source.config.kind])(source, **options)
    return found


def check_kind(config: ModelConfig, kinds: Sequence[str], label: str) -> None:
    """Raise CheckpointMismatchError, naming the right calculator, when a model is of another kind."""
    if config.kind not in kinds:
        raise CheckpointMismatchError(
            f"{label!r} holds a {config.kind!r} model, not {kinds[0]!r}: load it with "
            f"{CALCULATORS[config.kind]}({label!r})"
        )


def chosen_members(members: list[nn.Module], member: int | None, label: str) -> list[nn.Module]:
    """All networks of an ensemble, or the one that was asked for."""
    if member is None:
        return members
    if not isinstance(member, int) or not 0 <= member < len(members):
        raise ConfigError(f"member={member!r}; {label!r} has members 0…{len(members) - 1}")
    return [members[member]]


def label_of(model: Model) -> str:
    """Name of a model without its folder: results must not carry paths."""
    if isinstance(model, Checkpoint):
        fidelities = model.config.fidelities
        return fidelities[0].name if len(fidelities) == 1 else model.config.kind
    return os.path.basename(os.path.normpath(os.fspath(model)))
