"""``molcalc equivariance``."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from ase.build import molecule
from ase.io import write

import molcalc.models.dcm_heads as heads
from molcalc.io import checkpoint
from molcalc.train import convert
from tests.helpers.networks import tiny_dcm
from tests.helpers.structures import organic, rattled
from tests.helpers.training_runs import copied


@pytest.fixture(scope="module")
def siblings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of two models: "turns" and "plain"."""
    folder = tmp_path_factory.mktemp("siblings")
    checkpoint.save(folder / "turns", tiny_dcm("physnet-dcm"))
    checkpoint.save(folder / "plain", tiny_dcm("noneq-dcm"))
    return folder


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Five structures."""
    write(tmp_path / "frames.xyz", [rattled("CO2", seed=k) for k in range(4)] + [organic()])
    return tmp_path / "frames.xyz"


def test_both_models_keep_what_they_declare(run: Any, siblings: Path, frames: Path) -> None:
    models = ("--model", siblings / "turns", "--model", siblings / "plain")
    result = run("equivariance", *models, "--data", frames, "--structures", 2, "--motions", 2, "--json")
    assert result.status == 0, result.err
    document = json.loads(result.out)
    assert [one["frame"] for one in document["structures"]] == [0, 4]
    turns, plain = document["models"]
    assert plain["fixed_in_space"] == ["dcm_positions", "dcm_dipole", "esp"]

    def largest(model: dict[str, Any], motion: str, name: str) -> float:
        return next(e["largest"] for e in model["errors"] if (e["motion"], e["name"]) == (motion, name))

    assert largest(turns, "rotation", "dcm_dipole") < 1e-5
    assert largest(plain, "rotation", "dcm_dipole") > 1e-3
    assert largest(plain, "translation", "dcm_dipole") < 1e-5


def test_a_model_that_breaks_its_word_is_named_by_the_exit_status(
    run: Any, siblings: Path, frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads.PlainHead, "fixed_in_space", ())
    result = run("equivariance", "--model", siblings / "plain", "--data", f"{frames}@0", "--motions", 1)
    assert result.status == 1
    assert "BROKEN: dipole of distributed charges after rotation" in result.out
    assert "keeps what it declares: no" in result.out


def test_one_motion_takes_the_place_of_random_ones_and_is_drawn(
    run: Any, siblings: Path, frames: Path, tmp_path: Path
) -> None:
    motion = ("--angle", 90, "--axis", "z", "--translation", 5, 3, -2)
    arguments = ("--model", siblings / "plain", "--data", frames, "--structures", 1, "--motions", 1, *motion)
    result = run("equivariance", *arguments, "--plot", "--csv", "errors.csv")
    assert result.status == 0, result.err
    assert "rotated by 90° about z, reflected along z, translated by (5, 3, -2) Å" in result.out
    assert "1 of 5 structures" in result.out
    assert "* declared not to turn: places of distributed charges" in result.out
    assert (tmp_path / "equivariance.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "errors.csv").open() as file:
        rows = {(row["motion"], row["property"]): row for row in csv.DictReader(file)}
    assert rows["rotation", "esp"]["declared"] == "no"
    assert float(rows["translation", "dcm_positions"]["largest"]) < 1e-5
    again = run("equivariance", *arguments, "--plot")
    assert again.status == 2
    assert "equivariance.png exists" in again.err


def test_a_turn_about_its_own_axis_changes_nothing_of_a_linear_molecule(
    run: Any, siblings: Path, tmp_path: Path
) -> None:
    write(tmp_path / "co2.xyz", molecule("CO2"))  # along z
    arguments = ("equivariance", "--model", siblings / "turns", "--data", "co2.xyz", "--motions", 1, "--json")
    result = run(*arguments, "--angle", 77, "--axis", 0, 0, 2)
    errors = json.loads(result.out)["models"][0]["errors"]
    assert next(e for e in errors if e["motion"] == "rotation")["largest"] < 1e-9


def test_a_structure_that_no_model_knows_is_named_and_does_not_end_the_others(
    run: Any, siblings: Path, frames: Path
) -> None:
    write(frames.with_name("bad.xyz"), [molecule("CO2"), molecule("SiH4")])
    names = ("--data", frames, "bad.xyz", "--motions", 1, "--json")
    result = run("equivariance", "--model", siblings / "turns", *names)
    assert result.status == 2
    assert "bad.xyz, frame 1: element Si" in result.err
    assert len(json.loads(result.out)["structures"]) == 6


def test_data_of_training_that_ase_does_not_read_are_taken(run: Any, siblings: Path, tmp_path: Path) -> None:
    convert(copied("co2_esp.db", tmp_path), tmp_path / "co2.h5")
    arguments = ("--structures", 2, "--motions", 1, "--json")
    result = run("equivariance", "--model", siblings / "turns", "--data", "co2.h5@:5", "none.h5", *arguments)
    assert result.status == 2
    assert "none.h5" in result.err
    assert [one["frame"] for one in json.loads(result.out)["structures"]] == [0, 4]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--axis", "w", "--angle", "90"), "axis"),
        (("--axis", "1", "b", "0"), "--axis 1 b 0: expected x, y, z or three numbers"),
        (("--axis", "0", "0", "0"), "no direction"),
        (("--motions", "0"), "is not a whole number ≥ 1"),
        (("--translation", "1", "2"), "expected 3 arguments"),
        (("-o", "turned"), "--output turned names the picture: give --plot as well"),
        (("--data", "none.xyz"), "none.xyz"),
    ],
)
def test_wrong_options_are_refused(
    run: Any, siblings: Path, frames: Path, options: tuple[str, ...], words: str
) -> None:
    result = run("equivariance", "--model", siblings / "turns", "--data", frames, *options)
    assert result.status == 2
    assert words in result.err


def test_a_model_that_is_named_twice_is_refused(run: Any, siblings: Path, frames: Path) -> None:
    result = run("equivariance", "--model", siblings / "plain", "--model", siblings / "plain", "--data", frames)
    assert result.status == 2
    assert "named twice" in result.err
