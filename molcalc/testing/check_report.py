"""Report of a run of checks, and the exceptions by which a check fails or is skipped."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import NamedTuple

from molcalc.notebook_tables import rows_table

LINE_WIDTH = 100


class CheckFailedError(Exception):
    """Raised by a check: what it looked at is wrong, and the message is a sentence that says how."""


class CheckSkippedError(Exception):
    """Raised by a check: it says nothing about this calculator, and the message is the reason."""


class Failure(NamedTuple):
    """A check that failed, and a sentence that says what is wrong."""

    name: str
    sentence: str


class Skip(NamedTuple):
    """A check that was not run, and a sentence that says why."""

    name: str
    sentence: str


@dataclass
class Report:
    """Outcome of all checks of a calculator or potential; ``str(report)`` is a readable table.

    Attributes
    ----------
    calculator : name of the class that was checked; for a potential, of its network.
    structure : chemical formula of the structure it was checked with.
    passed : names of the checks that passed.
    failures : ``Failure(name, sentence)`` of each check that failed.
    skipped : ``Skip(name, sentence)`` of each check that does not apply.
    """

    calculator: str
    structure: str
    passed: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True when no check failed."""
        return not self.failures

    def _repr_html_(self) -> str:
        rows = [("FAILED", *failure) for failure in self.failures] + [("skipped", *skip) for skip in self.skipped]
        rows += [("ok", name, "") for name in self.passed]
        return rows_table(f"{self.calculator}, checked with {self.structure}", ("", "check", ""), rows)

    def __str__(self) -> str:
        """Format as a table: failures first, then what was skipped, then what passed."""
        names = [*self.passed, *(name for name, _ in [*self.failures, *self.skipped])]
        column = 2 + max((len(name) for name in names), default=0)
        rows = [("FAILED", *failure) for failure in self.failures]
        rows += [("skipped", *skip) for skip in self.skipped]
        rows += [("ok", name, "") for name in self.passed]
        lines = [f"{self.calculator}, checked with {self.structure}"]
        for status, name, sentence in rows:
            start = f"  {status:<9}{name:<{column}}"
            wrapped = textwrap.wrap(sentence, LINE_WIDTH - len(start)) or [""]
            lines.append((start + wrapped[0]).rstrip())
            lines += [" " * len(start) + line for line in wrapped[1:]]
        counts = f"{len(self.passed)} passed, {len(self.failures)} failed, {len(self.skipped)} skipped"
        return "\n".join([*lines, counts])
