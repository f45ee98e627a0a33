"""Papers to cite."""

from __future__ import annotations

import re
from pathlib import Path

from molcalc._version import __version__
from molcalc.citations import OF_DISPERSION, OF_KINDS, REFERENCES, bibliography
from molcalc.registry import GENERATOR, MODELS


def test_every_kind_of_model_names_its_papers() -> None:
    assert OF_KINDS.keys() == {*MODELS, GENERATOR}
    assert {key for keys in (*OF_KINDS.values(), *OF_DISPERSION.values()) for key in keys} <= REFERENCES.keys()


def test_entries_are_bibtex_with_a_doi_and_this_package_comes_first() -> None:
    text = bibliography()
    assert re.findall(r"(?m)^@\w+{(\S+),$", text) == ["molcalc", *REFERENCES]
    assert len(re.findall(r"(?m)^  doi = {10\.\d{4,}/\S+},$", text)) == len(REFERENCES)
    assert text.count("{") == text.count("}")


def test_the_citation_file_has_the_version() -> None:
    text = (Path(__file__).parents[1] / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in text
