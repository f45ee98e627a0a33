"""All pictures of a run, as PNG files in one folder.

matplotlib (the extra ``plot``) is imported when something is drawn; its global state stays a user's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molcalc.train.optimize.schedules import SCHEDULES, Schedule, ScheduleConfig
from molcalc.train.report import figures
from molcalc.train.report.esp_plots import EspExample
from molcalc.train.report.evaluation import Evaluation

PLATEAU_VALIDATIONS = 100
"""Validations of the example that shows what a plateau does."""


@dataclass(frozen=True)
class Picture:
    """A picture on disk and what it shows."""

    path: Path
    caption: str


@dataclass(frozen=True)
class RunCourse:
    """Course and outcome of a run, as pictures are drawn from them.

    Attributes
    ----------
    history : one row for every validation.
    measured : properties in it.
    evaluations : errors by name of the part ("valid", "test").
    examples : systems with their potential, by what they are examples of.
    radial : systems for the dependence of the error of the potential on the distance.
    """

    history: Sequence[Mapping[str, Any]] = ()
    measured: Sequence[str] = ()
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    examples: Mapping[str, EspExample] = field(default_factory=dict)
    radial: Sequence[EspExample] = ()


PART_TITLES = {"train": "training systems", "valid": "validation systems", "test": "test systems"}


def draw_run(folder: Path, course: RunCourse) -> list[Picture]:
    """Draw the course of a run and the errors of its model.

    Returns
    -------
    pictures that were written

    Raises
    ------
    ConfigError
        When matplotlib is not installed.
    """
    from molcalc.train.report import error_plots, esp_plots

    drawn: list[Picture] = []

    def keep(figure: Any, name: str, caption: str) -> None:
        if figure is not None:
            drawn.append(Picture(figures.save_figure(figure, folder / f"{name}.png"), caption))

    with figures.style():
        if course.history:
            curves = error_plots.draw_learning_curves(course.history, course.measured)
            keep(curves, "learning_curves", "Losses, validation errors and learning rate.")
        for part, evaluation in course.evaluations.items():
            title = PART_TITLES.get(part, part)
            keep(error_plots.draw_parity(evaluation, title), f"parity_{part}", f"Labels and predictions, {title}.")
            histograms = error_plots.draw_histograms(evaluation, title)
            keep(histograms, f"errors_{part}", f"Distribution of the errors, {title}; outliers in the outermost bars.")
            molecules = error_plots.draw_groups(evaluation, "formula", title)
            keep(molecules, f"molecules_{part}", f"Errors by molecule and number of its structures, {title}.")
        for what, example in course.examples.items():
            caption = f"Potential at the points around {example.formula} that face the viewer ({what})."
            keep(esp_plots.draw_esp_map(example, what), f"esp_{what.replace(' ', '_')}", caption)
        if course.radial:
            caption = "Error of the potential by distance to the nearest atom."
            keep(esp_plots.draw_esp_radial(course.radial), "esp_radial", caption)
    return drawn


def draw_schedules(
    path: str | Path,
    *,
    total_steps: int = 10_000,
    learning_rate: float = 1e-3,
    schedules: Mapping[str, ScheduleConfig] | None = None,
) -> Path:
    """Draw learning rates against the step.

    A plateau is shown for a validation error that falls for the first third of the run and stays as it is after that.

    Parameters
    ----------
    path : PNG file to write.
    total_steps : of the run.
    learning_rate : of the optimizer.
    schedules : what to draw, by title; None draws every kind, with a warm-up of 5 %.

    Returns
    -------
    path of the picture

    Raises
    ------
    ConfigError
        When matplotlib is not installed.
    """
    chosen = schedules or {
        name: ScheduleConfig(name=name, warmup=0.05, period=max(1, total_steps // 7)) for name in SCHEDULES
    }
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    with figures.style():
        figure, axes = figures.new_figure(
            rows, columns, 2.6 * columns + 0.3, 2.1 * rows + 0.3, sharey=True, sharex=True
        )
        for axis in list(axes.flat)[len(chosen) :]:
            axis.set_visible(False)
        for (title, config), axis in zip(chosen.items(), axes.flat):
            steps, rates = _rates(config, total_steps, learning_rate)
            axis.plot(steps, rates, color=figures.BLUE)
            axis.fill_between(steps, rates, color=figures.SKY, alpha=0.25, linewidth=0)
            axis.set(title=title, ylim=(0.0, 1.05 * learning_rate), xlim=(0, total_steps))
            axis.locator_params(axis="x", nbins=4, prune="upper")
            axis.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        for axis in axes[-1]:
            axis.set_xlabel("step")
        for axis in axes[:, 0]:
            axis.set_ylabel("learning rate")
        return figures.save_figure(figure, Path(path))


def _rates(config: ScheduleConfig, total_steps: int, learning_rate: float) -> tuple[list[int], list[float]]:
    schedule = Schedule(config, total_steps)
    every = max(1, total_steps // PLATEAU_VALIDATIONS)
    rates = []
    for step in range(total_steps):
        if step % every == 0:
            schedule.observe(max(0.0, 1.0 - 3.0 * step / total_steps) + 1.0)
        rates.append(learning_rate * schedule.factor(step))
    return list(range(total_steps)), rates
