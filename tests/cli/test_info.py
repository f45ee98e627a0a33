"""``molcalc info``."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from molcalc.io import checkpoint
from molcalc.pretrained.catalog import BUNDLED, PUBLISHED
from tests.helpers.networks import tiny_checkpoint


def test_everything_about_a_model_directory_is_printed(run: Any, models: Path) -> None:
    result = run("info", models / "ensemble")
    assert result.status == 0
    lines = dict(line.split("  ", 1) for line in result.out.splitlines())
    described = {key: value.strip() for key, value in lines.items()}
    assert described["kind"] == "aimnet2"
    assert described["members"] == "2"
    assert described["elements"] == "H, C, N, O"
    assert described["cutoff"] == "5 Å"
    assert described["fidelities"] == "name pbe0, functional pbe0, dispersion d3bj:pbe0"
    assert described["coulomb"] == "simple, beyond 4.6 Å"
    assert described["charged"] == "yes"
    assert described["open shells"] == "no"
    assert described["hash"] == checkpoint.load(models / "ensemble").hash
    assert "weights.safetensors" in described["files"]


def test_json_holds_the_same_and_counts_parameters_of_one_network(run: Any, models: Path) -> None:
    values = json.loads(run("info", models / "open", "--json").out)
    weights = checkpoint.load(models / "open").weights
    assert values["parameters"] == sum(value.numel() for value in weights.values())
    assert json.loads(run("info", models / "ensemble", "--json").out)["parameters"] < values["parameters"] * 1.2
    assert values["open shells"] == "yes"
    assert values["predicts"] == ["atomic_energies", "charges", "spin_charges"]
    assert values["elements"] == ["H", "C", "N", "O"]


def test_charges_of_fragments_far_apart_are_told(run: Any, models: Path) -> None:
    told = json.loads(run("info", models / "ensemble", "--json").out)["fragments"]
    found = re.fullmatch(r"NH4⁺ ([+-]\d\.\d{3}) e, H2O ([+-]\d\.\d{3}) e at 30 Å \(right: \+1, 0\)", told)
    assert found
    assert float(found[1]) + float(found[2]) == pytest.approx(1.0, abs=0.0015)
    assert abs(float(found[1]) - 1.0) > 0.01  # random weights share the charge among all atoms


def test_fragments_of_unknown_elements_are_not_measured(run: Any) -> None:
    plain = tiny_checkpoint()
    level = replace(plain.config.fidelities[0], elements=(1, 6, 8))
    checkpoint.save("no-nitrogen", replace(plain, config=replace(plain.config, fidelities=(level,))))
    told = json.loads(run("info", "no-nitrogen", "--json").out)["fragments"]
    assert told == "not measured: the model does not know H, N and O"


def test_fidelities_are_shown_with_their_elements(run: Any, models: Path) -> None:
    described = json.loads(run("info", models / "no-oxygen", "--json").out)["fidelities"]
    assert [level["name"] for level in described] == ["pbe0", "gfn2", "b3lyp"]
    assert described[0]["elements"] == described[2]["elements"] == ["H", "C", "N", "O"]
    assert described[1] == {
        "name": "gfn2", "functional": "not recorded", "dispersion": "in the labels", "elements": ["H", "C", "N"]
    }  # fmt: skip
    assert "in the labels, elements H, C, N; name b3lyp" in run("info", models / "no-oxygen").out


def test_published_names_are_listed(run: Any) -> None:
    result = run("info")
    assert result.status == 0
    assert [line.split()[0] for line in result.out.splitlines()] == [*PUBLISHED, *BUNDLED]


def test_a_published_model_names_its_paper(run: Any, published: None) -> None:
    values = json.loads(run("info", "wb97m-d3", "--json").out)
    assert values["members"] == 4
    assert "10.1039/D4SC08572H" in values["provenance"]["citation"]
    assert values["fidelities"] == [{"name": "wb97m-d3", "functional": "wb97m", "dispersion": "d3bj:wb97m"}]
    assert "aimnet2_wb97m-d3_ens.jpt" in values["files"][0]


def test_models_that_cannot_be_read_are_refused_in_one_line(run: Any, models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "single", tmp_path / "cut")
    weights = tmp_path / "cut" / checkpoint.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1])
    shutil.copytree(models / "single", tmp_path / "bare")
    (tmp_path / "bare" / checkpoint.CONFIG).unlink()
    (tmp_path / "unknown.jpt").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "notes.txt").write_text("hello")
    for name, status, text in (
        ("wb97m", 2, "did you mean 'wb97m-d3'?"),
        ("missing/folder.pt", 2, "Published models: wb97m-d3, b973c-d3"),
        ("../../x", 2, "no model '../../x'"),
        ("bare", 2, "config.json is missing"),
        ("cut", 4, "sha256 does not match"),
        ("unknown.jpt", 4, "pass --trusted"),
        ("notes.txt", 4, "expected a published name, a model directory, or a file ending in .jpt or .pt"),
    ):
        result = run("info", name)
        assert (result.status, result.out) == (status, ""), name
        assert text in result.err
        assert result.err.count("\n") == 1
    damaged = run("info", "unknown.jpt", "--trusted")
    assert damaged.status == 4
    assert "is not a TorchScript file" in damaged.err


@pytest.mark.parametrize("option", ["--jsn", "--model"])
def test_unknown_options_are_refused(run: Any, option: str) -> None:
    assert run("info", option).status == 2


def broken(what: str, value: Any) -> checkpoint.Checkpoint:
    """A model whose configuration cannot be: a field of it, of its fidelity or of the arguments of its network."""
    plain = tiny_checkpoint()
    if what in ("dispersion", "elements"):
        fidelity = replace(plain.config.fidelities[0], **{what: value})
        return replace(plain, config=replace(plain.config, fidelities=(fidelity,)))
    if what == "arguments":
        return replace(plain, config=replace(plain.config, arguments={**plain.config.arguments, **value}))
    return replace(plain, config=replace(plain.config, **{what: value}))


@pytest.mark.parametrize(
    ("what", "value", "message"),
    [
        ("dispersion", "d3bj:pbbe0", "fidelity 'pbe0' of the model is completed by 'd3bj:pbbe0': no D3 parameters for"),
        ("dispersion", "d9:pbe0", "fidelity 'pbe0' of the model is completed by 'd9:pbe0'"),
        ("elements", (1, 92), "has elements that its network does not know: U (Z=92)"),
        ("arguments", {"elements": [1, 1, 6, 8]}, "elements=(1, 1, 6, 8): one is named twice"),
        ("arguments", {"elements": [1, 8, 200]}, "elements=(1, 8, 200); allowed are"),
        ("coulomb", "simpel", "unknown Coulomb method 'simpel'"),
        ("coulomb_options", {"cutof": 9.0}, "unknown option 'cutof' of the Coulomb sum 'simple'"),
        ("repulsion", "zbll", "unknown repulsion 'zbll'"),
    ],
    ids=lambda value: str(value) if not isinstance(value, dict) else "",
)
def test_what_energy_refuses_is_refused_in_the_same_words(
    run: Any, water: Path, what: str, value: Any, message: str
) -> None:
    checkpoint.save("model", broken(what, value))
    for words in (("info", "model"), ("energy", water, "--model", "model")):
        result = run(*words)
        assert (result.status, result.out) == (4, "")
        assert message in result.err
