"""Options of a training run from YAML files and from text."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molcalc.errors import ConfigError, short
from molcalc.io.strict_yaml import parse_yaml
from molcalc.train.config import flat_options, merged, typed

MAX_CONFIG_FILE = 1 << 18
"""Bytes; options have hundreds."""


def read_options(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Options of :func:`molcalc.train.fit` from a YAML file.

    Returns
    -------
    options by key, whichever part each was written in.

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
    options = flat_options(values, str(file))
    typed(options, str(file))
    return options


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
    """Options of several sources, by key; later ones win, nested ones are merged."""
    result: dict[str, Any] = {}
    for part in parts:
        result = merged(result, part)
    return result
