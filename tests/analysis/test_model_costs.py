"""Time and memory that models take."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import molecule

from molcalc.analysis.model_comparison import ModelComparison
from molcalc.analysis.model_costs import WARM_UPS, Duration, durations, one_structure, peak_memory
from molcalc.calculators import AIMNet2
from tests.helpers.networks import small_checkpoint


def test_calls_take_turns() -> None:
    calls: list[str] = []
    found = durations({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert "".join(calls[2 * WARM_UPS :]) == "ababab"
    assert found["a"].ratio == 1.0
    assert found["b"].fastest <= found["b"].median
    assert durations({}) == {}
    assert Duration(6.0, 4.0, 0.5).per(2) == Duration(3.0, 2.0, 0.5)


def test_every_call_of_one_structure_is_computed() -> None:
    calc = AIMNet2(small_checkpoint())
    call = one_structure(calc, molecule("H2O"))
    first = call()
    assert abs(call() - first).max() > 0  # type: ignore[operator]


@pytest.mark.slow
def test_memory_is_that_of_a_fresh_process(compared: tuple[Path, ModelComparison]) -> None:
    held = bytearray(400_000_000)  # of this process
    found = peak_memory(compared[0] / "runs" / "physnet-dcm", [molecule("CO2")] * 3, {"device": "cpu"})
    assert found is not None
    assert len(held) == 400_000_000
    assert 50 < found.libraries < 600
    assert found.libraries < found.inference
    assert found.training is not None
    assert found.training > found.libraries
    many = peak_memory(compared[0] / "runs" / "physnet-dcm", [molecule("CO2")] * 3000, {"device": "cpu"})
    assert many is not None
    assert many.inference > found.inference + 20
