"""``molcalc convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from molcalc.io import checkpoint
from molcalc.pretrained.sources import read_model
from tests.helpers.model_files import multifidelity_state
from tests.helpers.networks import tiny_multifidelity


def test_a_model_is_written_as_a_directory_with_the_same_hash(run: Any, models: Path) -> None:
    result = run("convert", models / "ensemble", "copies/here")
    assert result.status == 0, result.err
    copy, original = checkpoint.load("copies/here"), checkpoint.load(models / "ensemble")
    assert copy.config == original.config
    assert copy.hash == original.hash
    assert original.hash in result.out


def test_the_published_weights_are_converted(run: Any, published: None, water: Path) -> None:
    assert run("convert", "wb97m-d3", "mine").status == 0
    energies = [run("energy", water, "--member", 0, "--model", name).out.split()[-3] for name in ("mine", "wb97m-d3")]
    assert energies[0] == energies[1]


def test_a_model_is_replaced_only_with_force(run: Any, models: Path) -> None:
    run("convert", models / "single", "here")
    refused = run("convert", models / "open", "here")
    assert refused.status == 2
    assert "here exists: give another name, or --force to replace it" in refused.err
    assert checkpoint.load("here").hash == checkpoint.load(models / "single").hash
    assert run("convert", models / "open", "here", "--force").status == 0
    assert checkpoint.load("here").hash == checkpoint.load(models / "open").hash


def test_other_files_are_never_touched(run: Any, model: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "precious.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for target, text in (("home", "is a folder with other files"), ("file", "is a file")):
        result = run("convert", model, target, "--force")
        assert result.status == 2
        assert text in result.err
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["precious.txt"]
    assert (tmp_path / "file").read_text() == "precious"


def test_an_unknown_program_is_not_run_unless_trusted(run: Any, tmp_path: Path) -> None:
    (tmp_path / "unknown.jpt").write_bytes(b"PK\x03\x04 nothing")
    result = run("convert", "unknown.jpt", "here")
    assert result.status == 4
    assert "opening one runs the code in it" in result.err
    assert not Path("here").exists()


def test_a_weight_file_of_several_fidelities_gets_names_and_self_atomic_energies(run: Any, tmp_path: Path) -> None:
    torch.save({"model": multifidelity_state(tiny_multifidelity().float())}, tmp_path / "three.pt")
    (tmp_path / "one.yaml").write_text("1: -13.5\n6: -1029.0\n7: -1e3\n8: -2041.5\n")
    (tmp_path / "two.yaml").write_text('"gfn2":\n  1: -10.5\n  6: -48.0\n"other":\n  1: 0.0\n')
    names = ("--fidelity", "pbe0", "--fidelity", "gfn2", "--fidelity", "b3lyp")
    result = run("convert", "three.pt", "here", *names, "--sae", "pbe0=one.yaml", "--sae", "gfn2=two.yaml")
    assert result.status == 0, result.err
    assert "here: aimnet2," in result.out
    plain, found = read_model("three.pt"), checkpoint.load("here")
    assert [level.name for level in found.config.fidelities] == ["pbe0", "gfn2", "b3lyp"]
    assert found.config.fidelities[1].elements == (1, 6)
    difference = found.weights["members.0.shifts"] - plain.weights["members.0.shifts"]
    assert difference[0, [1, 6, 7, 8]].tolist() == pytest.approx([-13.5, -1029.0, -1000.0, -2041.5])
    assert difference[1, [1, 6]].tolist() == pytest.approx([-10.5, -48.0])
    assert not difference[2].any()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--fidelity", "a"), "has 3 fidelities; 1 names are given"),
        (("--sae", "5=sae.yaml"), "given for fidelity '5'"),
        (("--sae", "sae.yaml"), "expected NAME=FILE"),
        (("--sae", "0=sae.yaml", "--sae", "0=sae.yaml"), "once for a fidelity"),
        (("--sae", "0=none.yaml"), "cannot read the self-atomic energies none.yaml"),
        (("--sae", "0=words.yaml"), "'Xx' is no element; write its symbol or atomic number"),
        (("--sae", "0=blocks.yaml"), "has self-atomic energies of a, b; not of '0'"),
    ],
)  # fmt: skip
def test_self_atomic_energies_that_do_not_fit(run: Any, tmp_path: Path, options: tuple[str, ...], text: str) -> None:
    torch.save(multifidelity_state(tiny_multifidelity().float()), tmp_path / "three.pt")
    (tmp_path / "sae.yaml").write_text("1: -13.6\n")
    (tmp_path / "words.yaml").write_text("Xx: -13.6\n")
    (tmp_path / "blocks.yaml").write_text("a: {1: 2.0}\nb: {1: 2.0}\n")
    result = run("convert", "three.pt", "here", *options)
    assert result.status in (2, 4), result.err
    assert text in result.err
    assert not Path("here").exists()


def test_options_of_weight_files_are_refused_for_structures(run: Any, tmp_path: Path) -> None:
    (tmp_path / "set.xyz").write_text("1\n\nH 0 0 0\n")
    result = run("convert", "set.xyz", "set.db", "--fidelity", "a")
    assert result.status == 2
    assert "--fidelity and --sae are for files of weights" in result.err
