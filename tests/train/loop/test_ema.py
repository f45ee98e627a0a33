"""Average of weights."""

from __future__ import annotations

import pytest
import torch

from molcalc.train.loop.ema import WeightAverage


def test_the_average_forgets_the_initial_weights_during_warmup() -> None:
    """Without warm-up, 45 % of the initial weights would be left after 800 steps at 0.999."""
    weight = torch.zeros(1)
    average = WeightAverage({"weight": weight}, 0.999)
    weight.fill_(1.0)
    for _ in range(800):
        average.update()
    assert float(1.0 - average.averages[0]) < 1e-6


def test_the_average_equals_its_recursion() -> None:
    weight = torch.zeros(1, dtype=torch.float64)
    average, expected = WeightAverage({"weight": weight}, 0.9), 0.0
    for t in range(200):
        weight.fill_(float(t % 7))
        average.update()
        decay = min(0.9, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * (t % 7)
    assert float(average.averages[0]) == pytest.approx(expected, rel=1e-12)


def test_the_average_reaches_float32_weights_that_stand_still() -> None:
    """In float32 it would stop where a thousandth of the difference is below the last digit, 3e-5 away."""
    weight = torch.full((1,), 1.0)
    average = WeightAverage({"weight": weight}, 0.999)
    average.steps = 100_000
    weight.fill_(1.0 + 1e-3)
    for _ in range(12_000):
        average.update()
    assert float((average.averages[0] - weight).abs()) < 1e-8


def test_decay_zero_follows_the_weights() -> None:
    weight = torch.zeros(3)
    average = WeightAverage({"weight": weight}, 0.0)
    weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
    average.update()
    assert torch.equal(average.averages[0].float(), weight)


def test_raw_weights_come_back_after_use_even_on_an_error() -> None:
    weight = torch.ones(2)
    average = WeightAverage({"weight": weight}, 0.5)
    weight.fill_(3.0)
    with pytest.raises(RuntimeError), average.applied():
        _fail_with(weight)
    assert torch.equal(weight, torch.full((2,), 3.0))


def _fail_with(weight: torch.Tensor) -> None:
    assert torch.equal(weight, torch.ones(2))
    raise RuntimeError


def test_an_impossible_decay_is_refused() -> None:
    with pytest.raises(ValueError, match="ema=1.0"):
        WeightAverage({"weight": torch.zeros(1)}, 1.0)


def test_an_average_goes_on_by_name_and_begins_with_the_weights_that_are_new() -> None:
    old, new = torch.ones(1), torch.full((1,), 5.0)
    average = WeightAverage({"old": old}, 0.5)
    old.fill_(2.0)
    average.update()
    again = WeightAverage({"new": new, "old": torch.zeros(1)}, 0.5)
    again.load_state_dict(average.state_dict())
    assert again.steps == 1
    assert [float(value) for value in again.averages] == [5.0, float(average.averages[0])]
