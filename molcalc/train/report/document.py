"""Small documents of paragraphs, tables, code and pictures, as Markdown or as one HTML file."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from molcalc.io.escapes import markdown_cell, markdown_text
from molcalc.io.files import place_of


@dataclass(frozen=True)
class Heading:
    """Title of the document (level 1) or of a section (2, 3)."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """One paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of texts under a header; ``numeric`` says whether columns after the first are numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: bool = True


@dataclass(frozen=True)
class Code:
    """Lines of Python or of a shell."""

    text: str
    language: str = "python"


@dataclass(frozen=True)
class Image:
    """A picture on disk."""

    path: Path
    caption: str


DocumentPart = Heading | Text | Table | Code | Image

_STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; border-bottom: 1px solid #ccc; margin-top: 2rem; }
h3 { font-size: 1rem; margin-bottom: 0.3rem; }
table { border-collapse: collapse; margin: 0.6rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.8rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child, .text th, .text td { text-align: left; }
pre { background: #f4f4f4; padding: 0.7rem; overflow-x: auto; }
figure { margin: 1rem 0; } img { max-width: 100%; } figcaption { color: #555; font-size: 0.9rem; }
"""


def as_markdown(blocks: Sequence[DocumentPart], folder: Path) -> str:
    """The document as Markdown; pictures are links relative to ``folder``."""
    return "\n\n".join(_markdown(block, folder) for block in blocks) + "\n"


def _markdown(block: DocumentPart, folder: Path) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {markdown_text(block.text)}"
    if isinstance(block, Text):
        return markdown_text(block.text)
    if isinstance(block, Code):
        return f"```{block.language}\n{block.text}\n```"
    if isinstance(block, Image):
        return f"![{block.caption}]({block.path.relative_to(folder).as_posix()})\n\n{block.caption}"
    lines = [block.header, ["---", *["---:" if block.numeric else "---"] * (len(block.header) - 1)], *block.rows]
    return "\n".join("| " + " | ".join(markdown_cell(cell) for cell in line) + " |" for line in lines)


def as_html(blocks: Sequence[DocumentPart]) -> str:
    """The document as one HTML file that needs no other: pictures are inside."""
    title = next((html.escape(block.text) for block in blocks if isinstance(block, Heading)), "")
    body = "\n".join(_html(block) for block in blocks)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>\n{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _html(block: DocumentPart) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        return f"<p>{html.escape(block.text)}</p>"
    if isinstance(block, Code):
        return f"<pre><code>{html.escape(block.text)}</code></pre>"
    if isinstance(block, Image):
        data = base64.b64encode(place_of(block.path).read_bytes()).decode()
        caption = html.escape(block.caption)
        return (
            f'<figure><img src="data:image/png;base64,{data}" alt="{caption}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in block.header)
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>\n" for row in block.rows)
    kind = "" if block.numeric else ' class="text"'
    return f"<table{kind}><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>"
