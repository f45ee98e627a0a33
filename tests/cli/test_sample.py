"""``molcalc train --model conformer-vae`` and ``molcalc sample``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ase.io import read, write

from molcalc.conformers import ConformerVAE
from molcalc.train.report import figures
from tests.helpers.twisted_frames import twisted

TINY = ("--set", "latent_dim=3", "--set", "n_features=8", "--set", "n_encoder_layers=2", "--epochs", "2", "--no-plots")


@pytest.fixture
def trained(run: Any) -> Any:
    """A generator of H2O2 in the folder ``run``."""
    write("frames.xyz", twisted(60))
    result = run("train", "frames.xyz", "--model", "conformer-vae", "--output", "run", *TINY)
    assert result.status == 0, result.err
    return result


def test_a_generator_is_trained_resumed_and_sampled(run: Any, trained: Any) -> None:
    assert "reconstructions of the valid part" in trained.out
    assert "model: run" in trained.out
    resumed = run("train", "--output", "run", "--resume", "--epochs", "3", "--json")
    assert resumed.status == 0, resumed.err
    assert json.loads(resumed.out)["metrics"]["valid"]["pair_rmse"] < 0.5
    assert len(Path("run/history.csv").read_text().splitlines()) == 4
    repeated = run("train", "--config", "run/training.yaml", "--output", "again", "--set", "seed=1")
    assert repeated.status == 0, repeated.err
    result = run("sample", "run", "-n", "5", "-o", "proposed.xyz", "--seed", "4")
    assert result.status == 0, result.err
    assert "5 structures of H2O2 in proposed.xyz" in result.out
    assert len(read("proposed.xyz", index=":")) == 5
    cited = run("cite", "run")
    assert cited.status == 0, cited.err
    assert re.findall(r"(?m)^@\w+{(\S+),$", cited.out) == ["molcalc", "visnet", "egnn", "ase"]


def test_a_generator_says_what_it_is_and_is_no_potential(run: Any, trained: Any) -> None:
    result = run("info", "run")
    assert result.status == 0, result.err
    assert re.search(r"(?m)^formula +H2O2$", result.out)
    assert re.search(r"(?m)^prior +54 components$", result.out)
    refused = run("energy", "frames.xyz", "--model", "run")
    assert refused.status == 4
    assert "makes structures, and is no potential" in refused.err


def test_samples_are_relaxed_and_ranked(run: Any, trained: Any) -> None:
    result = run("sample", "run", "-n", "4", "--relax", "small-species", "--fidelity", "pbe0", "-o", "ranked.db")
    assert result.status == 0, result.err
    assert result.out.splitlines()[1].split()[:2] == ["H2O2", "1"]


def test_samples_are_compared_with_what_the_run_held_out_or_with_named_structures(run: Any, trained: Any) -> None:
    def sizes() -> tuple[int, int, int]:
        metrics = json.loads(Path("report/metrics.json").read_text())["metrics"]
        return metrics["n_generated"], metrics["n_reference"], metrics["n_train"]

    result = run("sample", "run", "-n", "20", "-o", "a.xyz", "--report", "report")
    assert result.status == 0, result.err
    assert re.search(r"(?m)^valid: all +[\d.]+ +1\.000$", result.out)
    assert "nearest training structure" in result.out
    assert Path("report/plots/latents.png").is_file() == figures.can_draw()
    assert sizes() == (20, 6, 54)
    write("other.xyz", twisted(8, seed=5))
    again = run("sample", "run", "-n", "9", "-o", "a.xyz", "--force", "--report", "report", "--reference", "other.xyz")
    assert again.status == 0, again.err
    assert sizes() == (9, 8, 0)
    ConformerVAE.load("run").save("copy")
    refused = run("sample", "copy", "-n", "9", "-o", "b.xyz", "--report", "new")
    assert refused.status == 2
    assert "copy holds a model, and not the run that made it: name structures" in refused.err
    few = run("sample", "copy", "-n", "9", "-o", "b.xyz", "--report", "new", "--reference", "frames.xyz@:3")
    assert few.status == 2
    assert "reference: 3 structures; at least 4 are needed" in few.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sample", "nowhere", "-o", "a.xyz"), "nowhere"),
        (("sample", "run", "-o", "a.xyz", "--reference", "frames.xyz"), "give --report FOLDER as well"),
        (("sample", "run", "-o", "a.xyz", "--report", "run"), "run is a folder with other files"),
        (("sample", "run", "-o", "new.xyz", "--report", "./new.xyz"), "new.xyz is named twice"),
        (("sample", "run", "-o", "a.xyz", "--restart"), "give --relax MODEL as well"),
        (("sample", "run", "-o", "a.xyz", "--gibbs"), "--gibbs is about relaxed structures: give --relax MODEL"),
        (("sample", "run", "-o", "a.xyz", "--duplicate-rmsd", "0.2"), "--duplicate-rmsd is about relaxed structures"),
        (("sample", "run", "-o", "a.sdf"), "a.sdf: .sdf holds ranked structures: give --relax MODEL as well"),
        (("sample", "run", "-o", "frames.xyz"), "frames.xyz exists"),
        (("sample", "run", "-o", "a.xyz", "--smiles", "OO"), "has hydrogen atoms already"),
        (("train", "--model", "conformer-vae", "--output", "new"), "which data"),
        (("train", "frames.xyz", "--model", "conformer-vae", "--output", "new", "--init", "run"), "begins with new"),
        (("train", "frames.xyz", "--model", "conformer-vae", "--output", "new", "--set", "latent=3"), "unknown key"),
    ],
    ids=[
        "folder",
        "reference",
        "report",
        "report and output",
        "restart",
        "ranks",
        "duplicates",
        "sdf",
        "exists",
        "smiles",
        "data",
        "init",
        "key",
    ],  # fmt: skip
)
def test_mistakes_end_with_one_line(run: Any, trained: Any, arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.status in (2, 4)
    assert message in result.err
    assert len(result.err.strip().splitlines()) == 1
