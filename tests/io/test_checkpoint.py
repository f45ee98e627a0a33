"""Model directories come back bit for bit, and damage to them is always noticed."""

from __future__ import annotations

import json
import os
import resource
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from ase import Atoms
from safetensors.torch import save as pack

from molcalc import calculators
from molcalc.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointMismatchError,
    ConfigError,
    ResourceError,
)
from molcalc.fidelity import Fidelity
from molcalc.io import checkpoint
from molcalc.io.checkpoint import (
    CONFIG,
    FORMAT_VERSION,
    WEIGHTS,
    Checkpoint,
    ModelConfig,
    load,
    save,
    upgrade_1_to_2,
)
from molcalc.io.files import read_file
from molcalc.pretrained.sources import read_model
from molcalc.registry import MODELS
from tests.helpers.model_files import STATE, edit_config, flip, number_in, numbered, replace_weights, save_numbered
from tests.helpers.networks import small_checkpoint

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
ARCHIVES = sorted(DATA.glob("v*/*"), key=lambda folder: (len(folder.parent.name), folder))
ARCHIVE_ENERGY = 1e-10  # eV
ARCHIVE_FORCES = 1e-10  # eV/Å
ARCHIVE_CHARGES = 1e-12  # e


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Folder of a small valid model."""
    save(tmp_path / "model", small_checkpoint())
    return tmp_path / "model"


@pytest.mark.parametrize("channels", [1, 2], ids=["closed shell", "open shell"])
def test_weights_return_bit_for_bit_and_in_their_precision(tmp_path: Path, channels: int) -> None:
    model = small_checkpoint(channels, n_members=2)
    save(tmp_path / "m", model)
    loaded = load(tmp_path / "m")
    assert loaded.weights.keys() == model.weights.keys()
    assert {value.dtype for value in loaded.weights.values()} == {torch.float32, torch.float64}
    for name, value in model.weights.items():
        assert loaded.weights[name].dtype == value.dtype
        assert torch.equal(loaded.weights[name], value), name
    assert loaded.hash == model.hash


def test_every_option_of_the_configuration_returns(tmp_path: Path) -> None:
    fidelities = (
        Fidelity(name="ωB97M", functional="wb97m", dispersion="d3bj:wb97m"),
        Fidelity(name="pbe0", functional="pbe0", dispersion_in_labels=True),
    )
    config = ModelConfig(
        kind="aimnet2",
        arguments={"elements": [1, 8], "cutoff": 4.7, "exact_charges": False},
        n_members=3,
        fidelities=fidelities,
        coulomb="simple",
        coulomb_range=4.6,
        neutral_only=True,
        provenance={"source": "a file of mine.pt", "citation": "Müller, doi:10.1/2"},
    )
    save(tmp_path / "m", Checkpoint(config, {"a": torch.zeros(1)}))
    assert load(tmp_path / "m").config == config


def test_saving_a_loaded_model_gives_the_same_bytes(tmp_path: Path, saved: Path) -> None:
    save(tmp_path / "copy", load(saved))
    for name in (CONFIG, WEIGHTS):
        assert (tmp_path / "copy" / name).read_bytes() == (saved / name).read_bytes()


def test_arrays_that_share_memory_can_be_saved(tmp_path: Path) -> None:
    table = torch.arange(6.0).reshape(2, 3)
    model = Checkpoint(numbered(0).config, {"whole": table, "again": table, "row": table[1], "turned": table.T})
    save(tmp_path / "m", model)
    assert all(torch.equal(value, model.weights[name]) for name, value in load(tmp_path / "m").weights.items())


def test_saving_does_not_change_the_model_in_memory(tmp_path: Path) -> None:
    model = small_checkpoint()
    before = {name: value.clone() for name, value in model.weights.items()}
    save(tmp_path / "m", model)
    assert all(torch.equal(model.weights[name], value) for name, value in before.items())


def test_hash_tells_weights_and_options_apart() -> None:
    model = small_checkpoint()
    weights = {**model.weights, "members.0.shifts": model.weights["members.0.shifts"] + 1e-9}
    others = [
        Checkpoint(model.config, weights),
        Checkpoint(replace(model.config, coulomb_range=4.5), model.weights),
        Checkpoint(replace(model.config, neutral_only=True), model.weights),
        Checkpoint(model.config, {f"{name}'": value for name, value in model.weights.items()}),
        Checkpoint(model.config, {name: value.double() for name, value in model.weights.items()}),
        Checkpoint(model.config, {name: value.flatten() for name, value in model.weights.items()}),
    ]
    assert len({model.hash, *(other.hash for other in others)}) == 7


def test_hash_does_not_depend_on_order_or_memory_layout() -> None:
    model = small_checkpoint()
    other = {
        name: value.clone().T.contiguous().T if value.ndim == 2 else value for name, value in model.weights.items()
    }
    assert Checkpoint(model.config, dict(reversed(other.items()))).hash == model.hash


def test_extra_files_are_covered_by_the_checksums(tmp_path: Path) -> None:
    save_numbered(tmp_path / "m", 1)
    assert number_in(tmp_path / "m") == 1
    flip(tmp_path / "m" / STATE, 0)
    with pytest.raises(CheckpointCorruptError, match=rf"{STATE}: sha256"):
        checkpoint.load_with(tmp_path / "m", (STATE,))


def test_an_extra_file_that_was_not_saved_is_named(saved: Path) -> None:
    with pytest.raises(CheckpointCorruptError, match=f"lists no {STATE}"):
        checkpoint.load_with(saved, (STATE,))


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "../x", "a/b", "a\\b", "/etc/x", "..", "", "a\0b"])
def test_extra_files_cannot_leave_the_folder_or_replace_others(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be named"):
        save(tmp_path / "m", numbered(1), {name: b""})
    assert not (tmp_path / "m").exists()


def test_path_with_spaces_accents_and_at_sign(tmp_path: Path) -> None:
    folder = tmp_path / "mon modèle @2 ü" / "größe"
    save(folder, small_checkpoint())
    assert read_model(str(folder)).hash == small_checkpoint().hash


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.999], ids="{:.1%}".format)
def test_truncated_files_are_refused(saved: Path, name: str, kept: float) -> None:
    path = saved / name
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(CheckpointCorruptError, match=name):
        load(saved)


@pytest.mark.parametrize("place", [0, 8, 200, 0.5, -1], ids=["length", "header", "names", "numbers", "last byte"])
def test_one_flipped_bit_of_the_weights_is_refused(saved: Path, place: float) -> None:
    size = (saved / WEIGHTS).stat().st_size
    flip(saved / WEIGHTS, int(place * size) if isinstance(place, float) else place)
    with pytest.raises(CheckpointCorruptError, match=r"weights\.safetensors: sha256 does not match.*restore"):
        load(saved)


def test_flipped_bits_of_the_configuration_are_refused(saved: Path) -> None:
    original = (saved / CONFIG).read_bytes()
    for position in range(0, len(original), 7):
        flip(saved / CONFIG, position, position % 8)
        with pytest.raises(CheckpointError):
            load(saved)
        (saved / CONFIG).write_bytes(original)
    load(saved)


def test_added_bytes_are_refused(saved: Path) -> None:
    with open(saved / WEIGHTS, "ab") as handle:
        handle.write(b"\0")
    with pytest.raises(CheckpointCorruptError, match="sha256"):
        load(saved)


def test_weights_of_another_model_are_refused(tmp_path: Path, saved: Path) -> None:
    save(tmp_path / "other", small_checkpoint(seed=6))
    shutil.copy(tmp_path / "other" / WEIGHTS, saved)
    with pytest.raises(CheckpointCorruptError, match="exchanged"):
        load(saved)


def test_missing_weights_are_named(saved: Path) -> None:
    (saved / WEIGHTS).unlink()
    with pytest.raises(CheckpointCorruptError, match=rf"{WEIGHTS} is missing"):
        load(saved)


def test_a_folder_in_place_of_the_weights_is_refused(saved: Path) -> None:
    (saved / WEIGHTS).unlink()
    (saved / WEIGHTS).mkdir()
    with pytest.raises(CheckpointError, match="not a regular file"):
        load(saved)


def test_a_pipe_in_place_of_the_configuration_does_not_hang(saved: Path) -> None:
    (saved / CONFIG).unlink()
    os.mkfifo(saved / CONFIG)
    with pytest.raises(CheckpointError, match="not a regular file"):
        load(saved)


def test_a_folder_without_configuration_is_no_model(saved: Path) -> None:
    (saved / CONFIG).unlink()
    with pytest.raises(FileNotFoundError, match=r"not a model directory: config\.json is missing"):
        load(saved)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no model directory at .*nothing"):
        load(tmp_path / "nothing")


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b"1", b'"sha256"', b"{}", b'{"sha256": 1}', b"\xff\xfe{}", b"{" * 50_000, b"[" * 500_000]
    + [b'{"a":' * 1000, b'{"sha256": {}, "format_version": 1, "a": NaN}', b"\0" * 100, b"9" * 10_000],
    ids=lambda content: f"{content[:12].decode('latin1')!r}",
)
def test_a_configuration_that_is_none_is_refused(saved: Path, content: bytes) -> None:
    (saved / CONFIG).write_bytes(content)
    with pytest.raises(CheckpointCorruptError, match=r"config\.json"):
        load(saved)


def test_a_huge_configuration_is_refused_unread(saved: Path) -> None:
    os.truncate(saved / CONFIG, 2**20)
    with pytest.raises(CheckpointCorruptError, match="1048576 bytes; at most"):
        load(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_numbers_that_are_not_finite_are_no_json(saved: Path, value: float) -> None:
    edit_config(saved, lambda values: values["arguments"].update(cutoff=value))
    with pytest.raises(CheckpointCorruptError, match="is not a number"):
        load(saved)


def test_a_huge_file_of_weights_is_refused_unread(saved: Path) -> None:
    os.truncate(saved / WEIGHTS, 10**13)
    with pytest.raises(CheckpointCorruptError, match="10000000000000 bytes; at most"):
        load(saved)


def test_a_file_that_does_not_fit_into_memory_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 2**31)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 2**28, hard))
    try:
        with pytest.raises(ResourceError, match="2147483648 bytes and does not fit into memory"):
            read_file(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_a_hand_edited_configuration_is_refused(saved: Path) -> None:
    edit_config(saved, lambda values: values.update(coulomb_range=4.5), seal=False)
    with pytest.raises(CheckpointCorruptError, match="sha256 does not match: the file was damaged or edited"):
        load(saved)


def test_a_newer_format_asks_for_a_newer_package(saved: Path) -> None:
    edit_config(saved, lambda values: values.update(format_version=FORMAT_VERSION + 1), seal=False)
    with pytest.raises(CheckpointMismatchError, match=f"format version {FORMAT_VERSION + 1}.*install a newer molcalc"):
        load(saved)


@pytest.mark.parametrize("version", [0, -1, "1", None, True, 1.0, [1]], ids=repr)
def test_a_format_version_that_never_existed_is_refused(saved: Path, version: Any) -> None:
    edit_config(saved, lambda values: values.update(format_version=version))
    with pytest.raises(CheckpointCorruptError, match="format version"):
        load(saved)


def test_other_units_are_refused(saved: Path) -> None:
    edit_config(saved, lambda values: values["units"].update(energy="Hartree"))
    with pytest.raises(CheckpointMismatchError, match="units.*Hartree.*expected.*eV"):
        load(saved)


def test_values_that_are_not_finite_are_refused_on_load(saved: Path) -> None:
    weights = small_checkpoint().weights
    weights["members.0.conv_features"][0, 0, 0] = float("nan")
    replace_weights(saved, pack(weights))
    with pytest.raises(CheckpointCorruptError, match=r"not finite: members\.0\.conv_features"):
        load(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")], ids=str)
def test_values_that_are_not_finite_are_refused_on_save(saved: Path, value: float) -> None:
    before = load(saved).hash
    model = small_checkpoint(seed=8)
    model.weights["members.0.shifts"][0, 6] = value
    with pytest.raises(CheckpointError, match=r"refusing to save: not finite: members\.0\.shifts.*last good"):
        save(saved, model)
    assert load(saved).hash == before
    assert sorted(os.listdir(saved)) == [CONFIG, WEIGHTS]


def test_options_that_are_not_finite_are_refused_on_save(tmp_path: Path) -> None:
    model = small_checkpoint()
    config = replace(model.config, arguments={**model.config.arguments, "cutoff": float("nan")})
    with pytest.raises(CheckpointError, match="refusing to save"):
        save(tmp_path / "m", Checkpoint(config, model.weights))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_members": 0}, r"n_members=0; allowed are 1…64"),
        ({"n_members": 10**9}, r"n_members=1000000000"),
        ({"n_members": "2"}, r"n_members: '2' is a str; expected int"),
        ({"fidelities": []}, r"fidelities=\[\]; at least one"),
        ({"fidelities": [{"name": "a"}, {"name": "a"}]}, "different names"),
        (
            {"fidelities": [{"name": "a", "dispersions": None}]},
            r"unknown key 'dispersions' \(did you mean 'dispersion'",
        ),
        ({"coulomb_range": -1.0}, "coulomb_range=-1.0 Å; expected a positive length"),
        ({"provenance": {"source": 1}}, r"provenance\.source: 1 is a int; expected str"),
        ({"kind": None}, "kind: None is a NoneType; expected str"),
        ({"class": "os.system"}, "unknown key 'class'"),
        ({"arguments": [1]}, "arguments: .* expected a mapping"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_options_that_fit_no_model_are_refused(saved: Path, changes: dict[str, Any], message: str) -> None:
    edit_config(saved, lambda values: values.update(changes))
    with pytest.raises(CheckpointMismatchError, match=message):
        load(saved)


def test_the_same_options_are_refused_in_a_program() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        ModelConfig(kind="aimnet2", arguments={}, fidelities=())


KINDS_SINCE = {"aimnet2-dcm": 2, "aimnet2-noneq-dcm": 2}
"""First version of the format that had a kind of model, where it is not the first."""


@pytest.mark.parametrize("folder", ARCHIVES, ids=lambda folder: f"{folder.parent.name} {folder.name}")
def test_an_archived_model_gives_its_energies_forces_and_charges(folder: Path) -> None:
    """Energies of the version of molcalc that wrote the first archive of the model."""
    assert json.loads((folder / CONFIG).read_text())["format_version"] == int(folder.parent.name.removeprefix("v"))
    reference = json.loads((folder / "reference.json").read_text())
    atoms = Atoms(reference["numbers"], reference["positions"])
    for fidelity, expected in reference["results"].items():
        calc = getattr(calculators, reference["calculator"])(
            folder, fidelity=fidelity, charge=reference["charge"], dtype="float64"
        )
        assert calc.get_potential_energy(atoms) == pytest.approx(expected["energy"], abs=ARCHIVE_ENERGY)
        np.testing.assert_allclose(calc.get_forces(atoms), expected["forces"], atol=ARCHIVE_FORCES)
        np.testing.assert_allclose(calc.get_charges(atoms), expected["charges"], atol=ARCHIVE_CHARGES)


def test_every_version_has_archives_of_every_kind() -> None:
    for version in range(1, FORMAT_VERSION + 1):
        found = {load(folder).config.kind for folder in ARCHIVES if folder.parent.name == f"v{version}"}
        assert found == {kind for kind in MODELS if KINDS_SINCE.get(kind, 1) <= version}


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION), ids="version {}".format)
def test_an_old_model_has_the_hash_of_the_same_model_in_the_present_format(version: int) -> None:
    names = {folder.name for folder in ARCHIVES if folder.parent.name == f"v{version}"}
    newest = {folder.name: folder for folder in ARCHIVES if folder.parent.name == f"v{FORMAT_VERSION}"}
    assert names <= newest.keys()
    for name in names:
        assert load(DATA / f"v{version}" / name).hash == load(newest[name]).hash


def test_an_upgrade_leaves_what_it_is_given() -> None:
    config = {"kind": "aimnet2-multi", "arguments": {"elements": [1]}}
    weights = {"members.0.shifts": torch.zeros(2, 3)}
    upgraded, _ = upgrade_1_to_2(config, weights)
    assert config == {"kind": "aimnet2-multi", "arguments": {"elements": [1]}}
    assert upgraded["kind"] == "aimnet2"
    assert upgraded["arguments"]["n_fidelities"] == 2


@pytest.mark.parametrize("arguments", [None, [1], "x", {"n_fidelities": "many"}], ids=repr)
def test_an_old_configuration_that_fits_no_model_is_refused(tmp_path: Path, arguments: Any) -> None:
    shutil.copytree(DATA / "v1" / "aimnet2", tmp_path / "m")
    edit_config(tmp_path / "m", lambda values: values.update(arguments=arguments))
    with pytest.raises(CheckpointMismatchError, match="arguments"):
        read_model(tmp_path / "m")


def test_archives_are_small() -> None:
    for folder in ARCHIVES:
        assert sum(path.stat().st_size for path in folder.iterdir()) < 100_000
