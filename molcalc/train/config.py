"""Every option of a training run, in the same parts as the rooms of training, with recommended values for each model.

Users may write a key in its part (``loop: {epochs: 300}``) or without it (``epochs: 300``), in keywords, in YAML files
and on the command line. Only the files beside this one see the whole configuration: a room takes its own part.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any

from molcalc.errors import ConfigError, short, suggest
from molcalc.io.schema import LARGEST_SEED, Range, check_fields, from_dict
from molcalc.registry import MODELS
from molcalc.train.data.comparison import Comparison
from molcalc.train.data.parts import SplitConfig
from molcalc.train.loop.loop_config import LoopConfig
from molcalc.train.loop.losses import LossConfig
from molcalc.train.optimize.optimizers import OptimizeConfig
from molcalc.train.option_parts import OptionParts, merged
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
FIT_OPTIONS = OptionParts(CONFIG_PARTS, ("seed", "loss"), {"split": "split_method"})
flat_options = FIT_OPTIONS.flat
parse_setting = FIT_OPTIONS.parse_setting
FINE_TUNING: dict[str, Any] = {"schedule": {"warmup": 0.1}}
"""Options recommended for given weights, beside those of their kind; the rate is limited where it is chosen."""
ALTERNATIVES = ("validate_every", "validate_steps")
"""Options that stand in place of each other: who gives one takes back the other of a file or of the run before."""


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Options of :func:`molcalc.train.fit`; YAML files have the same keys.

    Attributes
    ----------
    seed : of weights and order of batches.
    split : which systems are held out.
    start : network or given weights, and what the labels of each fidelity are.
    loss : terms and weights. Its keys are always written inside.
    comparison : which ESP points and which dipole are compared with labels.
    optimize : optimizer, learning rates, schedule.
    loop : batches, steps, validation, checkpoints, device.
    report : pictures and records.
    """

    seed: Annotated[int, Range(0, LARGEST_SEED)] = 0
    split: SplitConfig = field(default_factory=SplitConfig)
    start: StartConfig = field(default_factory=StartConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    comparison: Comparison = field(default_factory=Comparison)
    optimize: OptimizeConfig = field(default_factory=OptimizeConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    report: ReportConfig = field(default_factory=ReportConfig)

    def __post_init__(self) -> None:
        check_fields(self)

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
    if not isinstance(model, str) or model not in MODELS:
        raise ConfigError(f"unknown model {short(model)}{suggest(str(model), MODELS)}; known: {', '.join(MODELS)}")
    training = MODELS[model].training
    recommended = training.options
    if given.get("init") is not None:
        recommended = merged(merged(recommended, FINE_TUNING), training.options_with_init)
    return typed(merged(recommended, given), where)


def read_options(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Arguments of :func:`molcalc.train.fit` from a YAML file: options, and data.

    Returns
    -------
    options by key, whichever part each was written in, and the arguments that name data.

    Raises
    ------
    ConfigError
        When the file is not YAML, repeats a key, or has a key or value that is not an option; the message names it.
    """
    data, options = FIT_OPTIONS.read(path)
    typed(options, str(path))
    return {**options, **data}


def join_options(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Options of several sources, by key; later ones win, also over their alternatives, and nested ones are merged."""
    result: dict[str, Any] = {}
    for part in parts:
        for one, other in (ALTERNATIVES, ALTERNATIVES[::-1]):
            if part.get(one) is not None and part.get(other) is None:
                result.pop(other, None)
        result = merged(result, part)
    return result


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
