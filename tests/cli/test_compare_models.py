"""``molcalc compare-models``."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import molcalc.analysis.comparison_report as comparison_report
import molcalc.analysis.model_comparison as model_comparison
from molcalc.errors import ConfigError
from molcalc.io import checkpoint
from tests.helpers.networks import tiny_dcm
from tests.helpers.training_runs import copied

QUICK = ("--no-memory", "--rounds", 1, "--structures", 2)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Folder of data and two models, "turns" and "plain"."""
    copied("co2_esp.db", tmp_path)
    checkpoint.save(tmp_path / "turns", tiny_dcm("physnet-dcm"))
    checkpoint.save(tmp_path / "plain", tiny_dcm("noneq-dcm"))
    return tmp_path


def test_given_models_are_compared_and_a_report_is_written_without_matplotlib(
    run: Any, given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison_report, "can_draw", lambda: False)
    arguments = ("compare-models", "co2_esp.db", "--skip-training", "turns", "plain", *QUICK)
    result = run(*arguments, "-o", "out", "--csv", "out.csv")
    assert result.status == 0, result.err
    assert "Errors are over 20 structures of co2_esp.db." in result.out
    assert "written: out/comparison.json, out/comparison.md, out/comparison.html\n" in result.out
    document = json.loads((given / "out" / "comparison.json").read_text())
    assert [model["name"] for model in document["models"]] == ["turns", "plain"]
    with (given / "out.csv").open() as file:
        rows = {row["quantity"]: row for row in csv.DictReader(file)}
    assert float(rows["energy, MAE"]["turns"]) == pytest.approx(1e3 * document["models"][0]["errors"]["energy"]["mae"])
    again = run(*arguments, "-o", "out")
    assert again.status == 2
    assert "out/comparison.json exists" in again.err


def test_options_of_training_reach_every_run(run: Any, given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def note(data: Any, models: Any, **options: Any) -> None:
        seen.update(options, data=data, models=models)
        raise ConfigError("enough")

    monkeypatch.setattr(model_comparison, "compare_models", note)
    result = run(
        "compare-models", "co2_esp.db", "--model", "physnet-dcm", "--model", "aimnet2", "--n-dcm", 1, 2,
        "--seed", 3, "--epochs", 7,
        "--set", "esp_points=10", "--test", "0.2", "-o", "new",
    )  # fmt: skip
    assert result.status == 2
    assert (seen["models"], seen["n_dcm"], seen["epochs"], seen["train"]) == (
        ["physnet-dcm", "aimnet2"],
        [1, 2],
        7,
        True,
    )
    assert (seen["seed"], seen["esp_points"], seen["test"], seen["output"]) == (3, 10, 0.2, Path("new"))
    assert not (given / "new").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--skip-training", "turns", "--model", "aimnet2"), "give one of them"),
        (("--skip-training", "turns", "--epochs", "3"), "epochs is an option of training"),
        (("--skip-training", "turns", "turns"), "turns is named twice"),
        (("--model", "physnet"), "did you mean 'physnet-dcm'"),
        (("--n-dcm", "0"), "is not a whole number ≥ 1"),
        (("-o", "co2_esp.db"), "co2_esp.db is a file"),
    ],
)
def test_wrong_options_are_refused(run: Any, given: Path, options: tuple[str, ...], words: str) -> None:
    before = {path.name for path in given.iterdir()}
    result = run("compare-models", "co2_esp.db", *options, *QUICK)
    assert result.status == 2, result.err
    assert words in result.err
    assert {path.name for path in given.iterdir()} - {".molcalc_cache"} == before
