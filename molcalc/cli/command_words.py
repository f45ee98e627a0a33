"""Messages of the library in the spelling of the command line: ``--fidelity NAME`` for ``fidelity=NAME``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection

_IN_PYTHON = re.compile(r" \((?:in Python \w+=[^()]*|\w+=True)\)")
"""Python's half of a message that has both spellings."""
_ASSIGNED = re.compile(r"(?<![\w.\-=])([a-z]\w*)=(\"[^\"]*\"|'[^']*'|[\w.+:-]*\w)")
"""Argument and value, as Python spells them."""
_MAPPING = re.compile(r"(?<![\w.\-=])([a-z]\w*)=\{([^{}]*)\}")
_ITEM = re.compile(r"\s*[\"'](\w+)[\"']: (\"[^\"]*\"|'[^']*'|[\w.+-]+)(?:,|$)")
"""Argument whose value is a mapping, and an item of it."""

QUOTES = "\"'"
_YAML = {"True": "true", "False": "false", "None": "null"}
_TWICE = re.compile(r"(--[\w-]+)(?: \(\1(?: on the command line)?\)|, \1\b)")
"""What a message that has both spellings becomes."""


class CommandWords:
    """Translator of messages, which knows the options of the command that runs once they are parsed.

    Attributes
    ----------
    options : long options of the command.
    settings : names that the command takes with ``--set``, and from files of options, whose spelling is left alone.
    """

    def __init__(self) -> None:
        self.options: Collection[str] = ()
        self.settings: Collection[str] = ()

    def __call__(self, text: str) -> str:
        """The text, with every argument of Python that is an option of the command as the command line spells it."""
        plain = _MAPPING.sub(self._spelled_items, _IN_PYTHON.sub("", text))
        return _TWICE.sub(r"\1", _ASSIGNED.sub(self._spelled, plain))

    def _spelled_items(self, found: re.Match[str]) -> str:
        """An option for every item of a mapping: ``--label energy=E --label forces=F``, ``--set arguments.n_dcm=2``."""
        name, items = found[1], _ITEM.findall(found[2])
        option = next((each for each in (f"--{name}", f"--{name.removesuffix('s')}") if each in self.options), None)
        if not items or (option is None and name not in self.settings):
            return found[0]
        beginning = f"--set {name}." if option is None else f"{option} "
        return " ".join(beginning + shlex.quote(f"{key}={value.strip(QUOTES)}") for key, value in items)

    def _spelled(self, found: re.Match[str]) -> str:
        name, value = found[1], found[2].strip(QUOTES)
        option = "--" + name.replace("_", "-")
        if self.settings and found[2] not in _YAML:  # may stand in a file of options
            return found[0]
        if option in self.options:
            return option if value == "True" else f"{option} {'none' if value == 'None' else value}"
        if name in self.settings:
            return f"--set {name}={_YAML.get(value, value)}"
        return found[0]
