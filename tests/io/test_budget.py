"""The limit of memory for what is read."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from molcalc.errors import ConfigError, InputError
from molcalc.io.budget import EXPANSION, FREE, VARIABLE, bounded_memory, budget_of


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


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
def test_what_a_small_file_claims_is_not_allocated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(threading, "active_count", lambda: 1)  # whatever other tests have left

    file = tmp_path / "x.vasp"
    file.write_text("x")
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(InputError, match=r"x\.vasp claims more than its 1 bytes"), bounded_memory(file, "x.vasp"):
        np.empty(4 << 30, dtype=np.uint8)  # nothing that the system itself would refuse
    assert resource.getrlimit(resource.RLIMIT_AS) == before
