"""``molcalc export``, and ``molcalc info`` of what it wrote."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from molcalc.io import checkpoint
from molcalc.io.seals import SEAL, sealed
from molcalc.pretrained.foreign.exported import CONTENTS, read_contents
from tests.helpers.networks import uneven_checkpoint


@pytest.fixture(scope="session")
def levels(models: Path) -> Path:
    """A model directory of three fidelities: gfn2, wb97m (dispersion in its labels), pbe0."""
    checkpoint.save(models / "levels", uneven_checkpoint())
    return models / "levels"


def test_the_command_of_the_readme(run: Any, levels: Path, tmp_path: Path) -> None:
    result = run("export", levels, "--fidelity", "pbe0", "--dispersion", "d3bj:pbe0", "--output", "model_pbe0.jpt")
    assert result.status == 0, result.err
    assert "torchscript, fidelity pbe0, 1 network(s), H C N O, dispersion d3bj:pbe0" in result.out
    assert {path.name for path in tmp_path.iterdir()} == {"model_pbe0.jpt", "model_pbe0.jpt.json"}


def test_a_folder_is_written_without_ending(run: Any, levels: Path, tmp_path: Path) -> None:
    assert run("export", levels, "--fidelity", "wb97m", "-o", "part").status == 0
    described = json.loads(run("info", "part", "--json").out)
    assert described["kind"] == "aimnet2"
    assert described["elements"] == ["H", "C", "O"]
    (level,) = described["fidelities"]
    assert (level["name"], level["functional"], level["dispersion"]) == ("wb97m", "wb97m", "in the labels")
    assert "exported from" in described["provenance"]


def test_own_constants_of_the_dispersion(run: Any, levels: Path, tmp_path: Path) -> None:
    constants = ("--s8", "0.5", "--a1", "0.4", "--a2", "5")
    assert run("export", levels, "--fidelity", "pbe0", *constants, "-o", "a.jpt").status == 0
    found = json.loads((tmp_path / "a.jpt.json").read_text())["dispersion_parameters"]
    assert {key: found[key] for key in ("s6", "s8", "a1", "a2")} == {"s6": 1.0, "s8": 0.5, "a1": 0.4, "a2": 5.0}
    assert run("export", levels, "--fidelity", "pbe0", "--s6", "0.9", *constants, "-o", "b.jpt").status == 0
    assert json.loads((tmp_path / "b.jpt.json").read_text())["dispersion_parameters"]["s6"] == 0.9
    assert run("export", levels, "--fidelity", "pbe0", "--dispersion", "none", "-o", "c.jpt").status == 0
    assert json.loads((tmp_path / "c.jpt.json").read_text())["dispersion"] is None


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--fidelity", "pbe", "-o", "x.jpt"), "did you mean 'pbe0'"),
        (("-o", "x.jpt"), "gfn2"),
        (("--fidelity", "pbe0"), "--output"),
        (("--fidelity", "pbe0", "-o", "x.onnx"), "unknown ending '.onnx'; .jpt is"),
        (("--fidelity", "wb97m", "--dispersion", "d3bj:wb97m", "-o", "x.jpt"), "count it twice"),
        (("--fidelity", "wb97m", "--s8", "1", "--a1", "1", "--a2", "1", "-o", "x.jpt"), "count it twice"),
        (("--fidelity", "pbe0", "--s8", "1", "-o", "x.jpt"), "need --a1, --a2 too"),
        (("--fidelity", "pbe0", "--s6", "1", "--dispersion", "none", "-o", "x.jpt"), "--s6 exclude each other"),
        (("--fidelity", "pbe0", "--a1", "nan", "-o", "x.jpt"), "'nan' is not a number"),
        (("--fidelity", "pbe0", "--dispersion", "d3bj:pbbe0", "-o", "x.jpt"), "no D3 parameters for functional"),
        (("--fidelity", "pbe0", "--dtype", "half", "-o", "x.jpt"), "invalid choice: 'half'"),
        (("--fidelity", "pbe0", "--aot", "-o", "x.jpt"), "does not end in .pt2"),
        (("--fidelity", "pbe0", "--dispersoin", "none", "-o", "x.jpt"), "did you mean '--dispersion'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_are_refused_in_one_line(
    run: Any, levels: Path, tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    result = run("export", levels, *arguments)
    assert result.status == 2, result.err
    assert text in result.err
    assert result.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_files_are_replaced_with_force_only(run: Any, models: Path, tmp_path: Path) -> None:
    assert run("export", models / "single", "-o", "x.jpt").status == 0
    refused = run("export", models / "ensemble", "-o", "x.jpt")
    assert refused.status == 2
    assert "x.jpt exists: give another name, or --force" in refused.err
    assert run("export", models / "ensemble", "--member", "1", "-o", "x.jpt", "--force").status == 0
    assert json.loads((tmp_path / "x.jpt.json").read_text())["members"] == 1


def test_info_describes_a_program_without_running_it(run: Any, models: Path, tmp_path: Path) -> None:
    assert run("export", models / "open", "-o", "x.jpt", "--dtype", "float32").status == 0
    found = json.loads(run("info", "x.jpt", "--json").out)
    assert found["kind"] == "program (torchscript)"
    assert found["elements"] == ["H", "C", "N", "O"]
    assert found["fidelities"] == [{"name": "pbe0", "functional": "pbe0", "dispersion": "d3bj:pbe0"}]
    assert found["dispersion"]["s8"] == 1.2177
    assert found["coulomb"] == "simple, beyond 4.6 Å"
    assert (found["open shells"], found["charged"], found["dtype"]) == ("yes", "yes", "float32")
    assert found["inputs"].keys() == {"coord", "numbers", "charge", "mult"}
    assert found["sha256"].endswith("as in x.jpt.json")
    text = run("info", "x.jpt")
    assert text.status == 0
    assert "molcalc" in text.out


def test_info_refuses_a_changed_file_and_a_damaged_description(run: Any, models: Path, tmp_path: Path) -> None:
    run("export", models / "single", "-o", "x.jpt")
    side = tmp_path / "x.jpt.json"
    text = side.read_text()
    values = {key: value for key, value in json.loads(text).items() if key != SEAL}
    for content, reason in (
        (json.dumps(sealed({**values, "sha256": "0" * 64})), "not that in x.jpt.json"),
        (text.replace("pbe0", "pbe1", 1), "x.jpt.json is damaged: 'sha256 does not match"),
        ("{", "x.jpt.json is damaged"),
        ("[]", "x.jpt.json is damaged"),
    ):
        side.write_text(content)
        result = run("info", "x.jpt")
        assert (result.status, result.err.count("\n")) == (4, 1)
        assert reason in result.err
    side.unlink()
    found = json.loads(run("info", "x.jpt", "--json").out)
    assert found["sha256"].endswith("not compared: x.jpt.json is missing")


def edit_archive(path: Path, name: str, content: bytes) -> None:
    """Replace a record, named without the folder that all are in."""
    with zipfile.ZipFile(path) as archive:
        records = {record: archive.read(record) for record in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for record, data in records.items():
            archive.writestr(record, content if record.partition("/")[2] == name else data)


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"export_format": 99}', '{"export_format": 1}', '{"export_format": 1, "form": 3}', "x" * (1 << 19)],
    ids=lambda content: content[:30],
)
def test_info_refuses_damaged_descriptions_in_one_line(run: Any, models: Path, tmp_path: Path, content: str) -> None:
    run("export", models / "single", "-o", "x.jpt")
    edit_archive(tmp_path / "x.jpt", f"extra/{CONTENTS}", content.encode())
    result = run("info", "x.jpt")
    assert result.status == 4
    assert result.err.count("\n") == 1
    assert CONTENTS in result.err or "export format" in result.err


def test_other_files_have_no_description(tmp_path: Path) -> None:
    assert read_contents(b"", Path("x")) is None
    assert read_contents(b"PK\x03\x04", Path("x")) is None
