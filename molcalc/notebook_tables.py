"""Tables that notebooks show in place of the text of an object; every text in them is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape


def facts_table(caption: str, facts: Mapping[str, str]) -> str:
    """What is known of one thing: a name and a value in a row.

    Returns
    -------
    HTML
    """
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return f"<table><caption>{escape(caption)}</caption>{rows}</table>"


def rows_table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Several things of one kind, one in a row.

    Returns
    -------
    HTML
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
