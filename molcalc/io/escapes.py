"""Texts that others wrote, made harmless for whoever shows them: terminals, tables and sheets."""

from __future__ import annotations

import re

_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that move, colour and clear a terminal or turn the direction of what follows; lines and tabs stay."""
_REPEATED = re.compile(f"({_COMMANDS.pattern}|\\\\x[0-9a-f]{{2}})\\1{{7,}}")
"""One of them, or its escape, over and over, as in files that have lost their content."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a sheet takes for the beginning of a formula."""
_NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
_NUMBERS = re.compile(f"{_NUMBER}( {_NUMBER})*")
"""One number or several, which are no formula."""


def visible(text: str) -> str:
    r"""A text in which characters that a terminal would obey are written as escapes (``\x1b``).

    Returns
    -------
    the text itself where it has none of them; of many equal ones in a row only the first, and how many there are
    """
    text = _REPEATED.sub(lambda found: f"{found[1]} ({len(found[0]) // len(found[1])} times)", text)
    return _COMMANDS.sub(lambda found: ascii(found[0])[1:-1], text)


def sheet_cell(text: str) -> str:
    """A text as a cell of a sheet, which does not compute it.

    Returns
    -------
    visible text; behind an apostrophe where it begins like a formula and is no number
    """
    shown = visible(text)
    formula = shown.startswith(_FORMULA) and len(shown) > 1 and not _NUMBERS.fullmatch(shown)
    return f"'{shown}" if formula else shown


def markdown_text(text: str) -> str:
    """A text in a Markdown document, whose tags are not those of the page."""
    return visible(text).replace("<", "&lt;")


def markdown_cell(text: str) -> str:
    """A text as a cell of a Markdown table, on one line."""
    return " ".join(markdown_text(text).replace("|", "\\|").splitlines())
