"""Training of several networks alike: the same data and parts, one seed, as many steps, the same settings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from molcalc.errors import ConfigError
from molcalc.registry import MODELS, entry_of
from molcalc.train.config import flat_options, make_config, merged, read_options
from molcalc.train.continuation import RECOMMENDED
from molcalc.train.data.dataset import Dataset
from molcalc.train.fitting import fit
from molcalc.train.loop.losses import TERMS, LossConfig
from molcalc.train.loop.run_folder import OPTIONS_FILE
from molcalc.train.run_data import separated
from molcalc.train.start.start_config import StartConfig

OF_THE_NETWORK = {key.name for key in fields(StartConfig)}
"""Options that say what is trained, and differ between networks."""
_LEFT_OPEN = ("validate_every", "validate_steps")


@dataclass(frozen=True)
class Contender:
    """A network that takes part in a comparison.

    Attributes
    ----------
    name : of its folder, and in tables.
    kind : key of :data:`molcalc.registry.MODELS`.
    preset : named size; "default" unless given.
    arguments : of the network, that differ from those of the preset.
    """

    name: str
    kind: str
    preset: str = "default"
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def predicts(self) -> tuple[str, ...]:
        """What the network predicts beside energies."""
        entry = entry_of(self.kind)
        with torch.device("meta"):  # takes no memory
            return entry.network(entry.config(elements=(1,), **self.arguments)).predicts


def contenders_of(models: Iterable[str], n_dcm: Sequence[int] = ()) -> list[Contender]:
    """Networks by kind, and by number of charges around each atom where a kind has it.

    Parameters
    ----------
    models : kinds, or KIND:PRESET such as "physnet-dcm:reference-size".
    n_dcm : numbers of distributed charges; none takes the usual one.

    Returns
    -------
    contenders of different names

    Raises
    ------
    ConfigError
        For an unknown kind or preset, or one that is named twice.
    """
    found: list[Contender] = []
    for text in models:
        kind, _, preset = text.partition(":")
        make_config({"model": kind})
        presets = MODELS[kind].training.presets
        if preset and preset != "default" and preset not in presets:
            raise ConfigError(f"{kind} has no preset {preset!r}; it has {', '.join(['default', *presets])}")
        name, preset = text.replace(":", "-"), preset or "default"
        numbers = n_dcm if any(each.name == "n_dcm" for each in fields(MODELS[kind].config)) else ()
        found += [Contender(f"{name}-{n}", kind, preset, {"n_dcm": n}) for n in numbers]
        found += [] if numbers else [Contender(name, kind, preset)]
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        raise ConfigError(f"{max(names, key=names.count)} is named twice")
    if not found:
        raise ConfigError("no model to compare; give at least one kind")
    return found


def train_equally(
    contenders: Sequence[Contender],
    folder: Path,
    data: Any,
    labels: Dataset,
    options: Mapping[str, Any],
    progress: bool,
) -> dict[str, Path]:
    """Train every network in a folder of its own, or go on where a run was interrupted.

    Settings are those recommended for the first network, rate and decay included, with the changes of the user.

    Parameters
    ----------
    data : as :func:`molcalc.train.fit` takes them.
    labels : the same, opened.
    options : of :class:`molcalc.train.config.FitConfig`, and other arguments of ``fit``.

    Returns
    -------
    folders of the runs by name

    Raises
    ------
    ConfigError, DatasetError, CheckpointError
        As ``fit`` tells.
    """
    files, rest = separated(options)
    given = flat_options(rest)
    shared = _shared(contenders[0], given)
    runs: dict[str, Path] = {}
    for contender in contenders:
        runs[contender.name] = folder / contender.name
        own = {**shared, "loss": _loss(contender, shared["loss"], given, labels)}
        own |= {key: value for key, value in given.items() if key in OF_THE_NETWORK}
        own["arguments"] = {**given.get("arguments", {}), **contender.arguments}
        own["preset"] = contender.preset if contender.preset != "default" else given.get("preset", "default")
        fit(data, contender.kind, output=runs[contender.name], resume="auto", progress=progress, **files, **own)
        written = read_options(runs[contender.name] / OPTIONS_FILE)
        shared |= {key: written[key] for key in RECOMMENDED}
    return runs


def _shared(first: Contender, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every option that does not say what is trained, as recommended for the first network, or given."""
    allowed = {key: value for key, value in given.items() if key not in OF_THE_NETWORK}
    whole = make_config({**allowed, "model": first.kind}).flat()
    return {
        key: value
        for key, value in whole.items()
        if key not in OF_THE_NETWORK and not (key in RECOMMENDED | set(_LEFT_OPEN) and key not in given)
    }


def _loss(contender: Contender, shared: Mapping[str, Any], given: Mapping[str, Any], labels: Dataset) -> dict[str, Any]:
    """The shared loss, without terms that the network cannot have; those recommended for it alone are off."""
    asked = given.get("loss", {}).get("weights", {})
    config = LossConfig(**shared)
    counts, predicts = labels.counts(), contender.predicts()
    weights = dict.fromkeys(MODELS[contender.kind].training.options["loss"]["weights"], 0.0)
    for name, weight in shared["weights"].items():
        term = TERMS[name](name, config)
        there = name in asked or all(counts.get(label, 0) for label in term.labels)
        if there and set(term.requires) <= set(predicts):
            weights[name] = weight
    return merged(shared, {}) | {"weights": weights}


def folders_of(models: Sequence[str | os.PathLike[str]]) -> dict[str, Path]:
    """Folders of trained models by name: their last part, as much as is needed to tell them apart.

    Returns
    -------
    folders by name

    Raises
    ------
    ConfigError
        When one is named twice, or there is none.
    """
    paths = [Path(model) for model in models]
    if not paths:
        raise ConfigError("no model to compare; give at least one folder of a run")
    if len(set(paths)) < len(paths):
        raise ConfigError(f"{max(paths, key=paths.count)} is named twice")
    lasts = [path.name for path in paths]
    return {path.name if lasts.count(path.name) == 1 else path.as_posix(): path for path in paths}
