"""Whatever a user names as a model is found, or an error says what was expected."""

from __future__ import annotations

import os
import socket
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ase.build import molecule

from molcalc.calculators import AIMNet2
from molcalc.errors import CheckpointError, UnsafeCheckpointError
from molcalc.io.checkpoint import Checkpoint, save
from molcalc.pretrained.catalog import PUBLISHED
from molcalc.pretrained.sources import read_model
from tests.helpers.model_files import edit_config, write_hub_directory, write_v2

ENERGY = 1e-9  # eV, float64


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names that were looked for on the hub; everything is refused."""
    names: list[str] = []

    def snapshot_download(name: str, **options: Any) -> str:
        names.append(name)
        raise ConnectionError("no network")

    set_hub(monkeypatch, snapshot_download)
    return names


def set_hub(monkeypatch: pytest.MonkeyPatch, download: Callable[..., str]) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=download))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise AssertionError("tried to connect")

    monkeypatch.setattr(socket.socket, "connect", fail)
    monkeypatch.setattr(socket, "getaddrinfo", fail)


def write(form: str, folder: Path, model: Checkpoint, program: Path) -> Path | str:
    if form == "directory":
        save(folder / "m", model)
        return folder / "m"
    if form == "hub directory":
        return write_hub_directory(folder / "hub", model)
    if form == "v2 file":
        return write_v2(folder / "m.pt", model)
    return program if form == "program" else "small"


@pytest.mark.usefixtures("no_network", "small_published")
@pytest.mark.parametrize("as_text", [False, True], ids=["path", "text"])
@pytest.mark.parametrize("form", ["directory", "hub directory", "v2 file", "program", "published name"])
def test_every_form_gives_the_same_first_network(
    tmp_path: Path, ensemble: Checkpoint, program: Path, form: str, as_text: bool
) -> None:
    source = write(form, tmp_path, ensemble, program)
    calc = AIMNet2(
        str(source) if as_text else source, member=0, dtype="float64", dispersion=None, trusted=form == "program"
    )
    expected = AIMNet2(ensemble, member=0, dtype="float64", dispersion=None)
    atoms = molecule("CH3OH")
    assert calc.get_potential_energy(atoms) == pytest.approx(expected.get_potential_energy(atoms), abs=ENERGY)
    assert str(tmp_path) not in str(calc.todict())


def test_a_relative_path_with_a_trailing_slash_is_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Checkpoint, asked: list[str]
) -> None:
    save(tmp_path / "runs" / "m", model)
    monkeypatch.chdir(tmp_path)
    for name in ("runs/m", "runs/m/", "./runs/m", "runs/../runs/m"):
        assert read_model(name).hash == model.hash
    assert not asked


@pytest.mark.parametrize(
    "name",
    ["wb97m", "aimnet2", "nothing.pt", "nothing.jpt", "a/b.pt", "a/b.jpt", "a/b/c", "/a/b", "./a", "../a", "../../x/y"]
    + ["~/a", "a\\b", ".a/b", "a/.b", "a//b", "", ".", "a b/c", "a\0b", "x" * 5000, "é/è", "http://x/y", "a/b\n"],
    ids=lambda name: repr(name[:20]),
)
def test_an_unknown_name_lists_what_is_known_and_asks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        AIMNet2(name)
    if name != ".":
        assert all(known in str(caught.value) for known in PUBLISHED)
        assert "a published name, a model directory, or a file ending in .jpt or .pt" in str(caught.value)
    assert len(str(caught.value)) < 400
    assert not asked


def test_a_misspelt_name_is_suggested() -> None:
    with pytest.raises(FileNotFoundError, match=r"no model 'wb97m-d4' \(did you mean 'wb97m-d3'\?\)"):
        read_model("wb97m-d4")


def test_a_missing_model_in_a_folder_of_ones_own_is_not_looked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="no model 'runs/co2'"):
        read_model("runs/co2")
    assert not asked


@pytest.mark.parametrize("name", ["model.h5", "model", "model.json", "model.safetensors", "model.PT", "model.pt.bak"])
def test_a_file_of_another_kind_names_the_suffixes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("content")
    with pytest.raises(CheckpointError, match=rf"{name} is not a model: .*expected .*\.jpt or \.pt"):
        AIMNet2(tmp_path / name)


@pytest.mark.parametrize("name", ["model.pt", "model.jpt"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_not_a_regular_file_is_refused_without_waiting(tmp_path: Path, name: str, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match="not a regular file"):
        AIMNet2(tmp_path / name)


def test_a_text_file_is_not_an_unknown_program(tmp_path: Path) -> None:
    (tmp_path / "model.jpt").write_text("hello")
    with pytest.raises(CheckpointError):
        AIMNet2(tmp_path / "model.jpt")
    with pytest.raises(CheckpointError, match="is not a TorchScript file"):
        AIMNet2(tmp_path / "model.jpt", trusted=True)


@pytest.mark.parametrize(
    "content", ["directory", "{}", "null", "[1]", '{"a": 1}', "{", '{"sha256": 1, "model_yaml": 2}']
)
def test_a_directory_that_is_no_model_is_refused(tmp_path: Path, content: str) -> None:
    if content != "directory":
        (tmp_path / "config.json").write_text(content)
    error, message = (FileNotFoundError, "config.json is missing")
    if content != "directory":
        error, message = CheckpointError, "config.json"
    with pytest.raises(error, match=message):
        AIMNet2(tmp_path)


def test_an_unknown_architecture_is_refused_when_a_model_is_opened(tmp_path: Path, model: Checkpoint) -> None:
    save(tmp_path / "m", model)
    edit_config(tmp_path / "m", lambda values: values.update(kind="os.system"))
    with pytest.raises(UnsafeCheckpointError, match="unknown architecture 'os.system'"):
        read_model(tmp_path / "m")


# -- the hub


def test_a_repository_is_fetched_without_anything_that_runs_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ensemble: Checkpoint
) -> None:
    folder = write_hub_directory(tmp_path / "snapshot", ensemble)
    calls: list[tuple[str, Any]] = []

    def snapshot_download(name: str, *, allow_patterns: list[str]) -> str:
        calls.append((name, allow_patterns))
        return str(folder)

    set_hub(monkeypatch, snapshot_download)
    monkeypatch.chdir(tmp_path)
    assert read_model("someone/small").config.n_members == 2
    assert calls == [("someone/small", ["config.json", "ensemble_*.safetensors"])]


class StrangeError(Exception):
    """Of the kind that an HTTP library raises for a proxy."""


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("no route\nto host"),
        FileNotFoundError("no snapshot"),
        ValueError("bad name"),
        StrangeError(),
        OSError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_hub_that_cannot_be_reached_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def snapshot_download(name: str, **options: Any) -> str:
        raise error

    set_hub(monkeypatch, snapshot_download)
    monkeypatch.chdir(tmp_path)
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    with pytest.raises(CheckpointError, match=rf"cannot fetch 'a/b' .*hub \({reason}\); without a network.*wb97m-d3"):
        AIMNet2("a/b")


def test_without_the_hub_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"'a/b' is not a local model.*pip install 'molcalc\[hub\]'"):
        AIMNet2("a/b")


@pytest.mark.usefixtures("no_network")
def test_the_real_hub_library_offline_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs the extra hub")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="cannot fetch 'nobody/nothing' from the Hugging Face hub"):
        read_model("nobody/nothing")
