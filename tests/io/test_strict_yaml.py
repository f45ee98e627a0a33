"""YAML without surprises; what hostile files do is tried on the command line in ``tests/cli/test_train.py``."""

from __future__ import annotations

import pytest

from molcalc.errors import ConfigError
from molcalc.io.strict_yaml import parse_yaml


def test_numbers_of_yaml_are_numbers() -> None:
    text = "a: 1e-3\nb: 1E5\nc: -2.5e+3\nd: .5\ne: 7\nf: true\ng: ~\nh: 2020-01-01\ni: '1'\nj: [1, 2.0]"
    assert parse_yaml(text, "x") == {
        "a": 1e-3, "b": 1e5, "c": -2500.0, "d": 0.5, "e": 7, "f": True, "g": None, "h": "2020-01-01", "i": "1",
        "j": [1, 2.0],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "line 2: the key 'a' is given twice"),
        ("a: &x 1\nb: *x", r"line 2: aliases \(\*x\) are not read: write it out"),
        ("[1]: 2", "line 1: a key must be a word"),
        ("- " * 30 + "a", "nested more than 20 levels deep"),
        ("{a: " * 30, "nested more than 20 levels deep"),
    ],
)
def test_what_would_surprise_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^my file: {message}"):
        parse_yaml(text, "my file")
