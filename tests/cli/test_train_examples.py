"""The configurations in ``examples/config`` train, and say everything that there is to say about schedules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from molcalc.conformers.vae.config import VAE_OPTIONS, vae_config
from molcalc.io import checkpoint
from molcalc.pretrained.sources import read_model
from molcalc.train.config import make_config, read_options
from molcalc.train.optimize.schedules import SCHEDULES
from tests.helpers.training_runs import FOR_SMALL_MOLECULES, TINY, copied
from tests.helpers.twisted_frames import twisted

CONFIG = Path(__file__).parents[2] / "examples" / "config"
SHORT = ("--epochs", "2", "--set", "batches_per_epoch=2", "--no-plots", "--quiet")


def arguments(network: dict[str, Any]) -> tuple[str, str]:
    return "--set", f"arguments={json.dumps(network)}"


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "run" / "history.jsonl").read_text().splitlines()]


def test_every_file_is_tested_here_and_every_schedule_has_one() -> None:
    assert {path.stem for path in CONFIG.glob("*.yaml")} == {
        *("aimnet2", "two_fidelities", "three_fidelities", "delta_learning", "fine_tuning", "multi_fine_tuning"),
        *("physnet_dcm", "conformer_vae_bond", "conformer_vae_pairwise"),
    }
    schedules = {path.stem: read_options(path)["schedule"]["name"] for path in (CONFIG / "schedules").glob("*.yaml")}
    assert schedules == {name: name for name in SCHEDULES}
    for path in CONFIG.rglob("*.yaml"):
        if path.stem.startswith("conformer_vae"):
            vae_config(VAE_OPTIONS.read(path)[1])
        else:
            make_config({"model": "aimnet2", **read_options(path)})


@pytest.mark.parametrize(("loss", "term"), [("bond", "clashes"), ("pairwise", "hand")])
def test_generators_train_by_either_loss(run: Any, tmp_path: Path, loss: str, term: str) -> None:
    write("frames.xyz", twisted(40))
    small = ("--set", "n_features=8", "--set", "n_encoder_layers=1", "--set", "n_decoder_layers=1")
    config = CONFIG / f"conformer_vae_{loss}.yaml"
    result = run("train", "frames.xyz", "--config", config, "--output", "run", *small, *SHORT)
    assert result.status == 0, result.err
    assert f"train_{term}" in history(tmp_path)[-1]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_trains(run: Any, tmp_path: Path, schedule: str) -> None:
    data = copied("co2_esp.db", tmp_path)
    result = run("train", data, "--model", "noneq-dcm", "--config", CONFIG / "schedules" / f"{schedule}.yaml",
                 "--output", "run", "--batch-size", "8", *arguments(TINY["noneq-dcm"]), *SHORT)  # fmt: skip
    assert result.status == 0, result.err
    rates = [row["learning_rate"] for row in history(tmp_path)]
    assert len(rates) == 2
    assert all(0.0 < rate <= 2e-3 for rate in rates)


def test_one_level_of_theory_trains(run: Any, tmp_path: Path) -> None:
    data = copied("small_molecules.db", tmp_path)
    result = run(
        "train", data, "--config", CONFIG / "aimnet2.yaml", "--output", "run", *arguments(FOR_SMALL_MOLECULES), *SHORT
    )
    assert result.status == 0, result.err
    assert "default" in run("info", "run").out


def levels(folder: Path, *names: str) -> list[str]:
    """Databases of the same molecules at several levels, as arguments; a third level is the first one with a shift."""
    files = {"pbe0": copied("small_molecules.db", folder), "gfn2": copied("small_molecules_gfn2.db", folder)}
    if "wb97m" in names:
        files["wb97m"] = folder / "shifted.db"
        with connect(files["pbe0"]) as old, connect(files["wb97m"]) as new:
            for row in old.select():
                atoms = row.toatoms()
                energy = row.energy - 0.5 * len(atoms)
                atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=1.02 * row.forces)
                new.write(atoms, total_charge=row.total_charge, multiplicity=row.multiplicity)
    return [f"{name}={files[name]}" for name in names]


@pytest.mark.parametrize("name", ["two_fidelities", "three_fidelities", "delta_learning"])
def test_several_levels_of_theory_train(run: Any, tmp_path: Path, name: str) -> None:
    options = read_options(CONFIG / f"{name}.yaml")
    data = levels(tmp_path, *options["fidelities"])
    result = run(
        "train", *data, "--config", CONFIG / f"{name}.yaml", "--output", "run", *arguments(FOR_SMALL_MOLECULES), *SHORT
    )
    assert result.status == 0, result.err
    config = checkpoint.load("run").config
    assert [level.name for level in config.fidelities] == list(options["fidelities"])
    assert {key: config.arguments[key] for key in options["arguments"]} == options["arguments"]
    assert config.arguments["bases"] == ([None, 0] if name == "delta_learning" else [])
    for level in options["fidelities"]:
        assert all(row[f"{level}_energy_mae"] < 100.0 for row in history(tmp_path))
        assert f"errors on the test part at {level}\n" in result.out


def test_physnet_with_distributed_charges_trains(run: Any, tmp_path: Path) -> None:
    data = copied("co2_esp.db", tmp_path)
    small = json.dumps({"n_features": 16, "head_features": 16, "n_modules": 1, "n_radial": 8, "max_number": 8})
    result = run("train", data, "--config", CONFIG / "physnet_dcm.yaml", "--output", "run", "--set",
                 f"arguments={small}", *SHORT)  # fmt: skip
    assert result.status == 0, result.err
    assert "potential (ESP)" in result.out


def test_published_weights_are_tuned(run: Any, tmp_path: Path, published: None) -> None:
    data = copied("small_molecules.db", tmp_path)
    result = run("train", data, "--config", CONFIG / "fine_tuning.yaml", "--output", "run", "--batch-size", "30",
                 *SHORT)  # fmt: skip
    assert result.status == 0, result.err
    errors = [row["forces_rmse"] for row in history(tmp_path)]
    assert errors[0] < 0.5  # published weights know these forces already: eV/Å


def test_published_weights_are_tuned_to_two_levels(run: Any, tmp_path: Path, published: None) -> None:
    config = CONFIG / "multi_fine_tuning.yaml"
    result = run("train", *levels(tmp_path, "pbe0", "gfn2"), "--config", config, "--output", "run", "--batch-size",
                 "30", *SHORT)  # fmt: skip
    assert result.status == 0, result.err
    first = history(tmp_path)[0]
    assert first["pbe0_forces_rmse"] < 0.5  # eV/Å: published weights know these forces already
    assert first["gfn2_forces_rmse"] < 2.0  # and those of GFN2 roughly
    given, found = read_model("wb97m-d3").weights, checkpoint.load("run/last").weights
    assert torch.equal(found["members.0.conv_features"], given["members.0.conv_features"])
    assert torch.equal(found["members.0.passes.0.0.weight"], given["members.0.passes.0.0.weight"])
    assert not torch.equal(found["members.0.passes.1.0.weight"], given["members.0.passes.1.0.weight"])
