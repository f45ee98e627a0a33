"""Model files for the tests of readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from molcalc.io.checkpoint import Checkpoint
from molcalc.io.files import sha256
from molcalc.pretrained.catalog import PUBLISHED, Published
from tests.helpers.model_files import Intruder, write_torchscript
from tests.helpers.networks import D3, small_checkpoint


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache of converted models."""
    monkeypatch.setenv("MOLCALC_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def model() -> Checkpoint:
    """A small model that computes charges as the published ones do."""
    return small_checkpoint(exact_charges=False)


@pytest.fixture(scope="session")
def ensemble() -> Checkpoint:
    return small_checkpoint(n_members=2, exact_charges=False)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory, ensemble: Checkpoint) -> Path:
    """A small ensemble as a TorchScript file with the layout of the published ones."""
    return write_torchscript(tmp_path_factory.mktemp("program") / "small_ens.jpt", ensemble, d3=D3)


@pytest.fixture
def small_published(own_cache: None, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published ensemble "small", found in a folder named by MOLCALC_WEIGHTS; the path of its file."""
    folder = tmp_path / "weights"
    folder.mkdir()
    data = program.read_bytes()
    (folder / "small_ens.jpt").write_bytes(data)
    monkeypatch.setitem(PUBLISHED, "small", Published("small_ens.jpt", sha256(data), "pbe0"))
    monkeypatch.setenv("MOLCALC_WEIGHTS", str(folder))
    return folder / "small_ens.jpt"


@pytest.fixture
def intruder(tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """Writes a TorchScript file of a given name that creates a canary when it is read; both paths."""

    def write(name: str) -> tuple[Path, Path]:
        path, canary = tmp_path / name, tmp_path / "canary"
        torch.jit.save(torch.jit.script(Intruder(str(canary))), str(path))
        canary.unlink(missing_ok=True)
        return path, canary

    return write
