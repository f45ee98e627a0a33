"""Errors that ``planted_errors.py`` plants have a place and tests; whether they are noticed, it says itself."""

from __future__ import annotations

import re

import pytest

from tests.planted_errors import ERRORS, misplaced


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_has_one_place_and_tests(name: str) -> None:
    assert misplaced(ERRORS[name]) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"file": "io/nowhere.py"}, "there is no molcalc/io/nowhere.py"),
        ({"right": "no such words"}, "'no such words' occurs 0 times"),
        ({"right": "return"}, r"'return' occurs \d+ times"),
        ({"tests": "tests/io/test_nowhere.py"}, "there are no tests/io/test_nowhere.py"),
        ({"tests": ""}, "there are no"),
    ],
)
def test_a_misplaced_error_is_refused(change: dict[str, str], why: str) -> None:
    right = ERRORS["half a file under its name"]
    assert re.match(why, misplaced(right._replace(**change)) or "")
