"""Every option of a training run, in the same parts as the rooms of training, with recommended values for each model.

Users may write a key in its part (``loop: {epochs: 300}``) or without it (``epochs: 300``), in keywords, in YAML files
and on the command line. Only the files beside this one see the whole configuration: a room takes its own part.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

from molcalc.errors import ConfigError, short, suggest
from molcalc.io.schema import LARGEST_SEED, Range, check_fields, from_dict
from molcalc.io.strict_yaml import parse_yaml
from molcalc.registry import MODELS
from molcalc.train.data.comparison import Comparison
from molcalc.train.data.parts import SplitConfig
from molcalc.train.loop.loop_config import LoopConfig
from molcalc.train.loop.losses import LossConfig
from molcalc.train.optimize.optimizers import OptimizeConfig
from molcalc.train.report.recording import ReportConfig
from molcalc.train.run_data import check_plain, separated
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
FINE_TUNING: dict[str, Any] = {"schedule": {"warmup": 0.1}}
"""Options recommended for given weights, beside those of their kind; the rate is limited where it is chosen."""
ALTERNATIVES = ("validate_every", "validate_steps")
"""Options that stand in place of each other: who gives one takes back the other of a file or of the run before."""
MAX_CONFIG_FILE = 1 << 18
"""Bytes; options have hundreds."""


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
    file = Path(path)
    try:
        if file.stat().st_size > MAX_CONFIG_FILE:
            raise ConfigError(f"{file} has {file.stat().st_size} bytes; options have at most {MAX_CONFIG_FILE}")
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not a text file: {error}") from error
    except OSError as error:
        raise ConfigError(f"cannot read the options {file}: {error.strerror or error}") from error
    values = parse_yaml(text, str(file))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: expected lines 'option: value'; got {short(values)}")
    data, rest = separated(values)
    check_plain(data, str(file))
    options = flat_options(rest, str(file))
    typed(options, str(file))
    return {**options, **data}


def parse_setting(text: str) -> dict[str, Any]:
    """Options from ``key=value`` or ``key.key=value``; the value is YAML.

    Returns
    -------
    options by key, whichever part the key was written in.

    Raises
    ------
    ConfigError
        For a text of another form, or an unknown key.
    """
    name, sign, value = text.partition("=")
    keys = [key.strip() for key in name.split(".")]
    if not sign or not all(keys):
        raise ConfigError(f"{short(text)} is not KEY=VALUE, such as learning_rate=1e-3 or loss.weights.energy=5")
    values: Any = parse_yaml(value, name)
    for key in reversed(keys):
        values = {key: values}
    return flat_options(values)


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
    if part == "split" and isinstance(values, str):
        return {"split_method": values}
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
