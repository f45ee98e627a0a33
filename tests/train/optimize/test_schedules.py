"""Shapes of all learning-rate schedules."""

from __future__ import annotations

import pytest

from molcalc.errors import ConfigError
from molcalc.train.optimize.schedules import SCHEDULES, Schedule, ScheduleConfig


def factors(total: int = 1000, **options) -> list[float]:
    schedule = Schedule(ScheduleConfig(**options), total)
    return [schedule.factor(step) for step in range(total)]


@pytest.mark.parametrize("name", SCHEDULES)
def test_factors_stay_between_zero_and_one(name: str) -> None:
    assert all(0.0 <= f <= 1.0 for f in factors(name=name, warmup=50, period=100))


@pytest.mark.parametrize("name", SCHEDULES)
def test_warmup_rises_linearly_to_where_the_schedule_begins(name: str) -> None:
    values = factors(name=name, warmup=99)
    begin = {"one-cycle": 0.04, "cyclic": 0.01}.get(name, 1.0)
    assert values[:100] == pytest.approx([begin * (k + 1) / 100 for k in range(100)])


def test_a_warmup_below_one_is_a_share_of_all_steps() -> None:
    assert factors(warmup=0.1) == factors(warmup=100)


def test_constant_stays() -> None:
    assert set(factors(name="constant")) == {1.0}


@pytest.mark.parametrize(("name", "middle"), [("cosine", 0.505), ("linear", 0.505), ("exponential", 0.1)])
def test_falling_schedules_pass_their_middle_and_end(name: str, middle: float) -> None:
    values = factors(name=name, final_factor=0.01)
    assert values[0] == 1.0
    assert values[500] == pytest.approx(middle, abs=1e-3)
    assert values[-1] == pytest.approx(0.01, rel=0.12)
    assert all(a >= b for a, b in zip(values, values[1:]))


def test_one_cycle_rises_then_falls() -> None:
    values = factors(name="one-cycle", rise=0.3, start_factor=0.04, final_factor=0.01)
    assert values[0] == pytest.approx(0.04)
    assert max(range(1000), key=values.__getitem__) == 300
    assert values[300] == 1.0
    assert values[-1] == pytest.approx(0.01, abs=1e-4)


def test_warm_restarts_start_again_in_longer_cycles() -> None:
    values = factors(name="warm-restarts", period=100, period_factor=2.0, final_factor=0.0)
    assert [step for step in range(1000) if values[step] == 1.0] == [0, 100, 300, 700]
    assert values[99] < 0.01
    assert values[299] < 0.01


def test_cyclic_is_a_sawtooth() -> None:
    values = factors(name="cyclic", period=100, rise=0.25, final_factor=0.1)
    assert values[0] == values[100] == pytest.approx(0.1)
    assert values[25] == values[125] == 1.0


def test_plateau_lowers_the_rate_after_patience() -> None:
    schedule = Schedule(ScheduleConfig(name="plateau", patience=2, factor=0.5, final_factor=0.2), 100)
    changes = [schedule.observe(error) for error in (1.0, 0.9, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95)]
    assert changes == [False, False, False, False, True, False, False, True, False]
    assert schedule.factor(50) == 0.25


def test_plateau_stops_at_its_lowest_factor() -> None:
    schedule = Schedule(ScheduleConfig(name="plateau", patience=0, factor=0.1, final_factor=0.2), 100)
    assert [schedule.observe(1.0) for _ in range(4)] == [False, True, False, False]
    assert schedule.factor(0) == 0.2


def test_a_restored_plateau_continues() -> None:
    config = ScheduleConfig(name="plateau", patience=1)
    one, other = Schedule(config, 10), Schedule(config, 10)
    for _ in range(2):
        one.observe(1.0)
    other.load_state_dict(one.state_dict())
    assert other.observe(1.0) is one.observe(1.0) is True
    assert other.factor(3) == one.factor(3) == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "cosin"}, "'cosin'.*did you mean 'cosine'"),
        ({"final_factor": 2.0}, "final_factor=2.0"),
        ({"name": "exponential", "final_factor": 0.0}, "final_factor > 0"),
        ({"period": 0}, "period=0"),
        ({"rise": 1.0}, "rise=1.0"),
        ({"warmup": -1}, "warmup=-1"),
    ],
)
def test_impossible_shapes_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScheduleConfig(**options)


def test_a_warmup_longer_than_the_run_is_an_error() -> None:
    with pytest.raises(ConfigError, match="warmup=20 steps, but the run has 10"):
        Schedule(ScheduleConfig(warmup=20), 10)
