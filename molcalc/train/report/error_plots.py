"""Pictures of errors: label against prediction, distributions, molecules, and the course of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from molcalc.properties import LABELS
from molcalc.train.report.display import three_digits, with_unit
from molcalc.train.report.evaluation import Evaluation
from molcalc.train.report.figures import BLUE, CYCLE, GRAY, RED, SEQUENTIAL, log_scale, new_figure, style

FEW_POINTS = 2000
"""Up to this many, points are drawn one by one; beyond, their density is."""
SHOWN_QUANTILE = 0.995
"""Share of the errors inside a histogram; the rest is counted in its outermost bars."""
BINS = 41
DRAWN_GROUPS = 30
COLUMNS = 3


def draw_parity(evaluation: Evaluation, title: str) -> Any:
    """Label against prediction of every property, with the errors in the usual units.

    Parameters
    ----------
    title : which systems.

    Returns
    -------
    figure of matplotlib

    Raises
    ------
    ConfigError
        When matplotlib is not installed.
    """
    with style():
        return _parity(evaluation, title)


def _parity(evaluation: Evaluation, title: str) -> Any:
    names = list(evaluation.samples)
    figure, axes = _grid(len(names), 3.3, 3.3)
    for name, axis in zip(names, axes):
        label, prediction = evaluation.samples[name].T
        unit = LABELS[name].unit
        low, high = _limits(np.concatenate([label, prediction]))
        if len(label) > FEW_POINTS:
            image = axis.hexbin(
                label, prediction, gridsize=60, bins="log", cmap=SEQUENTIAL, mincnt=1, extent=(low, high, low, high)
            )
            figure.colorbar(image, ax=axis, label="values per bin", shrink=0.8)
        else:
            axis.plot(label, prediction, "o", color=BLUE, markersize=3, alpha=0.5, markeredgewidth=0)
        axis.plot([low, high], [low, high], color=RED, linewidth=0.9)
        axis.set(xlim=(low, high), ylim=(low, high), aspect="equal", title=LABELS[name].title)
        relative = " − Σ atomic energies" if name == "energy" else ""
        axis.set_xlabel(f"label{relative} ({unit})")
        axis.set_ylabel(f"prediction{relative} ({unit})")
        axis.text(0.04, 0.96, _error_text(name, evaluation.overall[name]), transform=axis.transAxes, va="top",
                  fontsize=8, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5})  # fmt: skip
    figure.suptitle(f"Label and prediction, {title}")
    return figure


def draw_histograms(evaluation: Evaluation, title: str) -> Any:
    """Distribution of prediction minus label of every property; outliers are in the outermost bars."""
    names = list(evaluation.samples)
    figure, axes = _grid(len(names), 3.3, 2.5)
    for name, axis in zip(names, axes):
        unit, factor = LABELS[name].shown[0]
        label, prediction = evaluation.samples[name].T
        errors = factor * (prediction - label)
        reach = float(np.quantile(np.abs(errors), SHOWN_QUANTILE)) or 1.0
        axis.hist(np.clip(errors, -reach, reach), bins=BINS, range=(-reach, reach), color=BLUE)
        axis.axvline(0.0, color="black", linewidth=0.8)
        mean, spread = float(errors.mean()), float(errors.std())
        axis.axvline(mean, color=RED, linestyle="--", linewidth=1.2)
        shown = 0.0 if abs(mean) < 1e-3 * spread else mean
        axis.set_title(f"{LABELS[name].title}\nmean {three_digits(shown)}, σ {three_digits(spread)} {unit}")
        axis.set(xlabel=f"prediction − label ({unit})", ylabel="values")
    figure.suptitle(f"Errors, {title}")
    return figure


def draw_groups(evaluation: Evaluation, kind: str, title: str) -> Any:
    """Mean absolute errors of energy and forces by group, the largest first; None for a single group."""
    table = {name: row for name, row in evaluation.groups.get(kind, {}).items() if row}
    names = [name for name in ("energy", "forces", "esp") if name in evaluation.overall]
    if len(table) < 2 or not names:
        return None
    by = names[0]
    order = sorted(table, key=lambda group: table[group].get(by, {"mae": -1.0})["mae"], reverse=True)
    shown = order[:DRAWN_GROUPS]
    figure, axes = new_figure(1, len(names), 3.2 * len(names) + 0.8, 1.1 + 0.2 * len(shown), sharey=True)
    places = np.arange(len(shown))
    for name, axis in zip(names, axes[0]):
        unit, factor = LABELS[name].shown[0]
        present = [k for k, group in enumerate(shown) if name in table[group]]
        errors = [factor * table[shown[k]][name]["mae"] for k in present]
        overall = factor * evaluation.overall[name]["mae"]
        axis.barh(places[present], errors, color=BLUE, height=0.7)
        axis.axvline(overall, color=RED, linestyle="--", linewidth=1.2, label=f"all: {three_digits(overall)} {unit}")
        axis.set(xlabel=f"MAE ({unit})", title=LABELS[name].title, yticks=places, ylim=(len(shown) - 0.4, -0.6))
        axis.set_yticklabels([f"{group}  ×{_systems(table[group])}" for group in shown])
        axis.grid(visible=False, axis="y")
        axis.legend(loc="lower right")
    more = f" (largest {len(shown)} of {len(order)})" if len(order) > len(shown) else ""
    figure.suptitle(f"Errors by {kind.replace('_', ' ')}, {title}{more}")
    return figure


def draw_learning_curves(history: Sequence[Mapping[str, Any]], measured: Sequence[str]) -> Any:
    """Losses, validation errors by property, and learning rate against the epoch."""
    names = [name for name in measured if f"{name}_mae" in history[-1]]
    figure, axes = _grid(len(names) + 2, 3.5, 2.6)
    epochs = [row["epoch"] for row in history]
    marker = "o" if len(history) < 25 else ""
    losses = axes[0]
    for label, key, color in (("training", "train_loss", GRAY), ("validation", "valid_loss", BLUE)):
        losses.plot(
            epochs, [row.get(key, math.nan) for row in history], color=color, marker=marker, markersize=3, label=label
        )
    best = min(history, key=lambda row: row["valid_score"])
    losses.plot(best["epoch"], best["valid_loss"], "*", color=RED, markersize=10, label=f"best, epoch {best['epoch']}")
    losses.set(title="loss")
    log_scale(losses)
    losses.legend()
    for name, axis in zip(names, axes[1:]):
        _error_curves(axis, name, history, epochs, marker)
    rate = axes[len(names) + 1]
    rate.plot(epochs, [row["learning_rate"] for row in history], color=BLUE, marker=marker, markersize=3)
    rate.set(title="learning rate", ylim=(0.0, None))
    rate.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    for axis in axes[: len(names) + 2]:
        axis.set_xlabel("epoch")
    figure.suptitle("Course of the training")
    return figure


def _error_curves(
    axis: Any, name: str, history: Sequence[Mapping[str, Any]], epochs: Sequence[int], marker: str
) -> None:
    unit, factor = LABELS[name].shown[0]
    parts = [key[: -len(f"_{name}_mae")] for key in history[-1] if key.endswith(f"_{name}_mae")]
    lines = [("RMSE", f"{name}_rmse", GRAY), ("MAE", f"{name}_mae", BLUE)]
    lines += [(f"MAE, {part}", f"{part}_{name}_mae", CYCLE[2 + k % 4]) for k, part in enumerate(parts)]
    for label, key, color in lines:
        values = [factor * row.get(key, np.nan) for row in history]
        axis.plot(epochs, values, color=color, marker=marker, markersize=3, label=f"{label} {three_digits(values[-1])}")
    axis.set(title=f"validation, {LABELS[name].title}", ylabel=unit)
    log_scale(axis)
    axis.legend()


def _grid(n: int, width: float, height: float) -> tuple[Any, list[Any]]:
    """A figure with ``n`` panels in rows of three, or of four where that leaves fewer holes."""
    columns = min(n, COLUMNS if -n % COLUMNS <= -n % (COLUMNS + 1) else COLUMNS + 1)
    rows = -(-n // columns)
    figure, axes = new_figure(rows, columns, width * columns + 0.3, height * rows + 0.4)
    flat = list(axes.flat)
    for axis in flat[n:]:
        axis.set_visible(False)
    return figure, flat


def _limits(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


def _error_text(name: str, errors: Mapping[str, float]) -> str:
    lines = [f"MAE {with_unit(name, errors['mae'])}", f"RMSE {with_unit(name, errors['rmse'])}"]
    if len(LABELS[name].shown) > 1:
        lines.append(f"MAE {with_unit(name, errors['mae'], 1)}")
    return "\n".join([*lines, f"n = {int(errors['n'])}"])


def _systems(row: Mapping[str, Mapping[str, float]]) -> int:
    return int(row["energy"]["n"]) if "energy" in row else max(int(errors["n"]) for errors in row.values())
