"""Pictures: they are drawn, show what they should, and leave a user's matplotlib alone."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molcalc.errors import ConfigError
from molcalc.train.optimize.schedules import SCHEDULES, ScheduleConfig
from molcalc.train.report import error_plots, esp_plots, figures
from molcalc.train.report.esp_plots import EspExample
from molcalc.train.report.evaluation import Evaluation
from molcalc.train.report.plots import RunCourse, draw_run, draw_schedules

matplotlib = pytest.importorskip("matplotlib")


def evaluation() -> Evaluation:
    rng = np.random.default_rng(0)
    label = rng.normal(size=30)
    samples = {name: np.stack([label, label + 0.1 * rng.normal(size=30)], axis=1) for name in ("energy", "forces")}
    overall = {name: {"mae": 0.08, "rmse": 0.1, "n": 30} for name in samples}
    groups = {"formula": {"H2O": overall, "CH4": {"energy": {"mae": 0.2, "rmse": 0.3, "n": 4}}}}
    return Evaluation(overall, groups, samples)


def example() -> EspExample:
    rng = np.random.default_rng(1)
    points = rng.normal(size=(80, 3))
    points *= 3.0 / np.linalg.norm(points, axis=1, keepdims=True)
    reference = points[:, 0] / 30.0
    return EspExample(
        name="water.db row 1",
        formula="H2O",
        numbers=np.array([8, 1, 1]),
        positions=np.array([[0.0, 0.0, 0.1], [0.0, 0.76, -0.5], [0.0, -0.76, -0.5]]),
        points=points,
        reference=reference,
        prediction=reference + 0.001,
        counted=np.arange(80) > 5,
    )


@pytest.fixture
def styled() -> Iterator[None]:
    with figures.style():
        yield


def texts(figure: Any) -> str:
    """Everything that is written in a figure."""
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


@pytest.mark.usefixtures("styled")
def test_parity_shows_errors_in_the_units_that_people_use() -> None:
    shown = texts(error_plots.draw_parity(evaluation(), "test systems"))
    assert "MAE 80.0 meV\nRMSE 100 meV\nMAE 1.84 kcal/mol\nn = 30" in shown
    assert "prediction − Σ atomic energies (eV)" in shown


@pytest.mark.usefixtures("styled")
def test_every_error_is_in_a_histogram() -> None:
    figure = error_plots.draw_histograms(evaluation(), "test systems")
    for axis in figure.axes:
        assert sum(bar.get_height() for bar in axis.patches) == 30


@pytest.mark.usefixtures("styled")
def test_molecules_are_sorted_by_the_error_of_their_energy() -> None:
    figure = error_plots.draw_groups(evaluation(), "formula", "test systems")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["CH4  ×4", "H2O  ×30"]
    assert error_plots.draw_groups(evaluation(), "element", "test systems") is None


@pytest.mark.usefixtures("styled")
def test_learning_curves_mark_the_best_validation_and_every_fidelity() -> None:
    rows = [
        {"epoch": k, "train_loss": 1.0 / k, "valid_loss": 1.0 + k, "valid_score": 1.0 + (k - 3) ** 2,
         "learning_rate": 1e-3, "energy_mae": 0.1, "energy_rmse": 0.2, "pbe0_energy_mae": 0.05, "gfn2_energy_mae": 0.15}
        for k in range(1, 6)
    ]  # fmt: skip
    shown = texts(error_plots.draw_learning_curves(rows, ("energy",)))
    assert "best, epoch 3" in shown
    assert "MAE, pbe0 50.0" in shown
    assert "MAE, gfn2 150" in shown


@pytest.mark.usefixtures("styled")
def test_reference_and_model_share_one_color_scale_in_maps() -> None:
    figure = esp_plots.draw_esp_map(example(), "median error")
    scales = [axis.collections[0].get_clim() for axis in figure.axes[:8]]
    assert scales[0] == scales[1] == scales[2] == scales[4]
    assert scales[0][1] == -scales[0][0]
    assert scales[3][1] < scales[0][1]
    assert all(len(axis.collections[0].get_offsets()) < 80 for axis in figure.axes[:8])  # the half in front


@pytest.mark.usefixtures("styled")
def test_the_radial_error_marks_the_radii_of_all_elements() -> None:
    shown = texts(esp_plots.draw_esp_radial([example()]))
    for label in ("H, covalent 0.31 Å", "O, van der Waals 1.52 Å", "left out of the errors", "median in 0.1 Å"):
        assert label in shown


def test_pictures_of_a_run_are_small_files_and_leave_settings_alone(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    history = [{"epoch": 1, "train_loss": 1.0, "valid_loss": 1.0, "valid_score": 1.0, "learning_rate": 1e-3}]
    pictures = draw_run(tmp_path / "plots", RunCourse(history, (), {}, {"median error": example()}))
    assert [picture.path.name for picture in pictures] == ["learning_curves.png", "esp_median_error.png"]
    for picture in pictures:
        assert picture.path.read_bytes().startswith(b"\x89PNG")
        assert picture.path.stat().st_size < 200_000
    assert dict(matplotlib.rcParams) == before


def test_every_schedule_is_drawn(tmp_path: Path) -> None:
    path = draw_schedules(tmp_path / "all.png", total_steps=200)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert len(SCHEDULES) == 8
    one = draw_schedules(tmp_path / "one.png", total_steps=50, schedules={"mine": ScheduleConfig(name="linear")})
    assert one.stat().st_size < path.stat().st_size


def test_without_matplotlib_an_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *more: Any, **options: Any) -> Any:
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    assert not figures.can_draw()
    with pytest.raises(ConfigError, match=r"pip install 'molcalc\[plot\]'"):
        draw_schedules(tmp_path / "x.png")
