"""Messages of the library in the spelling of the command line: ``--fidelity NAME`` for ``fidelity=NAME``."""

from __future__ import annotations

import re
from collections.abc import Collection

_IN_PYTHON = re.compile(r" \((?:in Python )?\w+=True\)")
"""Python's half of a message that has both spellings."""
_ASSIGNED = re.compile(r"(?<![\w.\-=])([a-z]\w*)=(\"[^\"]*\"|'[^']*'|[\w.+:-]*\w)")
"""Argument and value, as Python spells them."""

_YAML = {"True": "true", "False": "false", "None": "null"}
_TWICE = re.compile(r"(--[\w-]+)(?: \(\1\)|, \1\b)")
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
        return _TWICE.sub(r"\1", _ASSIGNED.sub(self._spelled, _IN_PYTHON.sub("", text)))

    def _spelled(self, found: re.Match[str]) -> str:
        name, value = found[1], found[2].strip("\"'")
        option = "--" + name.replace("_", "-")
        if self.settings and found[2] not in _YAML:  # may stand in a file of options
            return found[0]
        if option in self.options:
            return option if value == "True" else f"{option} {'none' if value == 'None' else value}"
        if name in self.settings:
            return f"--set {name}={_YAML.get(value, value)}"
        return found[0]
