"""Networks with the weights of another model, for the fidelities of the data."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import torch

from molcalc.assembly.terms import COULOMB_SUMS, trained_coulomb
from molcalc.errors import CheckpointMismatchError, ConfigError, DatasetError, suggest
from molcalc.fidelity import UNNAMED, Fidelity
from molcalc.io.checkpoint import ModelConfig
from molcalc.io.schema import from_dict
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.models.fidelity_transfer import with_fidelities
from molcalc.models.network import TrainableNetwork
from molcalc.pretrained.sources import read_model
from molcalc.registry import MODELS, build_members
from molcalc.train.start.start_config import OF_LABELS, StartConfig, TrainedFidelity
from molcalc.units import symbols_of

log = logging.getLogger(__name__)

ADDED = ("embeddings", "readouts", "charge_heads", "charge_hidden")
"""Arguments of an AIMNet2 that can be chosen when it starts from given weights."""


def check_fidelities(kind: str, n_fidelities: int) -> None:
    """Raise ConfigError when a kind of model cannot learn so many fidelities."""
    if n_fidelities > 1 and not MODELS[kind].learns_fidelities:
        raise ConfigError(
            f"the data has {n_fidelities} fidelities; {kind} learns one level of theory: give the files of one, or "
            "train aimnet2"
        )


def all_elements(fidelities: Sequence[Fidelity]) -> tuple[int, ...]:
    """Atomic numbers that any of the fidelities knows, ascending."""
    return tuple(sorted({z for fidelity in fidelities for z in fidelity.elements or ()}))


def bases(config: StartConfig, names: Sequence[str]) -> tuple[int | None, ...]:
    """For every fidelity the index of the one that it corrects; () when none does.

    Returns
    -------
    index or None for each fidelity, or ()

    Raises
    ------
    ConfigError
        For a base that is not among the fidelities, or fidelities that correct each other in a circle.
    """
    found: list[int | None] = []
    for name in names:
        base = config.trained_fidelity(name).base
        if base is not None and base not in names:
            raise ConfigError(
                f"fidelities.{name}.base={base!r}{suggest(base, names)}; the model has {', '.join(names)}"
            )
        found.append(None if base is None else list(names).index(base))
    for k, name in enumerate(names):
        chain = [k]
        while (base_of := found[chain[-1]]) is not None:
            if base_of in chain:
                circle = " of ".join(repr(names[link]) for link in (*chain, base_of))
                raise ConfigError(f"fidelities.{name}.base: a correction in a circle ({circle}); one must have no base")
            chain.append(base_of)
    return tuple(found) if any(base is not None for base in found) else ()


def transferred(
    config: StartConfig, init: str, fidelities: Sequence[Fidelity], seed: int
) -> tuple[ModelConfig, TrainableNetwork, frozenset[int]]:
    """The network of ``init`` for the fidelities of the data.

    A fidelity starts from the one of ``init`` that it is ``like``; else from the one of its name, whose reference
    energies it keeps; else from the first. A head that is put on a model of another kind changes no energy: then all
    fidelities are those that they start from, under their names in the data.

    Parameters
    ----------
    init : published name, model file or directory.
    fidelities : of the data, with the elements that occur in each.
    seed : of the weights of a head that ``init`` does not have.

    Returns
    -------
    declared : what the network is, with the fidelities of the data and those that are kept.
    network : with the weights of ``init``.
    known : indices of fidelities whose reference energies are those of ``init``; those of the others are zero.

    Raises
    ------
    ConfigError, CheckpointMismatchError
        When options do not fit the weights.
    DatasetError
        When the data have an element that the weights do not know.
    """
    checkpoint = read_model(init)
    found = checkpoint.config
    sources = [_source(config, init, found, fidelity) for fidelity in fidelities]
    new_head = found.kind != config.model and found.kind == MODELS[config.model].trunk
    known = {
        k
        for k, fidelity in enumerate(fidelities)
        if new_head or fidelity.name == found.fidelities[sources[k]].name != UNNAMED
    }
    wanted = [
        _with_head(config, init, found, fidelity, sources[k])
        if new_head
        else _continued(
            init, found, fidelity, sources[k], config.trained_fidelity(fidelity.name) if k in known else None
        )
        for k, fidelity in enumerate(fidelities)
    ]
    for index in _kept(config, init, found, wanted):
        known.add(len(wanted))
        wanted.append(_with_elements(found, index))
        sources.append(index)
    _check_options(config, init, found, new_head)
    check_fidelities(found.kind, len(wanted))
    network: TrainableNetwork = build_members(checkpoint)[config.init_member]
    arguments = {} if new_head else config.arguments
    if isinstance(network, AIMNet2Network) and (len(wanted) > 1 or network.n_fidelities > 1 or arguments):
        corrected = bases(config, [fidelity.name for fidelity in wanted])
        changes = {"bases": corrected} if corrected else {}
        network = with_fidelities(network, sources, **changes, **arguments)
    if new_head:
        network = _put_on(network, config, all_elements(fidelities), seed)
    for k in set(range(len(wanted))) - known:
        network.set_reference_energies(dict.fromkeys(network.elements, 0.0), k)
    network.config = replace(network.config, elements=all_elements(wanted))
    declared = replace(
        _summed(config, init, found),
        kind=config.model,
        arguments=asdict(network.config),
        n_members=1,
        fidelities=tuple(wanted),
    )
    return declared, network, frozenset(known)


def _put_on(trunk: TrainableNetwork, config: StartConfig, elements: tuple[int, ...], seed: int) -> TrainableNetwork:
    """A network of the wanted kind with the weights of its trunk, and a head of random weights for some elements."""
    entry = MODELS[config.model]
    try:
        given = {**asdict(trunk.config), "head_elements": elements, **config.arguments}
        sizes = from_dict(entry.config, given, "arguments")
    except ValueError as error:
        raise ConfigError(str(error)) from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = entry.network(sizes).initialize()
    network.load_state_dict({**network.state_dict(), **trunk.state_dict()}, strict=True, assign=True)
    return network


def _with_head(
    config: StartConfig, init: str, found: ModelConfig, fidelity: Fidelity, source: int
) -> Fidelity:  # fmt: skip
    """A fidelity of given weights, under its name in the data, that is to have a head.

    Raises
    ------
    ConfigError
        When the user declares what its energies are: they are those of ``init``.
    DatasetError
        When the data have an element that the weights do not know.
    """
    declared = config.trained_fidelity(fidelity.name).declared
    if declared:
        raise ConfigError(
            f"fidelities.{fidelity.name}.{declared[0]}: a head on {init!r} leaves its energies as they are: leave it "
            f"out, or tune {init!r} before"
        )
    kept = _with_elements(found, source)
    _check_elements(init, fidelity, kept.elements or ())
    return replace(kept, name=fidelity.name)


def _check_elements(init: str, fidelity: Fidelity, learned: Sequence[int]) -> None:
    """Raise DatasetError for an element of the data that given weights do not know."""
    strange = [z for z in fidelity.elements or () if z not in learned]
    if strange:
        raise DatasetError(
            f"{init!r} was not trained on {symbols_of(strange)}; known: {symbols_of(learned)}: leave these systems "
            "out, or train from random weights"
        )


def _check_options(config: StartConfig, init: str, found: ModelConfig, new_head: bool) -> None:
    if new_head:
        if config.preset != "default" or config.repulsion is not None or config.coulomb != "auto":
            raise ConfigError(f"preset, repulsion and coulomb are those of init={init!r}, which gets a head: leave out")
        trunk = {key.name for key in fields(MODELS[found.kind].config)}
        for name in config.arguments:
            if name in trunk:
                raise ConfigError(f"arguments.{name} belongs to init={init!r}, which gets a head: leave it out")
    elif found.kind != config.model:
        raise CheckpointMismatchError(f"init={init!r} holds a {found.kind!r} model; model={config.model!r}")
    if config.init_member >= found.n_members:
        raise ConfigError(f"init_member={config.init_member}; {init!r} has members 0…{found.n_members - 1}")
    if new_head:
        return
    new = set(config.arguments) - (set(ADDED) if MODELS[found.kind].learns_fidelities else set())
    if new or config.preset != "default" or config.repulsion is not None:
        raise ConfigError("arguments, preset and repulsion describe a new network; with init they are given")


def _summed(config: StartConfig, init: str, found: ModelConfig) -> ModelConfig:
    """The declaration of given weights with the sum of their Coulomb energy that is wanted."""
    if config.coulomb == "auto":
        return found
    energy, summed, options = (
        (None, None, {}) if config.coulomb is None else trained_coulomb(config.coulomb, config.coulomb_options)
    )
    if energy != found.coulomb:
        sums = [row.name for row in COULOMB_SUMS if row.trained_with == found.coulomb and row.name != "auto"]
        raise ConfigError(
            f"coulomb={config.coulomb!r}: {init!r} was trained with {found.coulomb or 'no Coulomb energy'}; "
            + (f"it can be summed as {', '.join(sums)}" if sums else "leave the option out")
        )
    return replace(found, coulomb_sum=summed, coulomb_options=options)


def _source(config: StartConfig, init: str, found: ModelConfig, fidelity: Fidelity) -> int:
    """Index of the fidelity of given weights that one of the data starts from."""
    names = [other.name for other in found.fidelities]
    like = config.trained_fidelity(fidelity.name).like
    if like is None:
        return names.index(fidelity.name) if fidelity.name in names else 0
    if like not in names:
        raise ConfigError(
            f"fidelities.{fidelity.name}.like={like!r}{suggest(like, names)}; {init!r} has {', '.join(names)}"
        )
    return names.index(like)


def _with_elements(found: ModelConfig, index: int) -> Fidelity:
    """A fidelity of given weights with the elements that it knows."""
    fidelity = found.fidelities[index]
    return replace(fidelity, elements=found.arguments["elements"] if fidelity.elements is None else fidelity.elements)


def _continued(
    init: str, found: ModelConfig, fidelity: Fidelity, source: int, going_on: TrainedFidelity | None
) -> Fidelity:
    """A fidelity of the data that starts from one of given weights, with all elements that it knows then.

    Parameters
    ----------
    going_on : what the user says of a fidelity that goes on, and that keeps what is not said; None for a new one.
    """
    learned = _with_elements(found, source).elements or ()
    _check_elements(init, fidelity, learned)
    if going_on is None:
        return fidelity
    before = found.fidelities[source]
    kept: dict[str, Any] = {name: value for name, value in asdict(before).items() if name in OF_LABELS}
    if going_on.subtract_dispersion:  # the labels are known to the last term
        kept = {}
    kept = {name: value for name, value in kept.items() if name not in going_on.declared}
    if kept.get("dispersion") or kept.get("functional"):
        log.info("fidelity %r goes on with %s", fidelity.name, ", ".join(f"{k}={v}" for k, v in kept.items() if v))
    added = fidelity.knowledge
    joined = None if before.knowledge is None or added is None else before.knowledge.joined(added)
    return replace(fidelity, **kept, elements=tuple(learned), knowledge=joined)


def _kept(config: StartConfig, init: str, found: ModelConfig, fidelities: Sequence[Fidelity]) -> list[int]:
    """Fidelities of given weights that the data do not have and that stay in the model."""
    names = {fidelity.name for fidelity in fidelities}
    others = [k for k, other in enumerate(found.fidelities) if other.name not in names]
    if config.keep_fidelities:
        return others
    if len(found.fidelities) > 1 and others:
        log.warning(
            "%s also has the fidelities %s, which have no data here and are left out; keep_fidelities=True keeps them",
            init, ", ".join(found.fidelities[k].name for k in others),
        )  # fmt: skip
    return []
