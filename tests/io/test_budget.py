"""The limit of memory for what is read."""

from __future__ import annotations

import pytest

from molcalc.errors import ConfigError
from molcalc.io.budget import EXPANSION, FREE, VARIABLE, budget_of


def test_a_budget_follows_from_the_size_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert budget_of(10) == FREE
    assert budget_of(FREE) == FREE * EXPANSION
    monkeypatch.setenv(VARIABLE, "1e4")
    assert budget_of(FREE) == FREE * 10_000


@pytest.mark.parametrize("stated", ["0", "-1", "nan", "inf", "many"])
def test_a_factor_that_is_none_is_refused(stated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, stated)
    with pytest.raises(ConfigError, match=VARIABLE):
        budget_of(10)
