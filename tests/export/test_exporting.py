"""What is written where, what describes it, and what is refused before anything is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from molcalc._version import __version__
from molcalc.calculators import AIMNet2
from molcalc.errors import (
    CheckpointError,
    CheckpointMismatchError,
    ConfigError,
    FidelityError,
    InputError,
    ResourceError,
    UnsafeCheckpointError,
)
from molcalc.export import export
from molcalc.io import checkpoint
from molcalc.io.checkpoint import CONFIG, WEIGHTS
from molcalc.io.files import sha256
from molcalc.io.seals import unsealed
from tests.helpers.networks import FIDELITY_KINDS, REFERENCE_ENERGIES, tiny_checkpoint, tiny_dcm, uneven_checkpoint
from tests.helpers.structures import organic


def energy(calc: AIMNet2) -> float:
    atoms = organic()
    atoms.calc = calc
    return float(atoms.get_potential_energy())


def test_the_sidecar_says_what_the_file_contains(tmp_path: Path) -> None:
    model = uneven_checkpoint(2, n_members=2)
    done = export(model, tmp_path / "pbe0.jpt", fidelity="pbe0", dispersion="d3bj:b3lyp", dtype="float32")
    assert (done.path, done.sidecar) == (tmp_path / "pbe0.jpt", tmp_path / "pbe0.jpt.json")
    found = json.loads(done.sidecar.read_text())
    assert found["form"] == "torchscript"
    assert (found["fidelity"], found["functional"]) == ("pbe0", "pbe0")
    assert found["dispersion"] == "d3bj:b3lyp"
    assert {key: found["dispersion_parameters"][key] for key in ("s6", "s8", "a1", "a2", "s9")} == {
        **{"s6": 1.0, "s8": 1.9889, "a1": 0.3981, "a2": 4.4211, "s9": 0.0}  # Grimme, Ehrlich, Goerigk 2011, table 2
    }
    assert (found["coulomb"], found["coulomb_range"], found["repulsion"]) == ("simple", 4.6, None)
    assert found["elements"] == ["H", "C", "N", "O"]
    assert found["self_atomic_energies"].keys() == {"H", "C", "N", "O"}
    assert [len(values) for values in found["self_atomic_energies"].values()] == [2, 2, 2, 2]
    assert (found["cutoff"], found["units"]["energy"], found["dtype"], found["members"]) == (5.0, "eV", "float32", 2)
    assert (found["charged"], found["open_shells"]) == (True, True)
    assert found["outputs"].keys() >= {"energy", "forces", "charges", "spin_charges", "energy_std", "forces_std"}
    assert found["source_hash"] == model.hash
    assert found["molcalc"] == __version__
    assert found["file"] == "pbe0.jpt"
    assert found["sha256"] == sha256(done.path.read_bytes())
    assert str(tmp_path) not in done.sidecar.read_text()
    extra = {"molcalc.json": ""}
    torch.jit.load(done.path, _extra_files=extra)
    inside = json.loads(extra["molcalc.json"])
    assert unsealed(inside) == {name: found[name] for name in unsealed(inside)}
    assert unsealed(found).keys() - inside.keys() == {"file", "bytes", "sha256"}


def test_self_atomic_energies_are_those_of_the_model(tmp_path: Path) -> None:
    found = json.loads(export(tiny_checkpoint(), tmp_path / "x.jpt").sidecar.read_text())
    energies = dict(zip(("H", "C", "N", "O"), ([value] for value in REFERENCE_ENERGIES.values())))
    assert found["self_atomic_energies"] == energies


@pytest.mark.parametrize("kind", ["separate", "all"])
@pytest.mark.parametrize("wish", ["auto", None, "d3bj:b3lyp", "d4:pbe0"], ids=str)
def test_a_model_directory_of_one_fidelity_opens_as_any_other(tmp_path: Path, kind: str, wish: str | None) -> None:
    model = uneven_checkpoint(n_members=2, **FIDELITY_KINDS[kind])
    done = export(model, tmp_path / "pbe0", fidelity="pbe0", dispersion=wish)
    assert done.sidecar == tmp_path / "pbe0" / CONFIG
    assert {path.name for path in done.path.iterdir()} == {CONFIG, WEIGHTS}
    part, whole = AIMNet2(done.path, dtype="float64"), AIMNet2(model, fidelity="pbe0", dispersion=wish, dtype="float64")
    assert energy(part) == pytest.approx(energy(whole), abs=1e-9)
    declared = checkpoint.load(done.path).config
    assert len(declared.fidelities) == 1
    assert model.hash in declared.provenance["exported from"]


@pytest.mark.parametrize("kind", ["separate", "all"])
def test_an_exported_program_opens_as_a_model_when_it_is_trusted(tmp_path: Path, kind: str) -> None:
    model = uneven_checkpoint(2, n_members=2, **FIDELITY_KINDS[kind])
    export(model, tmp_path / "x.jpt", fidelity="pbe0")
    with pytest.raises(UnsafeCheckpointError, match="better, export a model directory: a name without ending"):
        AIMNet2(tmp_path / "x.jpt")
    part = AIMNet2(tmp_path / "x.jpt", trusted=True, dtype="float64")
    assert energy(part) == pytest.approx(energy(AIMNet2(model, fidelity="pbe0", dtype="float64")), abs=1e-9)


def test_a_program_of_torch_export_does_not_open_as_a_model(tmp_path: Path) -> None:
    (tmp_path / "x.pt2").write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError, match="run it with torch.export.load, or export a model directory"):
        AIMNet2(tmp_path / "x.pt2", trusted=True)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("x.pt", {}, ConfigError, r"unknown ending '.pt'; .jpt is a TorchScript program, .pt2 .* model directory"),
        ("x.jpt", {"dtype": "float16"}, ConfigError, "dtype='float16'.*choose one of"),
        ("x", {"dtype": "float32"}, ConfigError, "dtype='float32' is for programs"),
        ("x.jpt", {"aot": True}, ConfigError, "x.jpt does not end in .pt2"),
        ("no/x.jpt", {}, InputError, "the folder .*no does not exist"),
        ("x.jpt", {"fidelity": "pbe"}, FidelityError, "did you mean 'pbe0'"),
        ("x.jpt", {"member": 3}, ConfigError, "member=3"),
        ("x.jpt", {"dispersion": "d3bj:pbe00"}, ConfigError, "near matches"),
        ("x.jpt", {"dispersion": "d3:pbe0"}, ConfigError, "did you mean 'd3bj'"),
    ],
)
def test_wrong_options_are_refused(
    tmp_path: Path, name: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        export(tiny_checkpoint(), tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_compiling_without_a_compiler_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match="needs a C.. compiler, and none is found"):
        export(tiny_checkpoint(), tmp_path / "x.pt2", aot=True)


def test_a_torch_that_is_too_old_for_a_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molcalc.export.program_files.OLDEST_TORCH", "99.0")
    with pytest.raises(ConfigError, match=r"\(.pt2\) need torch 99.0, and this is torch .*TorchScript"):
        export(tiny_checkpoint(), tmp_path / "x.pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x.jpt", "x"])
def test_nothing_is_replaced_unless_asked_to(tmp_path: Path, name: str) -> None:
    first = export(tiny_checkpoint(), tmp_path / name)
    before = first.sidecar.read_bytes()
    with pytest.raises(InputError, match="exists: give another name, or --force"):
        export(tiny_checkpoint(seed=9), tmp_path / name)
    assert first.sidecar.read_bytes() == before
    export(tiny_checkpoint(seed=9), tmp_path / name, force=True)
    assert first.sidecar.read_bytes() != before


def test_a_description_alone_is_not_replaced_either(tmp_path: Path) -> None:
    (tmp_path / "x.jpt.json").write_text("mine")
    with pytest.raises(InputError, match="x.jpt.json exists"):
        export(tiny_checkpoint(), tmp_path / "x.jpt")
    assert (tmp_path / "x.jpt.json").read_text() == "mine"


def test_folders_with_other_files_and_the_model_itself_are_never_replaced(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "run", tiny_checkpoint())
    with pytest.raises(InputError, match="is an input and the target"):
        export(tmp_path / "run", tmp_path / "run", force=True)
    checkpoint.save(tmp_path / "other", tiny_checkpoint(), {"training_state.pt": b"x"})
    with pytest.raises(InputError, match="folder with other files .training_state.pt."):
        export(tmp_path / "run", tmp_path / "other", force=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file; a model directory is a folder"):
        export(tmp_path / "run", tmp_path / "file", force=True)
    (tmp_path / "d.jpt").mkdir()
    with pytest.raises(InputError, match="is a folder; give the name of a file"):
        export(tmp_path / "run", tmp_path / "d.jpt", force=True)


@pytest.mark.parametrize("name", ["x.jpt", "x.pt2"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Making a program of torch.export takes half a minute; what is written of it is the same."""
    monkeypatch.setattr(
        "molcalc.export.program_files.packed", lambda padded, contents, aot: contents.to_json().encode()
    )
    done = export(tiny_checkpoint(), tmp_path / name)
    before = done.path.read_bytes()

    def full(source: Any, target: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("molcalc.io.files.os.replace", full)
    with pytest.raises(ResourceError, match="No space left"):
        export(tiny_checkpoint(seed=9), tmp_path / name, force=True)
    assert done.path.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {name, f"{name}.json"}


@pytest.mark.parametrize("name", ["x.jpt", "x"])
def test_missing_and_unexpected_weights_are_refused(tmp_path: Path, name: str) -> None:
    whole = uneven_checkpoint()
    lost = {name: value for name, value in whole.weights.items() if not name.endswith("energy_heads.2.0.weight")}
    for weights in (lost, {**whole.weights, "members.0.more": torch.zeros(1)}):
        with pytest.raises(CheckpointMismatchError, match="energy_heads.2.0.weight|members.0.more"):
            export(replace(whole, weights=weights), tmp_path / name, fidelity="gfn2")
    assert not list(tmp_path.iterdir())


def test_runs_of_one_model_make_an_ensemble(tmp_path: Path) -> None:
    runs = [tiny_checkpoint(seed=seed) for seed in (3, 7)]
    done = export(runs, tmp_path / "x")
    assert done.contents.members == 2
    expected = [energy(AIMNet2(run, dtype="float64")) for run in runs]
    assert energy(AIMNet2(done.path, dtype="float64")) == pytest.approx(sum(expected) / 2, abs=1e-9)


def test_other_kinds_of_models_are_refused(tmp_path: Path) -> None:
    model = tiny_dcm()
    with pytest.raises(ConfigError, match="model; aimnet2 models can be exported"):
        export(model, tmp_path / "x.jpt")
