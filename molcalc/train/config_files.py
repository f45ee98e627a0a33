"""Options from YAML files and from text: strict, and what looks like a number is one.

The scalars are those of YAML 1.2: ``1e-3`` is a number; ``NO``, ``010`` and ``12:30:00`` are texts, which the typed
configuration then refuses where it wants something else. Aliases are not read: a few lines of them stand for
gigabytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from molcalc.errors import ConfigError, short
from molcalc.io.schema import from_dict
from molcalc.train.config import FitConfig, merged

MAX_FILE = 1 << 18
"""Bytes; options have hundreds."""
MAX_DEPTH = 20
TOO_DEEP = f"options are nested more than {MAX_DEPTH} levels deep"


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases, duplicate keys and the surprising scalars of YAML 1.1."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:  # noqa: N803 - the name of the base class
        if self.flow_level > MAX_DEPTH:  # before the parser looks for the end of ten thousand brackets
            raise ConfigError(TOO_DEEP)
        super().fetch_flow_collection_start(TokenClass)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()
            raise ConfigError(f"line {event.start_mark.line + 1}: aliases (*{event.anchor}) are not read: write it out")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ConfigError(TOO_DEEP)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        found: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"line {key.start_mark.line + 1}: a key must be a word")
            if key.value in found:
                raise ConfigError(f"line {key.start_mark.line + 1}: the key {short(key.value)} is given twice")
            found.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(~|null|)$"), ["~", "n", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false)$"), ["t", "f"])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def read_options(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Options of :func:`molcalc.train.fit` from a YAML file.

    Raises
    ------
    ConfigError
        When the file is not YAML, repeats a key, or has a key or value that is not an option; the message names it.
    """
    file = Path(path)
    try:
        if file.stat().st_size > MAX_FILE:
            raise ConfigError(f"{file} has {file.stat().st_size} bytes; options have at most {MAX_FILE}")
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
    from_dict(FitConfig, values, str(file))
    return values


def parse_yaml(text: str, where: str) -> Any:
    """Plain values of a YAML text.

    Parameters
    ----------
    where : named in errors.

    Raises
    ------
    ConfigError
    """
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise ConfigError(f"{where}: {line}{getattr(error, 'problem', None) or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: {error}") from error


def parse_setting(text: str) -> dict[str, Any]:
    """Options from ``key=value`` or ``key.key=value``; the value is YAML.

    Raises
    ------
    ConfigError
    """
    name, sign, value = text.partition("=")
    keys = [key.strip() for key in name.split(".")]
    if not sign or not all(keys):
        raise ConfigError(f"{short(text)} is not KEY=VALUE, such as learning_rate=1e-3 or loss.weights.energy=5")
    values: Any = parse_yaml(value, name)
    for key in reversed(keys):
        values = {key: values}
    return dict(values)


def join_options(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Options of several sources; later ones win, nested ones are merged."""
    result: dict[str, Any] = {}
    for part in parts:
        result = merged(result, part)
    return result
