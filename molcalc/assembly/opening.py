"""Opening of models: networks with their weights from a name, a file or a folder, or from several runs of one model."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from molcalc.assembly.shared_networks import shared_members
from molcalc.errors import CheckpointMismatchError, ConfigError
from molcalc.fidelity import Fidelity, find_fidelity
from molcalc.io.checkpoint import MAX_MEMBERS, Checkpoint, ModelConfig
from molcalc.knowledge import Knowledge
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.models.fidelity_transfer import with_fidelities
from molcalc.models.network import TrainableNetwork
from molcalc.notebook_tables import facts_table
from molcalc.pretrained.sources import read_model
from molcalc.surroundings import own_settings
from molcalc.units import symbols_of


@dataclass(frozen=True)
class OpenedModel:
    """Networks of a model, or of several runs of it that make an ensemble, and its declaration.

    Attributes
    ----------
    config : kind, fidelities, and the energy terms that the model was trained with.
    members : networks in evaluation mode; nobody changes them, so that one opened model serves many potentials.
    label : name of the model without its folder: results must not carry paths.
    hash : identifies configuration and weights.
    """

    config: ModelConfig
    members: Sequence[TrainableNetwork]
    label: str
    hash: str

    def __repr__(self) -> str:
        levels = ", ".join(each.name for each in self.config.fidelities)
        return f"<OpenedModel {self.label} ({self.hash}): {len(self.members)} × {self.config.kind} of {levels}>"

    def _repr_html_(self) -> str:
        facts = {"model": f"{self.label} ({self.hash})", "kind": self.config.kind, "networks": str(len(self.members))}
        return facts_table("OpenedModel", {**facts, "fidelities": ", ".join(f.name for f in self.config.fidelities)})

    def index_of(self, fidelity: str | None) -> int:
        """Index of a fidelity by its name; None is enough where there is only one.

        Returns
        -------
        index in ``config.fidelities``

        Raises
        ------
        FidelityError
            When the name is unknown, or missing where there are several; lists them.
        """
        return find_fidelity([each.name for each in self.config.fidelities], fidelity, self.label)

    def chosen_members(self, member: int | None) -> list[TrainableNetwork]:
        """All networks, or the one that was asked for.

        Parameters
        ----------
        member : one network of an ensemble, from 0; None takes all.

        Returns
        -------
        list of one network or of all

        Raises
        ------
        ConfigError
            When there is no such network.
        """
        if member is None:
            return list(self.members)
        if not isinstance(member, int) or not 0 <= member < len(self.members):
            raise ConfigError(f"member={member!r}; {self.label!r} has members 0…{len(self.members) - 1}")
        return [self.members[member]]


ModelSource = str | os.PathLike[str] | Checkpoint
"""One model: a published name, a path, a name on the hub, or a checkpoint in memory."""
AnyModel = ModelSource | Sequence[ModelSource] | OpenedModel
"""What every function that needs a model takes: one, several runs of one, or one that is open already."""
SAME_IN_ALL_RUNS = ("coulomb", "coulomb_range", "coulomb_sum", "coulomb_options", "repulsion", "neutral_only")
"""Fields that runs of one model have in common."""
SAME_AT_EVERY_FIDELITY = ("functional", "dispersion", "dispersion_in_labels")
"""Fields that their fidelities of one name have in common."""


@own_settings()
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
    return join_runs([open_model(each, trusted=trusted) for each in model])


def _open_one(model: ModelSource, trusted: bool) -> OpenedModel:
    checkpoint = model if isinstance(model, Checkpoint) else read_model(model, trusted=trusted)
    config, label = checkpoint.config, _label_of(model)
    checksum = checkpoint.hash
    members = shared_members(checkpoint, checksum)
    n_fidelities = members[0].n_fidelities
    if len(config.fidelities) != n_fidelities:
        raise CheckpointMismatchError(
            f"{label!r} names {len(config.fidelities)} fidelities, but its network has {n_fidelities}: the file is "
            "inconsistent"
        )
    for fidelity in config.fidelities:
        unknown = sorted(set(fidelity.elements or ()) - set(members[0].elements))
        if unknown:
            raise CheckpointMismatchError(
                f"fidelity {fidelity.name!r} of {label!r} has elements that its network does not know: "
                f"{symbols_of(unknown)}: the file is inconsistent"
            )
    return OpenedModel(config, members, label, checksum)


def _label_of(model: ModelSource) -> str:
    if isinstance(model, Checkpoint):
        fidelities = model.config.fidelities
        return fidelities[0].name if len(fidelities) == 1 else model.config.kind
    return os.path.basename(os.path.normpath(os.fspath(model)))


def join_runs(runs: Sequence[OpenedModel]) -> OpenedModel:
    """One ensemble of the networks of several runs.

    Fidelities are matched by name; of their elements, those count that all runs know.

    Returns
    -------
    OpenedModel
        With the fidelities in the order of the first run; its label and hash name all runs.

    Raises
    ------
    ConfigError
        When there is no run, or one of them twice.
    CheckpointMismatchError
        When they are not runs of the same model; says what differs.
    """
    if not runs:
        raise ConfigError("an ensemble needs at least one model; got an empty list")
    if len(runs) == 1:
        return runs[0]
    for k, run in enumerate(runs):
        for other in runs[:k]:
            if other.hash == run.hash:
                raise ConfigError(f"{run.label!r} and {other.label!r} are the same model: every run counts once")
    first = runs[0]
    members = [member for run in runs for member in _like(first, run)]
    if len(members) > MAX_MEMBERS:
        raise ConfigError(f"{len(members)} networks in one ensemble; allowed are {MAX_MEMBERS}")
    fidelities = [_joined([_fidelity(run, name) for run in runs]) for name in _names(first)]
    config = replace(first.config, n_members=len(members), fidelities=tuple(fidelities))
    return OpenedModel(config, members, "+".join(run.label for run in runs), "+".join(run.hash for run in runs))


def _like(first: OpenedModel, run: OpenedModel) -> Sequence[TrainableNetwork]:
    """Networks of a run, with their fidelities in the order of the first one's."""

    def refuse(what: str, here: object, there: object) -> CheckpointMismatchError:
        return CheckpointMismatchError(
            f"{run.label!r} and {first.label!r} make no ensemble: {what} is {here!r} in the one, {there!r} in the "
            "other; an ensemble has runs of the same model"
        )

    if run.config.kind != first.config.kind:
        raise refuse("kind", run.config.kind, first.config.kind)
    for name in SAME_IN_ALL_RUNS:
        here, there = getattr(run.config, name), getattr(first.config, name)
        if here != there:
            raise refuse(name, here, there)
    if sorted(_names(run)) != sorted(_names(first)):
        raise refuse("fidelities", _names(run), _names(first))
    for name in _names(first):
        for field in SAME_AT_EVERY_FIDELITY:
            here, there = getattr(_fidelity(run, name), field), getattr(_fidelity(first, name), field)
            if here != there:
                raise refuse(f"{field} of fidelity {name!r}", here, there)
    members = run.members
    if _names(run) != _names(first):
        order = [_names(run).index(name) for name in _names(first)]
        members = [_reordered(member, order) for member in members]
    ours, theirs = asdict(members[0].config), asdict(first.members[0].config)
    for name, here in ours.items():
        if here != theirs[name]:
            raise refuse(name, here, theirs[name])
    return members


def _reordered(member: TrainableNetwork, order: list[int]) -> TrainableNetwork:
    assert isinstance(member, AIMNet2Network)
    return with_fidelities(member, order).requires_grad_(False).eval()


def _names(run: OpenedModel) -> list[str]:
    return [fidelity.name for fidelity in run.config.fidelities]


def _fidelity(run: OpenedModel, name: str) -> Fidelity:
    return run.config.fidelities[_names(run).index(name)]


def _joined(fidelities: Sequence[Fidelity]) -> Fidelity:
    """One fidelity of several runs."""
    known = [set(fidelity.elements) for fidelity in fidelities if fidelity.elements is not None]
    knowledge = [fidelity.knowledge for fidelity in fidelities]
    return replace(
        fidelities[0],
        elements=tuple(sorted(set.intersection(*known))) if known else None,
        knowledge=functools.reduce(_shared, knowledge),
    )


def _shared(one: Knowledge | None, other: Knowledge | None) -> Knowledge | None:
    return None if one is None or other is None else one.shared(other)
