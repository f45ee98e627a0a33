"""Where a run starts from: the weights of another model, for the fidelities of the data."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from torch import nn

from molcalc.errors import CheckpointMismatchError, ConfigError, DatasetError, suggest
from molcalc.fidelity import UNNAMED, Fidelity
from molcalc.io.checkpoint import ModelConfig
from molcalc.models.aimnet2 import AIMNet2
from molcalc.models.multifidelity import with_fidelities
from molcalc.pretrained.sources import read_model
from molcalc.registry import build_members
from molcalc.train.config import FitConfig, LevelOfTheory
from molcalc.units import symbols_of

log = logging.getLogger(__name__)

SEVERAL = {"aimnet2": "aimnet2-multi"}
"""Kind of model for several fidelities, by what users call it."""
ADDED = ("embeddings", "charge_heads", "charge_hidden")
"""Arguments of a network that can be chosen when given weights are extended to several fidelities."""


@dataclass(frozen=True)
class Start:
    """A network before its first step.

    Attributes
    ----------
    known : indices of fidelities whose reference energies are those of the given weights.
    """

    config: ModelConfig
    network: nn.Module
    known: frozenset[int] = frozenset()


def kind_of(model: str, n_fidelities: int) -> str:
    """Kind of a new model; raises ConfigError when it cannot learn so many fidelities."""
    if n_fidelities == 1:
        return model
    if model not in SEVERAL:
        raise ConfigError(
            f"the data has {n_fidelities} fidelities; {model} learns one level of theory: give the files of one, or "
            f"train {', '.join(SEVERAL)}"
        )
    return SEVERAL[model]


def all_elements(levels: Sequence[Fidelity]) -> tuple[int, ...]:
    """Atomic numbers that any of the levels knows, ascending."""
    return tuple(sorted({z for level in levels for z in level.elements or ()}))


def bases(config: FitConfig, levels: Sequence[Fidelity]) -> tuple[int | None, ...]:
    """For every level the index of the one that it corrects; () when none does.

    Raises
    ------
    ConfigError
        For a base that is not among the levels, or levels that correct each other in a circle.
    """
    names = [level.name for level in levels]
    found: list[int | None] = []
    for name in names:
        base = config.fidelities.get(name, LevelOfTheory()).base
        if base is not None and base not in names:
            raise ConfigError(
                f"fidelities.{name}.base={base!r}{suggest(base, names)}; the model has {', '.join(names)}"
            )
        found.append(None if base is None else names.index(base))
    for k, name in enumerate(names):
        chain = [k]
        while (base_of := found[chain[-1]]) is not None:
            if base_of in chain:
                circle = " of ".join(repr(names[link]) for link in (*chain, base_of))
                raise ConfigError(f"fidelities.{name}.base: a correction in a circle ({circle}); one must have no base")
            chain.append(base_of)
    return tuple(found) if any(base is not None for base in found) else ()


def given(config: FitConfig, levels: Sequence[Fidelity]) -> Start:
    """The network of ``config.init`` with the given levels of theory.

    A level starts from the one of ``init`` that it is ``like``; else from the one of its name, whose reference energies
    it keeps; else from the first.

    Raises
    ------
    ConfigError, CheckpointMismatchError
        When options do not fit the weights.
    DatasetError
        When the data have an element that the weights do not know.
    """
    assert config.init is not None
    checkpoint = read_model(config.init)
    found = checkpoint.config
    sources = [_source(config, found, level) for level in levels]
    known = {k for k, level in enumerate(levels) if level.name == found.fidelities[sources[k]].name != UNNAMED}
    wanted = [_continued(config.init, found, level, sources[k], k in known) for k, level in enumerate(levels)]
    for index in _kept(config, found, wanted):
        known.add(len(wanted))
        wanted.append(_with_elements(found, index))
        sources.append(index)
    several = len(wanted) > 1 or found.kind == SEVERAL.get(config.model)
    _check_options(config, found, several)
    network = build_members(checkpoint)[config.init_member]
    if several:
        assert isinstance(network, AIMNet2)
        changes = {"bases": bases(config, wanted)} if bases(config, wanted) else {}
        network = with_fidelities(network, sources, **changes, **config.arguments)
    for k in set(range(len(wanted))) - known:
        network.set_reference_energies(dict.fromkeys(network.elements, 0.0), k)  # type: ignore[operator, arg-type]
    network.config = replace(network.config, elements=all_elements(wanted))  # type: ignore[type-var]
    declared = replace(
        found,
        kind=SEVERAL[config.model] if several else found.kind,
        arguments=asdict(network.config),  # type: ignore[call-overload]
        n_members=1,
        fidelities=tuple(wanted),
    )
    return Start(declared, network, frozenset(known))


def _check_options(config: FitConfig, found: ModelConfig, several: bool) -> None:
    if found.kind not in (config.model, SEVERAL.get(config.model)):
        raise CheckpointMismatchError(f"init={config.init!r} holds a {found.kind!r} model; model={config.model!r}")
    new = set(config.arguments) - (set(ADDED) if several else set())
    if new or config.preset != "default" or config.coulomb != "auto" or config.repulsion is not None:
        raise ConfigError("arguments, preset, coulomb and repulsion describe a new network; with init they are given")
    if config.init_member >= found.n_members:
        raise ConfigError(f"init_member={config.init_member}; {config.init!r} has members 0…{found.n_members - 1}")


def _source(config: FitConfig, found: ModelConfig, level: Fidelity) -> int:
    """Fidelity of given weights that a level starts from."""
    names = [fidelity.name for fidelity in found.fidelities]
    like = config.fidelities.get(level.name, LevelOfTheory()).like
    if like is None:
        return names.index(level.name) if level.name in names else 0
    if like not in names:
        raise ConfigError(
            f"fidelities.{level.name}.like={like!r}{suggest(like, names)}; {config.init!r} has {', '.join(names)}"
        )
    return names.index(like)


def _with_elements(found: ModelConfig, index: int) -> Fidelity:
    """A fidelity of given weights with the elements that it knows."""
    level = found.fidelities[index]
    return replace(level, elements=found.arguments["elements"] if level.elements is None else level.elements)


def _continued(init: str, found: ModelConfig, level: Fidelity, source: int, known: bool) -> Fidelity:
    """A level of the data that starts from one of given weights, with all elements that it knows then."""
    learned = _with_elements(found, source).elements or ()
    strange = [z for z in level.elements or () if z not in learned]
    if strange:
        raise DatasetError(
            f"{init!r} was not trained on {symbols_of(strange)}; known: {symbols_of(learned)}: leave these systems "
            "out, or train from random weights"
        )
    return replace(level, elements=tuple(learned)) if known else level


def _kept(config: FitConfig, found: ModelConfig, levels: Sequence[Fidelity]) -> list[int]:
    """Fidelities of given weights that the data do not have and that stay in the model."""
    names = {level.name for level in levels}
    others = [k for k, level in enumerate(found.fidelities) if level.name not in names]
    if config.keep_fidelities:
        return others
    if len(found.fidelities) > 1 and others:
        log.warning(
            "%s also has the fidelities %s, which have no data here and are left out; keep_fidelities=True keeps them",
            config.init, ", ".join(found.fidelities[k].name for k in others),
        )  # fmt: skip
    return []
