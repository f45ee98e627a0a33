"""YAML without surprises: what looks like a number is one, nothing is said twice, nothing is expanded.

The scalars are those of YAML 1.2: ``1e-3`` is a number; ``NO``, ``010`` and ``12:30:00`` are texts, which a typed
configuration then refuses where it wants something else. Aliases are not read: a few lines of them stand for
gigabytes.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from molcalc.errors import ConfigError, short

MAX_YAML_DEPTH = 20
TOO_DEEP = f"nested more than {MAX_YAML_DEPTH} levels deep"


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases, duplicate keys and the surprising scalars of YAML 1.1."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:  # noqa: N803 - the name of the base class
        if self.flow_level > MAX_YAML_DEPTH:  # before the parser looks for the end of ten thousand brackets
            raise ConfigError(TOO_DEEP)
        super().fetch_flow_collection_start(TokenClass)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()
            raise ConfigError(f"line {event.start_mark.line + 1}: aliases (*{event.anchor}) are not read: write it out")
        self._depth += 1
        if self._depth > MAX_YAML_DEPTH:
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


def parse_yaml(text: str, where: str) -> Any:
    """Plain values of a YAML text.

    Parameters
    ----------
    where : named in errors.

    Returns
    -------
    mappings, lists, numbers, texts, booleans and None; None for an empty text.

    Raises
    ------
    ConfigError
        For what is not YAML, an alias, a repeated key, or nesting without end; the message has the line.
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
