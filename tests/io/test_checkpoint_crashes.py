"""A model directory survives crashes, full disks and concurrent processes."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from molcalc.errors import CheckpointError, InUseError, ResourceError
from molcalc.io import checkpoint, files
from molcalc.io.checkpoint import CONFIG, STAGED, WEIGHTS, Checkpoint, ModelConfig, load, save
from tests.helpers.forks import Fork
from tests.helpers.model_files import STATE, flip, number_in, save_numbered
from tests.helpers.networks import small_checkpoint

KILLS = 25
STEPS = {"replace": 6, "fsync": 7}
"""Calls during a save of three files: one to stage each and one to commit it, and one more flush at the end."""


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Folder of a small valid model."""
    save(tmp_path / "model", small_checkpoint())
    return tmp_path / "model"


@contextlib.contextmanager
def photographed(monkeypatch: pytest.MonkeyPatch, folder: Path, album: Path) -> Iterator[list[Path]]:
    """Copies of a folder as a process that dies would leave it: before every rename and flush, and in mid-write."""
    copies: list[Path] = []
    real_replace, real_fsync = os.replace, os.fsync

    def copy() -> Path:
        copies.append(album / str(len(copies)))
        shutil.copytree(folder, copies[-1])
        return copies[-1]

    def replace_(source: Any, target: Any) -> None:
        copy()
        real_replace(source, target)

    def fsync(handle: int) -> None:
        half = copy()
        for path in half.glob(".*.tmp.*"):
            os.truncate(path, path.stat().st_size // 2)
        real_fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace_)
        patch.setattr(os, "fsync", fsync)
        yield copies
    copy()


def test_the_old_or_the_new_model_is_loadable_after_a_crash_at_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_numbered(tmp_path / "m", 1)
    with photographed(monkeypatch, tmp_path / "m", tmp_path / "album") as copies:
        save_numbered(tmp_path / "m", 2)
    found = [number_in(copy) for copy in copies]
    assert len(found) > 10
    assert found == sorted(found)
    assert set(found) == {1, 2}


def test_a_first_save_that_dies_leaves_nothing_or_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").mkdir()
    with photographed(monkeypatch, tmp_path / "m", tmp_path / "album") as copies:
        save_numbered(tmp_path / "m", 1)
    complete = []
    for copy in copies:
        try:
            complete.append(number_in(copy) == 1)
        except FileNotFoundError:
            complete.append(False)
    assert complete == sorted(complete)
    assert complete[-1]


def test_a_second_crash_at_any_step_after_a_first_at_any_step_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_numbered(tmp_path / "m", 1)
    with photographed(monkeypatch, tmp_path / "m", tmp_path / "first") as copies:
        save_numbered(tmp_path / "m", 2)
    for start in copies:
        survivor = number_in(start)
        with photographed(monkeypatch, start, tmp_path / "second" / start.name) as later:
            save_numbered(start, 3)
        found = [number_in(copy) for copy in later]
        assert set(found) == {survivor, 3}, start.name
        assert found == sorted(found)


def test_a_successful_save_clears_what_a_crash_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_numbered(tmp_path / "m", 1)
    with photographed(monkeypatch, tmp_path / "m", tmp_path / "album") as copies:
        save_numbered(tmp_path / "m", 2)
    assert any(".tmp" in name for copy in copies for name in os.listdir(copy))
    for copy in copies:
        (copy / "notes.tmp").touch()
        (copy / "mine.new").touch()
        save_numbered(copy, 3)
        assert set(os.listdir(copy)) == {CONFIG, WEIGHTS, STATE, "notes.tmp", "mine.new"}


@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_an_error_at_any_step_leaves_a_loadable_model_and_no_temporaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    save_numbered(tmp_path / "m", 1)
    for step in range(STEPS[name]):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, failing_after(getattr(os, name), step))
            with pytest.raises(ResourceError, match="cannot write .*No space left on device"):
                save_numbered(tmp_path / "m", 2)
        assert number_in(tmp_path / "m") in (1, 2)
        assert not [path for path in os.listdir(tmp_path / "m") if path.endswith(".tmp")]
        save_numbered(tmp_path / "m", 1)
        assert number_in(tmp_path / "m") == 1


def test_a_new_folder_goes_when_its_first_save_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ResourceError("no space")

    monkeypatch.setattr(checkpoint, "write_atomic", fail)
    with pytest.raises(ResourceError, match="no space"):
        save(tmp_path / "new", small_checkpoint())
    (tmp_path / "old").mkdir()
    with pytest.raises(ResourceError, match="no space"):
        save(tmp_path / "old", small_checkpoint())
    assert [file.name for file in tmp_path.iterdir()] == ["old"]


def test_a_full_disk_is_freed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_numbered(tmp_path / "m", 1)
    monkeypatch.setattr(os, "fsync", failing_after(os.fsync, 3))
    with pytest.raises(ResourceError):
        save_numbered(tmp_path / "m", 2)
    assert set(os.listdir(tmp_path / "m")) == {CONFIG, WEIGHTS, STATE}


def test_a_damaged_unfinished_save_falls_back_with_a_warning_that_names_both(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_numbered(tmp_path / "m", 1)
    save_numbered(tmp_path / "n", 2)
    for name in (CONFIG, WEIGHTS, STATE):
        shutil.copy(tmp_path / "n" / name, tmp_path / "m" / (name + STAGED))
    assert number_in(tmp_path / "m") == 2
    assert not caplog.records
    flip(tmp_path / "m" / (WEIGHTS + STAGED), 100)
    assert number_in(tmp_path / "m") == 1
    assert WEIGHTS in caplog.text
    assert str(tmp_path / "m" / CONFIG) in caplog.text


def test_killed_while_saving_in_a_loop(tmp_path: Path) -> None:
    """Processes that save 4 MB in a loop are killed (-9), in turn somewhere in their first and second save."""
    folder = tmp_path / "m"

    def model(k: int) -> Checkpoint:
        config = ModelConfig(kind="aimnet2", arguments={})
        return Checkpoint(config, {"k": torch.tensor(k), "a": torch.full((1_000_000,), float(k))})

    def save_on(number: int, writing: int) -> None:
        while True:
            number += 1
            os.write(writing, f"b {number}\n".encode())
            save(folder, model(number))
            os.write(writing, f"f {number}\n".encode())

    start = time.perf_counter()
    for _ in range(3):
        save(folder, model(0))
    duration = (time.perf_counter() - start) / 3
    rng, loaded = random.Random(1), 0
    for turn in range(KILLS):
        reading, writing = os.pipe()
        child = Fork(save_on, loaded, writing)
        os.close(writing)
        report = os.read(reading, 100)
        while turn % 2 and b"f" not in report:
            report += os.read(reading, 100)
        time.sleep(rng.uniform(0.0, duration))
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL, child.err
        lines = [line.split() for line in (report + os.read(reading, 100_000)).decode().splitlines()]
        os.close(reading)
        begun = max(int(k) for event, k in lines if event == "b")
        finished = max((int(k) for event, k in lines if event == "f"), default=loaded)
        weights = load(folder).weights
        loaded = int(weights["k"])
        assert finished <= loaded <= begun
        assert torch.equal(weights["a"], model(loaded).weights["a"])
    assert loaded >= 1


def failing_after(function: Callable[..., Any], steps: int) -> Callable[..., Any]:
    """A function that works ``steps`` times and then finds the disk full."""
    calls = iter(range(10**6))

    def call(*arguments: Any) -> Any:
        if next(calls) >= steps:
            raise OSError(28, "No space left on device")
        return function(*arguments)

    return call


def test_a_file_size_limit_is_reported_with_the_size_and_keeps_the_old_model(saved: Path) -> None:
    before = load(saved).hash
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(ResourceError, match=r"cannot write .*weights.* \(\d{5} bytes\): File too large"):
            save(saved, small_checkpoint(seed=9))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load(saved).hash == before
    assert sorted(os.listdir(saved)) == [CONFIG, WEIGHTS]


def test_a_folder_that_cannot_be_written_keeps_its_model() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "m"
        save(folder, small_checkpoint())
        os.chmod(name, 0o755)
        os.chmod(folder, 0o555)
        with unprivileged():
            if not os.access(name, os.X_OK, effective_ids=True):
                pytest.skip("temporary files are in a folder that only root enters")
            with pytest.raises(ResourceError, match=r"cannot write .*Permission denied"):
                save(folder, small_checkpoint(seed=9))
            assert load(folder).hash == small_checkpoint().hash
            with pytest.raises(ResourceError, match=r"cannot write .*Permission denied"):
                save(Path(name) / "new", small_checkpoint())
        os.chmod(folder, 0o755)


def test_a_model_that_must_not_be_read_is_reported() -> None:
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        save(Path(name) / "m", small_checkpoint())
        os.chmod(Path(name) / "m" / WEIGHTS, 0)
        with unprivileged(), pytest.raises(CheckpointError, match="cannot read .*Permission denied"):
            load(Path(name) / "m")


def test_a_model_in_a_folder_that_must_not_be_entered_is_reported() -> None:
    with tempfile.TemporaryDirectory() as name:
        save(Path(name) / "m", small_checkpoint())
        os.chmod(name, 0)
        with unprivileged(), pytest.raises(CheckpointError, match=r"cannot read .*/m: Permission denied"):
            load(Path(name) / "m")
        os.chmod(name, 0o700)


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_a_file_in_place_of_the_folder_is_reported(tmp_path: Path, inside: str) -> None:
    (tmp_path / "m").write_text("mine")
    with pytest.raises(ResourceError, match="cannot write"):
        save(tmp_path / "m" / inside, small_checkpoint())
    assert (tmp_path / "m").read_text() == "mine"


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Run as nobody: permissions do not hold for root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_save_between_two_reads_gives_the_new_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_numbered(tmp_path / "m", 1)
    real, writes = checkpoint.read_file, iter([2, 3, 4])

    def read_then_write(path: Path, limit: int = files.MAX_FILE) -> bytes:
        data = real(path, limit)
        if path.name == CONFIG and (k := next(writes, None)) is not None:
            save_numbered(tmp_path / "m", k)
        return data

    monkeypatch.setattr(checkpoint, "read_file", read_then_write)
    assert number_in(tmp_path / "m") == 4


def test_reading_while_another_thread_saves_never_fails(tmp_path: Path) -> None:
    save_numbered(tmp_path / "m", 0)
    found = [0]

    def write() -> None:
        for k in range(1, 31):
            save_numbered(tmp_path / "m", k)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        found.append(number_in(tmp_path / "m"))
    writer.join()
    assert found == sorted(found)
    assert number_in(tmp_path / "m") == 30


def test_writers_of_one_folder_take_turns(tmp_path: Path) -> None:
    errors: list[Exception] = []

    def write(k: int) -> None:
        try:
            for _ in range(15):
                save_numbered(tmp_path / "m", k)
        except Exception as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(k,)) for k in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not errors
    assert number_in(tmp_path / "m") in range(3)
    assert set(os.listdir(tmp_path / "m")) == {CONFIG, WEIGHTS, STATE}


def test_a_folder_held_by_another_process_is_reported(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FOLDER_LOCK_WAIT", 0.05)
    with files.exclusive(saved), pytest.raises(InUseError, match="is being written by process"):
        save(saved, small_checkpoint(seed=9))
    save(saved, small_checkpoint(seed=9))
