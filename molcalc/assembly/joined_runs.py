"""Ensembles of several runs of the same model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from molcalc.assembly.opened_model import OpenedModel
from molcalc.errors import CheckpointMismatchError, ConfigError
from molcalc.fidelity import Fidelity
from molcalc.io.checkpoint import MAX_MEMBERS
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.models.fidelity_transfer import with_fidelities
from molcalc.models.network import TrainableNetwork

SAME_IN_ALL_RUNS = ("coulomb", "coulomb_range", "repulsion", "neutral_only")
"""Fields that runs of one model have in common."""
SAME_AT_EVERY_FIDELITY = ("functional", "dispersion", "dispersion_in_labels")
"""Fields that their fidelities of one name have in common."""


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
    return replace(fidelities[0], elements=tuple(sorted(set.intersection(*known))) if known else None)
