"""Where predictions come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from molcalc.train.report.prediction_writer import distinct_names

NAMES = {
    "different": (["a/x.db", "b/y.db"], ["x.db", "y.db"]),
    "one name": (["a/x.db", "b/x.db", "b/y.db"], ["a/x.db", "b/x.db", "y.db"]),
    "one name of folder and file": (["p/a/x.db", "q/a/x.db"], ["p/a/x.db", "q/a/x.db"]),
    "some need more": (["p/a/x.db", "q/a/x.db", "q/b/x.db"], ["p/a/x.db", "q/a/x.db", "b/x.db"]),
    "one file twice": (["a/x.db", "a/x.db"], ["x.db", "x.db"]),
}


@pytest.mark.parametrize(("paths", "names"), NAMES.values(), ids=NAMES)
def test_files_of_one_name_are_told_apart_by_their_folders(paths: list[str], names: list[str]) -> None:
    assert distinct_names([Path("/data") / path for path in paths]) == names
