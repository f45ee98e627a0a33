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


def test_package_citation_and_changelog_are_of_one_version_and_date() -> None:
    citation, changelog = (
        (Path(__file__).parents[1] / name).read_text(encoding="utf-8") for name in ("CITATION.cff", "CHANGELOG.md")
    )
    version, date = (re.search(rf"(?m)^{key}: (\S+)$", citation) for key in ("version", "date-released"))
    released = re.search(r"(?m)^## \[([\d.]+)\] - (\d{4}-\d\d-\d\d)$", changelog)
    assert version is not None
    assert date is not None
    assert released is not None
    assert released.groups() == (version[1], date[1])
    assert version[1] == __version__
