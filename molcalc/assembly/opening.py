"""Opening of models: networks with their weights from a name, a file or a folder, or from several runs."""

from __future__ import annotations

import os
from collections.abc import Sequence

from molcalc.assembly.joined_runs import join_runs
from molcalc.assembly.opened_model import OpenedModel
from molcalc.errors import CheckpointMismatchError
from molcalc.io.checkpoint import Checkpoint
from molcalc.pretrained.sources import read_model
from molcalc.registry import build_members

ModelSource = str | os.PathLike[str] | Checkpoint
"""One model: a published name, a path, a name on the hub, or a checkpoint in memory."""
AnyModel = ModelSource | Sequence[ModelSource] | OpenedModel
"""What every function that needs a model takes: one, several runs of one, or one that is open already."""


def open_model(model: AnyModel, *, trusted: bool = False) -> OpenedModel:
    """A model with its networks, or several runs of the same one as an ensemble.

    >>> model = open_model("wb97m-d3")
    >>> model.config.fidelities[0].dispersion
    'd3bj:wb97m'

    Parameters
    ----------
    model : published name ("wb97m-d3"), model directory, ``.jpt`` or ``.pt`` file, directory in Hugging Face style or
        its name on the hub; or a checkpoint in memory. A list of runs of one model makes an ensemble. An opened model
        is returned as it is.
    trusted : allow a TorchScript file that is not one of the published; reading it runs the code in it.

    Returns
    -------
    OpenedModel
        :func:`molcalc.assembly.potentials.potential_of` makes a potential of it, and every calculator takes it.

    Raises
    ------
    FileNotFoundError
        When there is nothing of that name (lists the published names).
    CheckpointError, UnsafeCheckpointError, CheckpointCorruptError
        When a file cannot or must not be used.
    CheckpointMismatchError
        When the runs are not of the same model, or a model does not have the fidelities that it names.
    ConfigError
        For an empty list, or one with the same weights twice.
    """
    if isinstance(model, OpenedModel):
        return model
    if isinstance(model, (str, os.PathLike, Checkpoint)):
        return _open_one(model, trusted)
    return join_runs([_open_one(each, trusted) for each in model])


def _open_one(model: ModelSource, trusted: bool) -> OpenedModel:
    checkpoint = model if isinstance(model, Checkpoint) else read_model(model, trusted=trusted)
    config, label = checkpoint.config, _label_of(model)
    members = build_members(checkpoint)
    n_fidelities = members[0].n_fidelities
    if len(config.fidelities) != n_fidelities:
        raise CheckpointMismatchError(
            f"{label!r} names {len(config.fidelities)} fidelities, but its network has {n_fidelities}: the file is "
            "inconsistent"
        )
    return OpenedModel(config, members, label, checkpoint.hash)


def _label_of(model: ModelSource) -> str:
    if isinstance(model, Checkpoint):
        fidelities = model.config.fidelities
        return fidelities[0].name if len(fidelities) == 1 else model.config.kind
    return os.path.basename(os.path.normpath(os.fspath(model)))
