"""``molcalc convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from molcalc import checkpoint


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
