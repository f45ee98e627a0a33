"""Pictures of a comparison of models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from molcalc.analysis.comparison_plots import draw_against_charges, draw_performance, draw_symmetry
from molcalc.analysis.model_comparison import ModelComparison


def test_bars_are_the_errors_of_the_models(compared: tuple[Path, ModelComparison]) -> None:
    comparison = compared[1]
    figure = draw_performance(comparison)
    panels = {axis.get_title(): axis for axis in figure.axes if axis.get_visible()}
    assert set(panels) == {"energy", "forces", "dipole", "potential (ESP)"}
    heights = [bar.get_height() for bar in panels["energy"].patches]
    assert heights == pytest.approx([1e3 * model.errors["energy"]["mae"] for model in comparison.models])
    assert [label.get_text() for label in panels["dipole"].get_xticklabels()] == ["distributed", "of atoms"]
    symmetry = draw_symmetry(comparison).axes[0]
    assert symmetry.get_yscale() == "log"


def test_errors_are_drawn_against_the_number_of_charges_where_it_differs(
    compared: tuple[Path, ModelComparison],
) -> None:
    comparison = compared[1]
    assert draw_against_charges(comparison) is None
    first = comparison.models[0]
    models = tuple(replace(first, name=f"n{n}", n_dcm=n) for n in (4, 1, 2))
    axis = draw_against_charges(replace(comparison, models=models)).axes[0]
    assert axis.lines[0].get_xdata().tolist() == [1, 2, 4]
    assert axis.lines[0].get_ydata()[0] == pytest.approx(first.errors_by_charges["distributed"]["dipole"]["rmse"])
