"""TensorBoard and Weights & Biases: one record per validation, and one clear error without the package."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from molcalc.errors import ConfigError
from molcalc.train.loop.run_folder import RunFolder
from molcalc.train.report.recording import NoTracker, Recording, ReportConfig, TensorBoard, WandB, open_tracker

ROW = {"epoch": 2, "step": 20, "train_loss": 0.5, "valid_loss": 0.4, "energy_mae": 0.01, "learning_rate": 1e-3}
NAMES = {"run/epoch", "loss/train_loss", "loss/valid_loss", "validation/energy_mae", "validation/energy_mae_kcal_mol",
         "run/learning_rate"}  # fmt: skip


OPTIONS = {"model": "aimnet2"}


def test_nothing_is_recorded_unless_asked_for(tmp_path: Path) -> None:
    tracker = open_tracker(None, tmp_path, 0, OPTIONS, {})
    assert isinstance(tracker, NoTracker)
    tracker.log(ROW)
    tracker.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["tensorboard", "wandb"])
def test_a_missing_package_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=rf"track='{package}' needs the package .*pip install 'molcalc\[track\]'"):
        open_tracker(package, tmp_path, 0, OPTIONS, {})


def test_whatever_a_tracker_raises_at_its_start_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CommError(Exception):
        pass

    def init(**_: Any) -> None:
        raise CommError("no such host")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, api=SimpleNamespace(api_key="key")))
    with pytest.raises(ConfigError, match=r"track='wandb' cannot begin: 'no such host'; .*mode: offline"):
        open_tracker("wandb", tmp_path, 0, OPTIONS, {})


@pytest.mark.parametrize("asked", [{}, {"mode": "online"}], ids=["by login", "by option"])
def test_wandb_without_a_network_records_offline_and_says_so(
    asked: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    modes: list[str] = []

    def init(*, mode: str, **_: Any) -> Any:
        modes.append(mode)
        if mode == "online":
            raise ConnectionError("no such host")
        return SimpleNamespace(log=lambda row, step: None, finish=lambda: None)

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, api=SimpleNamespace(api_key="key")))
    open_tracker("wandb", tmp_path, 0, OPTIONS, asked).close()
    assert modes == ["online", "offline"]
    assert re.search(r"cannot begin online \('no such host'\): the run is recorded in .*wandb sync", caplog.text)


def test_a_tracker_that_fails_ends_its_records_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("gone")

    run = SimpleNamespace(log=fail, finish=fail)
    wandb = SimpleNamespace(init=lambda **_: run, api=SimpleNamespace(api_key=None))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    trainer: Any = SimpleNamespace(
        processes=SimpleNamespace(first=True), folder=RunFolder(tmp_path), progress=SimpleNamespace(step=0),
        history=[ROW],
    )  # fmt: skip
    report: Any = None
    with Recording(ReportConfig(track="wandb"), trainer, report, OPTIONS) as record:
        record(trainer)
        record(trainer)
    assert caplog.text.count("recording the run stops here, training goes on: ConnectionError: gone") == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_settings_that_a_tracker_does_not_have_are_an_error(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with pytest.raises(ConfigError, match=r"'tensorboard' cannot begin with track_options {'projekt': 'x'}: .*projekt"):
        open_tracker("tensorboard", tmp_path, 0, OPTIONS, {"projekt": "x"})
    with pytest.raises(ValueError, match="give track as well"):
        ReportConfig(track_options={"project": "x"})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_records_every_number_at_its_step(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    tracker = open_tracker("tensorboard", tmp_path, 0, OPTIONS, {"flush_secs": 1})
    assert isinstance(tracker, TensorBoard)
    tracker.log(ROW)
    tracker.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == NAMES
    (record,) = events.Scalars("validation/energy_mae")
    assert (record.step, round(record.value, 6)) == (20, 0.01)


def test_wandb_is_offline_without_a_login_and_goes_on_after_resuming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[dict[str, Any]] = []
    logged: list[tuple[set[str], int]] = []

    def init(**options: Any) -> Any:
        runs.append(options)
        return SimpleNamespace(log=lambda row, step: logged.append((set(row), step)), finish=lambda: None)

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, api=SimpleNamespace(api_key=None)))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    moved = (tmp_path / "run").rename
    (tmp_path / "run").mkdir()
    for folder in ("run", "moved"):
        tracker = open_tracker("wandb", tmp_path / folder, 0, OPTIONS, {"project": "mine", "tags": ["a"]})
        assert isinstance(tracker, WandB)
        tracker.log(ROW)
        tracker.close()
        if folder == "run":
            moved(tmp_path / "moved")
    assert [run["mode"] for run in runs] == ["offline", "offline"]
    assert runs[0]["id"] == runs[1]["id"]
    assert runs[0]["config"] == OPTIONS
    assert (runs[0]["project"], runs[0]["tags"]) == ("mine", ["a"])
    (tmp_path / "other").mkdir()
    open_tracker("wandb", tmp_path / "other", 0, OPTIONS, {})
    open_tracker("wandb", tmp_path / "other", 0, OPTIONS, {"id": "chosen"})
    assert runs[2]["id"] not in (runs[0]["id"], "chosen")
    assert runs[3]["id"] == "chosen"
    assert logged == [(NAMES, 20), (NAMES, 20)]
