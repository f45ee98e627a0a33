"""``molcalc cite``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def test_a_model_is_cited_with_what_it_is_made_of(run: Any, models: Path) -> None:
    result = run("cite", models / "ensemble")
    assert result.status == 0
    assert re.findall(r"(?m)^@\w+{(\S+),$", result.out) == ["molcalc", "aimnet2", "d3", "d3bj", "ase"]
    assert len(re.findall(r"(?m)^@", run("cite").out)) > 5
    assert run("cite", models / "nothing").status == 2
