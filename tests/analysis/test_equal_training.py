"""Networks that are trained alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from molcalc.analysis.equal_training import OF_THE_NETWORK, contenders_of, folders_of
from molcalc.analysis.model_comparison import ModelComparison
from molcalc.errors import ConfigError
from molcalc.train.config import read_options


def test_all_runs_have_the_settings_of_the_first(compared: tuple[Path, ModelComparison]) -> None:
    folder, comparison = compared
    first, second = (read_options(folder / "runs" / name / "training.yaml") for name in ("physnet-dcm", "noneq-dcm"))
    differ = {key for key in first | second if first.get(key) != second.get(key)}
    assert differ <= OF_THE_NETWORK
    assert "model" in differ
    assert first["learning_rate"] is not None
    assert comparison.settings["learning_rate"] == first["learning_rate"]
    assert second["loss"]["weights"]["charge_dipole"] == 1.0  # recommended for the first kind only
    models = comparison.models
    assert models[0].steps == models[1].steps == 2
    parts = [(folder / "runs" / model.name / "parts.csv").read_text() for model in models]
    assert parts[0] == parts[1]


def test_kinds_presets_and_numbers_of_charges_make_contenders_of_their_own() -> None:
    found = contenders_of(["physnet-dcm:reference-size", "aimnet2"], [1, 4])
    assert [(one.name, one.kind, one.preset, dict(one.arguments)) for one in found] == [
        ("physnet-dcm-reference-size-1", "physnet-dcm", "reference-size", {"n_dcm": 1}),
        ("physnet-dcm-reference-size-4", "physnet-dcm", "reference-size", {"n_dcm": 4}),
        ("aimnet2", "aimnet2", "default", {}),
    ]
    assert "dcm_charges" in found[0].predicts()
    assert "dcm_charges" not in found[2].predicts()


@pytest.mark.parametrize(
    ("models", "words"),
    [
        (["physnet-dmc"], "did you mean 'physnet-dcm'"),
        (["physnet-dcm:small"], "no preset 'small'; it has default, reference-size"),
        (["aimnet2", "aimnet2"], "aimnet2 is named twice"),
        ([], "no model to compare"),
    ],
)
def test_what_cannot_be_trained_is_refused(models: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        contenders_of(models)


def test_folders_have_the_shortest_names_that_tell_them_apart() -> None:
    assert list(folders_of(["runs/a", "runs/b"])) == ["a", "b"]
    assert list(folders_of(["one/x", "two/x", "wb97m-d3"])) == ["one/x", "two/x", "wb97m-d3"]
    with pytest.raises(ConfigError, match="named twice"):
        folders_of(["a", "a"])
