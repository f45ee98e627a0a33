"""Learning rate as a function of the step, relative to the rate of the optimizer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from molcalc.errors import ConfigError
from molcalc.io.schema import MOST_COUNTED, Choice, Count, NotNegative, Range, Share, check_fields

SCHEDULES = (
    "constant",
    "cosine",
    "plateau",
    "one-cycle",
    "warm-restarts",
    "exponential",
    "linear",
    "cyclic",
)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Shape of the learning rate over a run.

    Attributes
    ----------
    name : one of :data:`SCHEDULES`.
    warmup : steps of linear rise from 0 to where the schedule proper begins; below 1 a share of all steps.
    final_factor : lowest factor (cosine, warm-restarts, linear, cyclic, plateau), and the end of exponential and
        one-cycle.
    period : steps of one cycle (warm-restarts, cyclic).
    period_factor : by which every restart lengthens the cycle (warm-restarts).
    rise : share of the steps in which one-cycle and cyclic go up.
    start_factor : at which one-cycle starts.
    factor : by which plateau lowers the rate.
    patience : validations without improvement that plateau waits for; the next one lowers the rate.
    threshold : relative improvement that counts (plateau).
    """

    name: Annotated[str, Choice(SCHEDULES)] = "cosine"
    warmup: NotNegative = 0.0
    final_factor: Share = 0.01
    period: Count = 1000
    period_factor: Annotated[float, Range(1, 1000)] = 2.0
    rise: Annotated[float, Range(0, 1, above=True, below=True)] = 0.3
    start_factor: Share = 0.04
    factor: Share = 0.5
    patience: Annotated[int, Range(0, MOST_COUNTED)] = 5
    threshold: Share = 1e-3

    def __post_init__(self) -> None:
        check_fields(self)
        if self.name == "exponential" and not self.final_factor > 0:
            raise ValueError("schedule: an exponential needs final_factor > 0")


class Schedule:
    """Factor on the learning rate for every step of a run.

    Parameters
    ----------
    total_steps : of the run, warm-up included.

    Only ``plateau`` has a memory: it watches the validation error through :meth:`observe`.
    """

    def __init__(self, config: ScheduleConfig, total_steps: int) -> None:
        if total_steps < 1:
            raise ConfigError(f"a schedule needs at least 1 step; got {total_steps}")
        self.warmup = round(config.warmup * total_steps if config.warmup < 1 else config.warmup)
        if self.warmup >= total_steps:
            raise ConfigError(f"schedule: warmup={config.warmup} steps, but the run has {total_steps}")
        self.config = config
        self.total_steps = total_steps
        self._plateau_factor = 1.0
        self._best = math.inf
        self._waited = 0

    def factor(self, step: int) -> float:
        """Factor for step ``step``, counted from 0."""
        length = self.total_steps - self.warmup
        if step < self.warmup:
            return self._shape(0, length) * (step + 1) / (self.warmup + 1)
        return self._shape(step - self.warmup, length)

    def _shape(self, step: int, length: int) -> float:
        c = self.config
        progress = min(1.0, step / length)
        if c.name == "constant":
            return 1.0
        if c.name == "plateau":
            return self._plateau_factor
        if c.name == "cosine":
            return _cosine(1.0, c.final_factor, progress)
        if c.name == "linear":
            return 1.0 + (c.final_factor - 1.0) * progress
        if c.name == "exponential":
            return float(c.final_factor**progress)
        if c.name == "one-cycle":
            if progress < c.rise:
                return _cosine(c.start_factor, 1.0, progress / c.rise)
            return _cosine(1.0, c.final_factor, (progress - c.rise) / (1.0 - c.rise))
        if c.name == "cyclic":
            place = (step % c.period) / c.period
            up = place / c.rise if place < c.rise else (1.0 - place) / (1.0 - c.rise)
            return c.final_factor + (1.0 - c.final_factor) * up
        start, period = 0, c.period
        while step >= start + period:
            start, period = start + period, max(1, round(period * c.period_factor))
        return _cosine(1.0, c.final_factor, (step - start) / period)

    def observe(self, error: float) -> bool:
        """Tell a validation error; returns whether a plateau lowered the rate."""
        c = self.config
        if error < self._best * (1.0 - c.threshold):
            self._best, self._waited = error, 0
            return False
        self._waited += 1
        if c.name != "plateau" or self._waited <= c.patience:
            return False
        self._waited = 0
        lowered = max(c.final_factor, self._plateau_factor * c.factor)
        changed = lowered < self._plateau_factor
        self._plateau_factor = lowered
        return changed

    def forget(self) -> None:
        """Forget past errors, which those to come cannot be compared with; the rate stays as it is."""
        self._best, self._waited = math.inf, 0

    def state_dict(self) -> dict[str, Any]:
        """Memory of the schedule as plain values."""
        return {"plateau_factor": self._plateau_factor, "best": self._best, "waited": self._waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self._plateau_factor, self._best = float(state["plateau_factor"]), float(state["best"])
        self._waited = int(state["waited"])


def _cosine(start: float, end: float, progress: float) -> float:
    return end + 0.5 * (start - end) * (1.0 + math.cos(math.pi * progress))
