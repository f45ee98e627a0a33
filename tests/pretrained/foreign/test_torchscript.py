"""A TorchScript file is a program: it is opened only when it is known or trusted."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from molcalc.calculators import AIMNet2
from molcalc.errors import CheckpointCorruptError, CheckpointError, UnsafeCheckpointError
from molcalc.io.checkpoint import Checkpoint
from molcalc.io.files import sha256
from molcalc.pretrained.foreign.torchscript import is_torchscript, read_state
from molcalc.pretrained.sources import read_model
from tests.helpers.model_files import write_v2
from tests.helpers.networks import D3

Intruder = Callable[[str], tuple[Path, Path]]
NAMES = ["model.jpt", "model.pt"]


def test_programs_are_recognized_by_content(tmp_path: Path, program: Path, model: Checkpoint) -> None:
    assert is_torchscript(program.read_bytes())
    assert not is_torchscript(write_v2(tmp_path / "m.pt", model).read_bytes())
    for data in (b"", b"PK\x03\x04", b"text", program.read_bytes()[:-30]):
        assert not is_torchscript(data)


@pytest.mark.parametrize("record", ["model/code/__torch__.py", "code/x", "m/constants.pkl", "m/code/deep/er/x.py"])
def test_any_trace_of_code_makes_a_program(tmp_path: Path, record: str) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("m/data.pkl", b"")
        archive.writestr(record, b"")
    assert is_torchscript((tmp_path / "m.zip").read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_program_is_refused_and_not_run(intruder: Intruder, name: str) -> None:
    path, canary = intruder(name)
    for reader in (read_model, AIMNet2):
        with pytest.raises(UnsafeCheckpointError, match=r"TorchScript.*runs the code in it.*trusted=True.*--trusted"):
            reader(path)
    assert not canary.exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_trusted_program_is_run(intruder: Intruder, name: str) -> None:
    """The canary of the other tests does sing."""
    path, canary = intruder(name)
    with pytest.raises(CheckpointError, match="unexpected entries"):
        read_model(path, trusted=True)
    assert canary.exists()


def test_a_program_with_another_checksum_is_not_run_even_when_trusted(intruder: Intruder) -> None:
    path, canary = intruder("model.jpt")
    with pytest.raises(CheckpointCorruptError, match="sha256 is .*truncated, damaged or exchanged; reinstall"):
        read_state(path.read_bytes(), "here", known_sha256="0" * 64, trusted=True)
    assert not canary.exists()


def test_the_checksum_is_that_of_the_whole_file(program: Path) -> None:
    data = program.read_bytes()
    assert (
        read_state(data, "here", known_sha256=sha256(data)).keys()
        == read_state(data, "here", known_sha256=None, trusted=True).keys()
    )


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999], ids="{:.1%}".format)
def test_a_truncated_trusted_program_is_reported(program: Path, kept: float) -> None:
    data = program.read_bytes()
    with pytest.raises(CheckpointCorruptError, match="here is not a TorchScript file"):
        read_state(data[: int(kept * len(data))], "here", known_sha256=None, trusted=True)


def test_constants_of_a_dispersion_term_come_with_the_weights(program: Path) -> None:
    state = read_state(program.read_bytes(), "here", known_sha256=None, trusted=True)
    for k in range(2):
        for key, value in D3.items():
            found = state[f"models.{k}.module.outputs.d3bj.{key}"]
            assert found.dtype == torch.float64
            assert float(found) == value


def test_reading_a_program_gives_no_deprecation_warning(program: Path, recwarn: pytest.WarningsRecorder) -> None:
    read_state(program.read_bytes(), "here", known_sha256=None, trusted=True)
    assert not recwarn.list


def test_a_flipped_bit_in_a_copy_under_another_name_is_noticed_though_it_is_trusted(program: Path) -> None:
    """Torch itself compares no checksum of an archive."""
    data = bytearray(program.read_bytes())
    with zipfile.ZipFile(program) as archive:
        record = max(archive.infolist(), key=lambda each: each.file_size)
    data[record.header_offset + 200 + record.file_size // 2] ^= 1
    with pytest.raises(CheckpointCorruptError, match="here is damaged: the checksum of"):
        read_state(bytes(data), "here", known_sha256=None, trusted=True)
