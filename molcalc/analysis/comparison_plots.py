"""Pictures of a comparison of models: errors, time and memory, symmetry, and accuracy against the number of charges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from molcalc.analysis.model_comparison import ComparedModel, ModelComparison
from molcalc.properties import LABELS, PROPERTIES
from molcalc.train.report.display import three_digits
from molcalc.train.report.figures import CYCLE, log_scale, new_figure, save_figure, style
from molcalc.train.report.plots import Picture

LEAST_SHOWN = 1e-10
"""Where bars of errors begin that rounding explains; smaller ones are drawn as this."""
DRAWN_AFTER_ROTATION = ("energy", "forces", "charges", "dipole", "dcm_charges", "dcm_positions", "dcm_dipole", "esp")
Bars = list[tuple[str, list[float | None]]]
"""Labels of groups, with the value of each model."""


def draw_comparison(folder: Path, comparison: ModelComparison) -> list[Picture]:
    """Draw and save all pictures.

    Returns
    -------
    pictures that were written

    Raises
    ------
    ConfigError
        When matplotlib is not installed.
    """
    drawn: list[Picture] = []
    with style():
        for name, figure, caption in (
            ("performance", draw_performance(comparison), "Errors on the test structures."),
            ("efficiency", draw_efficiency(comparison), "Size, time and memory."),
            ("equivariance", draw_symmetry(comparison), "Errors after random rotations; lines: standard deviations."),
            ("charges", draw_against_charges(comparison), "Errors against the number of charges around each atom."),
        ):
            if figure is not None:
                drawn.append(Picture(save_figure(figure, folder / f"{name}.png"), caption))
    return drawn


def draw_performance(comparison: ModelComparison) -> Any:
    """Errors of what was learned; of dipole and potential by what charges make them.

    Returns
    -------
    figure of matplotlib
    """
    models = comparison.models
    panels: list[tuple[str, str, Bars]] = []
    for name in LABELS:
        if not any(name in model.errors for model in models) or comparison.unlearned(name):
            continue
        unit, factor = LABELS[name].shown[-1 if name == "esp" else 0]
        bars: Bars = []
        for source, words in (("distributed", "distributed"), ("charges", "of atoms")):
            values = [_scaled(model.errors_by_charges.get(source, {}), name, factor) for model in models]
            bars += [(words, values)] if any(value is not None for value in values) else []
        bars = bars or [("", [_scaled(model.errors, name, factor) for model in models])]
        panels.append((LABELS[name].title, f"MAE ({unit})", bars))
    return _bar_panels(panels, models)


def _scaled(errors: dict[str, dict[str, float]], name: str, factor: float) -> float | None:
    return factor * errors[name]["mae"] if name in errors else None


def draw_efficiency(comparison: ModelComparison) -> Any:
    """Parameters, times and memory.

    Returns
    -------
    figure of matplotlib
    """
    models = comparison.models
    each: Sequence[tuple[str, str, Callable[[ComparedModel], float | None]]] = (
        ("size", "parameters (thousand)", lambda m: m.n_parameters / 1e3),
        ("step of training", "ms", lambda m: None if m.step is None else 1e3 * m.step.median),
        ("one structure", "ms", lambda m: 1e3 * m.one.median),
        (f"each of {comparison.n_many} structures", "ms", lambda m: 1e3 * m.many.median),
        ("peak memory of training", "MB", lambda m: None if m.memory is None else m.memory.training),
        (
            f"peak memory of {comparison.n_many} structures",
            "MB",
            lambda m: None if m.memory is None else m.memory.inference,
        ),
    )
    panels: list[tuple[str, str, Bars]] = []
    for title, unit, value in each:
        values = [value(model) for model in models]
        if any(found is not None for found in values):
            panels.append((title, unit, [("", values)]))
    return _bar_panels(panels, models)


def _bar_panels(panels: list[tuple[str, str, Bars]], models: Sequence[ComparedModel]) -> Any:
    """A picture of bars for each panel, with the values above them."""
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = new_figure(rows, columns, 3.0 * columns + 0.2, 2.5 * rows + 0.6)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_visible(False)
    width = 0.8 / len(models)
    for (title, unit, bars), axis in zip(panels, axes.flat):
        for m in range(len(models)):
            places = np.arange(len(bars)) + width * (m - 0.5 * (len(models) - 1))
            heights = [values[m] if values[m] is not None else np.nan for _, values in bars]
            drawn = axis.bar(places, heights, 0.92 * width, color=CYCLE[m % len(CYCLE)])
            labels = ["" if values[m] is None else three_digits(float(values[m] or 0.0)) for _, values in bars]
            axis.bar_label(drawn, labels, fontsize=7, padding=1, rotation=90 if len(models) * len(bars) > 4 else 0)
        axis.set(title=title, ylabel=unit, xticks=range(len(bars)))
        axis.set_xticklabels([label for label, _ in bars])
        axis.margins(y=0.25)
        axis.grid(visible=False, axis="x")
    _legend(figure, models)
    return figure


def draw_symmetry(comparison: ModelComparison) -> Any:
    """Errors after random rotations on a logarithmic scale, with what rounding explains.

    Returns
    -------
    figure of matplotlib
    """
    models = comparison.models
    found = [{e.name: e for e in model.equivariance.errors if e.motion == "rotation"} for model in models]
    names = [name for name in DRAWN_AFTER_ROTATION if any(name in errors for errors in found)]
    figure, axes = new_figure(1, 1, 7.6, 4.0)
    axis, width = axes[0, 0], 0.8 / len(models)
    for m, errors in enumerate(found):
        present = [k for k, name in enumerate(names) if name in errors]
        places = np.array(present) + width * (m - 0.5 * (len(models) - 1))
        means = np.array([errors[names[k]].mean for k in present])
        spreads = [errors[names[k]].deviation for k in present]
        tops = np.maximum(means, LEAST_SHOWN)
        axis.bar(places, tops, 0.92 * width, bottom=0.0, color=CYCLE[m % len(CYCLE)], yerr=(0.0 * means, spreads),
                 ecolor="#404040", error_kw={"linewidth": 1.0})  # fmt: skip
        for place, mean in zip(places, means):
            if mean < 2.0 * LEAST_SHOWN:
                axis.text(place, 1.3 * LEAST_SHOWN, three_digits(float(mean)), fontsize=7, rotation=90, ha="center")
    for k, name in enumerate(names):
        allowed = next(errors[name].allowed for errors in found if name in errors)
        axis.plot([k - 0.45, k + 0.45], [allowed, allowed], color="black", linewidth=1.2, linestyle=":")
    axis.plot([], [], color="black", linewidth=1.2, linestyle=":", label="what rounding explains")
    axis.set(xticks=range(len(names)), ylabel="mean error (in the unit below)", title="after random rotations")
    axis.set_xticklabels([f"{_wrapped(PROPERTIES[name].title)}\n({PROPERTIES[name].unit})" for name in names])
    log_scale(axis)
    axis.set_ylim(LEAST_SHOWN, 10.0 * axis.get_ylim()[1])  # room for the legend
    axis.grid(visible=False, axis="x")
    axis.legend(loc="upper left")
    _legend(figure, models)
    return figure


def _wrapped(title: str) -> str:
    return title.removesuffix(" (ESP)").replace(" of ", " of\n").replace("distributed ", "distributed\n")


def draw_against_charges(comparison: ModelComparison) -> Any:
    """Errors of dipole and potential against the number of distributed charges; None where all have the same number.

    Returns
    -------
    figure of matplotlib, or None
    """
    kinds: dict[str, list[ComparedModel]] = {}
    for model in comparison.models:
        if model.n_dcm is not None:
            kinds.setdefault(model.kind, []).append(model)
    several = {
        kind: sorted(models, key=_number) for kind, models in kinds.items() if len(set(map(_number, models))) > 1
    }
    names = [name for name in ("dipole", "esp")
             if any(name in model.errors_by_charges.get("distributed", {}) for model in comparison.models)]  # fmt: skip
    if not several or not names:
        return None
    figure, axes = new_figure(1, len(names), 3.8 * len(names), 3.2)
    for name, axis in zip(names, axes[0]):
        unit, factor = LABELS[name].shown[-1 if name == "esp" else 0]
        for (kind, models), color in zip(several.items(), CYCLE):
            values = [factor * model.errors_by_charges["distributed"][name]["rmse"] for model in models]
            axis.plot([_number(model) for model in models], values, "o-", color=color, label=kind)
        axis.set(xlabel="charges around each atom", ylabel=f"RMSE ({unit})", title=f"{LABELS[name].title}, distributed")
        axis.set_xticks(sorted({_number(model) for models in several.values() for model in models}))
        axis.set_ylim(0.0, 1.25 * axis.get_ylim()[1])  # room for the names
        axis.legend()
    return figure


def _number(model: ComparedModel) -> int:
    return model.n_dcm or 0


def _legend(figure: Any, models: Sequence[ComparedModel]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=CYCLE[m % len(CYCLE)], label=model.name) for m, model in enumerate(models)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(models)))
