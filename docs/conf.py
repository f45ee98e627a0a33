"""Sphinx settings of the site, which `make docs` writes into build/site; nothing is read from a network."""

from __future__ import annotations

import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

sys.path.insert(0, str(Path(__file__).parent))

import gallery
from docstrings import for_napoleon
from generated_pages import write_pages

import molcalc

project, author, version = "molcalc", "the molcalc developers", molcalc.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
sphinx_gallery_conf = gallery.settings()
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
exclude_patterns = ["build"]
html_theme = "furo"
html_title = f"molcalc {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sphinx = False
napoleon_use_ivar = True
napoleon_use_rtype = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 88
pygments_dark_style = "monokai"


def formula(text: str, display: str) -> str:
    """LaTeX as MathML, which browsers draw without scripts; several lines are aligned."""
    lines = " ".join(text.split())
    if "\\\\" in lines and "\\begin" not in lines:
        lines = rf"\begin{{aligned}}{lines}\end{{aligned}}"
    return convert(lines, display=display)


def visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    """Formula within a line."""
    translator.body.append(formula(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_displayed(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Formula on lines of its own."""
    translator.body.append(f'<div class="formula">{formula(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def reworded(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Docstring in the form that napoleon reads."""
    lines[:] = for_napoleon(lines)


def setup(app: Sphinx) -> None:
    """Formulas as MathML; pages made from the package."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_displayed, None))
    app.connect("autodoc-process-docstring", reworded, priority=100)
    app.connect("doctree-read", gallery.to_pages)
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir)))
