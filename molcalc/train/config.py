"""Every option of a training run, in the same parts as the rooms of training, with recommended values for each model.

Users may write a key in its part (``loop: {epochs: 300}``) or without it (``epochs: 300``). Only the files beside this
one see the whole configuration: a room takes its own part.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from molcalc.errors import ConfigError, short, suggest
from molcalc.io.schema import from_dict
from molcalc.registry import MODELS
from molcalc.train.data.comparison import Comparison
from molcalc.train.data.parts import SplitConfig
from molcalc.train.loop.loop_config import LoopConfig
from molcalc.train.loop.losses import LossConfig
from molcalc.train.optimize.optimizers import OptimizeConfig
from molcalc.train.report.recording import ReportConfig
from molcalc.train.start.start_config import StartConfig, TrainedFidelity

CONFIG_PARTS: dict[str, type[Any]] = {
    "split": SplitConfig,
    "start": StartConfig,
    "comparison": Comparison,
    "optimize": OptimizeConfig,
    "loop": LoopConfig,
    "report": ReportConfig,
}
"""Parts of the configuration whose keys may be written without the part."""
PART_OF: dict[str, str] = {key.name: part for part, kind in CONFIG_PARTS.items() for key in fields(kind)}
"""Part of each key that may be written without it."""


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Options of :func:`molcalc.train.fit`; YAML files have the same keys.

    Attributes
    ----------
    seed : of split, weights and order of batches.
    split : which systems are held out.
    start : network or given weights, and what the labels of each fidelity are.
    loss : terms and weights. Its keys are always written inside.
    comparison : which ESP points and which dipole are compared with labels.
    optimize : optimizer, learning rates, schedule.
    loop : batches, steps, validation, checkpoints, device.
    report : pictures and records.
    """

    seed: int = 0
    split: SplitConfig = field(default_factory=SplitConfig)
    start: StartConfig = field(default_factory=StartConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    comparison: Comparison = field(default_factory=Comparison)
    optimize: OptimizeConfig = field(default_factory=OptimizeConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    report: ReportConfig = field(default_factory=ReportConfig)

    def to_dict(self) -> dict[str, Any]:
        """All options as plain values, in their parts; :func:`make_config` reads them back."""
        values = asdict(self)
        values["start"]["fidelities"] = {name: item.to_options() for name, item in self.start.fidelities.items()}
        return values

    def flat(self) -> dict[str, Any]:
        """All options as plain values by key, without the parts; :func:`make_config` reads them back."""
        return flat_options(self.to_dict())


def make_config(options: Mapping[str, Any], where: str = "") -> FitConfig:
    """Options of a user on top of the recommended ones of the model.

    Parameters
    ----------
    options : keys in their parts or without them.
    where : named in errors.

    Returns
    -------
    complete configuration

    Raises
    ------
    ConfigError
        For an unknown model or key, a key given twice, a value of the wrong type or out of range.
    """
    given = flat_options(options, where)
    model = given.get("model", StartConfig.model)
    if model not in MODELS:
        raise ConfigError(f"unknown model {model!r}{suggest(str(model), MODELS)}; known: {', '.join(MODELS)}")
    return typed(merged(MODELS[model].training.options, given), where)


def typed(flat: Mapping[str, Any], where: str = "") -> FitConfig:
    """The configuration with keys of :func:`flat_options`, and nothing recommended.

    Returns
    -------
    configuration with the defaults of its classes

    Raises
    ------
    ConfigError
        For a value of the wrong type or out of range.
    """
    values = dict(flat)
    if isinstance(said := values.get("fidelities"), Mapping):
        prefix = f"{where}: " if where else ""
        values["fidelities"] = {
            str(name): TrainedFidelity.from_options(str(name), options, f"{prefix}fidelities.{name}")
            for name, options in said.items()
        }
    parts = {
        part: from_dict(kind, {key.name: values.pop(key.name) for key in fields(kind) if key.name in values}, where)
        for part, kind in CONFIG_PARTS.items()
    }
    return replace(from_dict(FitConfig, values, where), **parts)


def flat_options(options: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Options by key, whichever part each was written in.

    Parameters
    ----------
    where : named in errors.

    Returns
    -------
    options without parts; the keys of ``loss``, ``schedule``, ``arguments`` and ``fidelities`` stay inside these.

    Raises
    ------
    ConfigError
        For an unknown key (with the nearest valid one), a key in a part that it does not belong to, or a key that is
        given in its part and without it.
    """
    prefix = f"{where}: " if where else ""
    flat: dict[str, Any] = {}
    known = ("seed", "loss", *PART_OF)
    for name, value in options.items():
        if name not in CONFIG_PARTS and name not in known:
            valid = (*known, *CONFIG_PARTS)
            raise ConfigError(
                f"{prefix}unknown key {short(name)}{suggest(str(name), valid)}; valid keys: {', '.join(sorted(valid))}"
            )
        for key, inner in _within(name, value, prefix).items() if name in CONFIG_PARTS else [(name, value)]:
            if key in flat:
                raise ConfigError(
                    f"{prefix}{key} is given twice, as {key} and as {PART_OF[key]}.{key}: leave one of them out"
                )
            flat[key] = inner
    return flat


def _within(part: str, values: Any, prefix: str) -> Mapping[str, Any]:
    """Keys that are written in a part, after a look at whether they belong there."""
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{prefix}{part}: {short(values)} is a {type(values).__name__}; expected a mapping of options"
        )
    own = [key for key, home in PART_OF.items() if home == part]
    for key in values:
        if key in own:
            continue
        cure = f"it belongs to {PART_OF[key]}" if key in PART_OF else f"valid keys: {', '.join(sorted(own))}"
        raise ConfigError(f"{prefix}{part}: unknown key {short(key)}{suggest(str(key), own)}; {cure}")
    return values


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings are merged, other values replaced."""
    result = copy.deepcopy(dict(base))
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result
