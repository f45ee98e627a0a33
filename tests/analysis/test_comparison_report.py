"""Report of a comparison of models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from molcalc.analysis.comparison_report import comparison_notes, comparison_rows, write_comparison
from molcalc.analysis.model_comparison import ModelComparison
from molcalc.analysis.model_costs import PeakMemory
from molcalc.train.report.display import three_digits
from molcalc.units import KCAL_PER_MOL


@pytest.fixture(scope="module")
def comparison(compared: tuple[Path, ModelComparison]) -> ModelComparison:
    """With memory, and one model that is no run."""
    first, second = compared[1].models
    models = (replace(first, memory=PeakMemory(280.0, 430.0, 560.0)), replace(second, step=None, epochs=None))
    return replace(compared[1], models=models)


def test_rows_have_the_units_of_their_values(comparison: ModelComparison) -> None:
    rows = {row.name: row for row in comparison_rows(comparison)}
    first = comparison.models[0]
    assert rows["energy, MAE"].unit == "meV"
    assert rows["energy, MAE"].values[0] == pytest.approx(1e3 * first.errors["energy"]["mae"])
    potential = rows["potential (ESP) of distributed charges, RMSE"]
    assert potential.unit == "kcal/mol/e"
    assert potential.values[0] == pytest.approx(first.errors["esp"]["rmse"] / KCAL_PER_MOL)
    assert rows["step of training"].unit == "ms"
    assert first.step is not None
    assert rows["step of training"].values == (pytest.approx(1e3 * first.step.median), None)
    assert rows["step of training"].cell(1) == "–"
    assert rows["peak memory of training"].cell(0) == "560"
    assert rows["keeps what it declares"].values == ("yes", "yes")


def test_notebooks_show_the_rows_of_the_report(comparison: ModelComparison) -> None:
    first = comparison.models[0].errors["energy"]["mae"]
    table = comparison._repr_html_()
    assert f"<th>{comparison.models[0].name}</th><th>noneq-dcm</th>" in table
    assert f"<td>energy, MAE</td><td>meV</td><td>{three_digits(1e3 * first)}</td>" in table
    assert repr(comparison) == f"<ModelComparison of physnet-dcm, noneq-dcm on {comparison.n_structures} structures>"


def test_the_report_holds_tables_and_pictures(comparison: ModelComparison, tmp_path: Path) -> None:
    written = write_comparison(tmp_path / "report", comparison)
    names = {path.relative_to(tmp_path / "report").as_posix() for path in written}
    assert names == {
        "comparison.json", "comparison.md", "comparison.html", "plots/performance.png", "plots/efficiency.png",
        "plots/equivariance.png",
    }  # fmt: skip
    assert all(path.stat().st_size > 500 for path in written)
    assert json.loads(written[0].read_text())["models"][1]["name"] == "noneq-dcm"
    text = written[1].read_text()
    assert "| energy, MAE | meV |" in text
    assert "trained alike: 1 epochs in batches of 8 molecules" in text
    assert "plots/performance.png" in text
    assert "16 left out (seen in training)" in " ".join(comparison_notes(comparison))
