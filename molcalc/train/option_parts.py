"""Keys of a configuration that has parts: written in their part, or without it, in keywords, files and commands."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from molcalc.errors import ConfigError, short, suggest
from molcalc.io.strict_yaml import parse_yaml
from molcalc.train.run_data import check_plain, separated

MAX_CONFIG_FILE = 1 << 18
"""Bytes; options have hundreds."""


class OptionParts:
    """Keys of a configuration by the part that they belong to.

    Parameters
    ----------
    parts : dataclass of each part whose keys may be written without it.
    others : keys beside the parts.
    short_for : key that a part stands for where it is a text.
    """

    def __init__(self, parts: Mapping[str, type[Any]], others: Sequence[str], short_for: Mapping[str, str]) -> None:
        self.parts, self._others, self._short_for = dict(parts), tuple(others), dict(short_for)
        self.part_of: dict[str, str] = {key.name: part for part, kind in parts.items() for key in fields(kind)}

    def flat(self, options: Mapping[str, Any], where: str = "") -> dict[str, Any]:
        """Options by key, whichever part each was written in.

        Parameters
        ----------
        where : named in errors.

        Returns
        -------
        options without parts; the keys of options that are mappings stay inside these.

        Raises
        ------
        ConfigError
            For an unknown key (with the nearest valid one), a key in a part that it does not belong to, or a key that
            is given in its part and without it.
        """
        prefix = f"{where}: " if where else ""
        flat: dict[str, Any] = {}
        known = (*self._others, *self.part_of)
        for name, value in options.items():
            if name not in self.parts and name not in known:
                valid = (*known, *self.parts)
                raise ConfigError(
                    f"{prefix}unknown key {short(name)}{suggest(str(name), valid)}; valid keys: "
                    f"{', '.join(sorted(valid))}"
                )
            for key, inner in self._within(name, value, prefix).items() if name in self.parts else [(name, value)]:
                if key in flat:
                    raise ConfigError(
                        f"{prefix}{key} is given twice, as {key} and as {self.part_of[key]}.{key}: leave one of them "
                        "out"
                    )
                flat[key] = inner
        return flat

    def of_part(self, part: str, flat: Mapping[str, Any]) -> dict[str, Any]:
        """Those of flat options that belong to a part."""
        return {key: value for key, value in flat.items() if self.part_of.get(key) == part}

    def read(self, path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Options of a YAML file.

        Returns
        -------
        arguments that name data, and options by key

        Raises
        ------
        ConfigError
            When the file is not YAML, repeats a key, or has an unknown key; the message names it.
        """
        values = read_option_file(path)
        data, rest = separated(values)
        check_plain(data, str(path))
        return data, self.flat(rest, str(path))

    def parse_setting(self, text: str) -> dict[str, Any]:
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
        return self.flat(values)

    def _within(self, part: str, values: Any, prefix: str) -> Mapping[str, Any]:
        """Keys that are written in a part, after a look at whether they belong there."""
        if part in self._short_for and isinstance(values, str):
            return {self._short_for[part]: values}
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"{prefix}{part}: {short(values)} is a {type(values).__name__}; expected a mapping of options"
            )
        own = [key for key, home in self.part_of.items() if home == part]
        for key in values:
            if key in own:
                continue
            cure = (
                f"it belongs to {self.part_of[key]}" if key in self.part_of else f"valid keys: {', '.join(sorted(own))}"
            )
            raise ConfigError(f"{prefix}{part}: unknown key {short(key)}{suggest(str(key), own)}; {cure}")
        return values


def read_option_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Lines ``option: value`` of a file.

    Returns
    -------
    values by name; none of an empty file

    Raises
    ------
    ConfigError
        When it cannot be read or is something else.
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
