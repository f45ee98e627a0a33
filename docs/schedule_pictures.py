"""Pictures of the schedules of the learning rate, drawn from the files of examples/config/schedules."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from molcalc.train.config import make_config, read_options
from molcalc.train.optimize.schedules import Schedule

FILES = sorted((Path(__file__).parents[1] / "examples" / "config" / "schedules").glob("*.yaml"))
STEPS, STEPS_OF_EPOCH = 7000, 10
"""Of the run that is drawn."""
STALLS, LENGTH = (0.2, 0.4, 0.6, 0.8), 0.013
"""Shares of the run where the validation error that a plateau is shown stops to fall, and for how long."""


def write_pictures(folder: Path) -> None:
    """Draw every schedule into a folder, as NAME.svg of its file."""
    folder.mkdir(exist_ok=True)
    for path in FILES:
        with matplotlib.rc_context({"svg.hashsalt": path.stem, "font.size": 9}):
            _figure(path).savefig(folder / f"{path.stem}.svg", metadata={"Date": None})


def factors(path: Path) -> np.ndarray:
    """(STEPS,) factors on the learning rate of a run with a file of options."""
    schedule = Schedule(make_config(read_options(path)).optimize.schedule, STEPS)
    found = np.empty(STEPS)
    for step in range(STEPS):
        found[step] = schedule.factor(step)
        if step % STEPS_OF_EPOCH == STEPS_OF_EPOCH - 1:
            schedule.observe(validation_error(step / STEPS))
    return found


def validation_error(progress: float) -> float:
    """An error that falls, and stalls for a while now and then."""
    stalled = sum(min(max(progress - stall, 0.0), LENGTH) for stall in STALLS)
    return float(np.exp(-3.0 * (progress - stalled)))


def _figure(path: Path) -> Figure:
    figure = Figure(figsize=(5.5, 1.9), layout="constrained")
    axis = figure.add_subplot()
    axis.plot(np.arange(STEPS), factors(path), lw=1.6)
    if path.stem == "plateau":
        errors = [validation_error(step / STEPS) for step in range(STEPS)]
        axis.plot(np.arange(STEPS), errors, lw=1.0, ls="--", color="0.5", label="validation error (made up)")
        axis.legend(frameon=False)
    axis.set(xlabel="step", ylabel="factor", xlim=(0, STEPS), ylim=(-0.03, 1.05))
    axis.spines[["top", "right"]].set_visible(False)
    return figure
