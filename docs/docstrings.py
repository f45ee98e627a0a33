"""Docstrings of this package for Sphinx: behind the colon of a parameter are words (shape, unit, meaning), no type."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TITLE = re.compile(r"^-{3,}$")
_NAMED = re.compile(r"^(\*{0,2}\w[\w, *]*?) : (.*)$")
NAMED_PARTS = ("Parameters", "Attributes")
FIELDS = {"Returns": ":returns:", "Yields": ":yields:"}


def sections(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Title and lines of every section; the words before the first have none."""
    title, held = "", []
    for line in lines:
        if _TITLE.match(line) and held and held[-1]:
            yield title, held[:-1]
            title, held = held[-1], []
        else:
            held.append(line)
    yield title, held


def for_napoleon(lines: list[str]) -> list[str]:
    """Lines of a docstring in the form that Sphinx reads as numpy's style."""
    changed: list[str] = []
    for title, held in sections(lines):
        if title in NAMED_PARTS:
            changed += [title, "-" * len(title)]
            for line in held:
                found = _NAMED.match(line)
                changed += [found[1], f"    {found[2]}"] if found else [line]
        elif title in FIELDS:
            text = " ".join(" ".join(held).split())
            changed += ["", f"{FIELDS[title]} {text}", ""]
        else:
            changed += [title, "-" * len(title), *held] if title else held
    return changed
