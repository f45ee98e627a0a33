"""What the loop does between steps: rates, clipping, and which model is the best."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from molcalc.errors import ConfigError, DatasetError, ResourceError
from molcalc.io import checkpoint
from molcalc.train import fit
from molcalc.train.fitting import FitResult
from molcalc.train.loop.losses import Loss
from molcalc.train.loop.potential_task import PotentialTask
from molcalc.train.loop.run_folder import RunFolder
from molcalc.train.optimize.schedules import Schedule, ScheduleConfig
from tests.helpers.networks import tiny_checkpoint
from tests.helpers.training_runs import TINY

OPTIONS = {
    "arguments": TINY["aimnet2"], "batch_size": 8, "batch_mode": "molecules", "progress": False, "plots": False,
    "validate_every": 1,
}  # fmt: skip


def run(data: Path, output: Path, **options: object) -> FitResult:
    return fit(data, "aimnet2", output=output, **{**OPTIONS, "epochs": 3, **options})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder).weights


def test_the_learning_rate_follows_the_schedule_from_step_to_step(labelled_db: Path, tmp_path: Path) -> None:
    schedule = {"name": "exponential", "final_factor": 0.01}
    history = run(labelled_db, tmp_path / "run", learning_rate=1e-3, schedule=schedule).history
    total = int(history[-1]["step"])
    assert total > len(history)
    expected = Schedule(ScheduleConfig(**schedule), total)
    for row in history:
        assert row["learning_rate"] == pytest.approx(1e-3 * expected.factor(int(row["step"]) - 1), rel=1e-12)


def test_clipping_at_zero_is_off(labelled_db: Path, tmp_path: Path) -> None:
    wide = run(labelled_db, tmp_path / "wide", grad_clip=1e9).history
    history = run(labelled_db, tmp_path / "off", grad_clip=0.0).history
    assert [row["valid_loss"] for row in history] == [row["valid_loss"] for row in wide]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "python"],
)
def test_a_batch_that_does_not_fit_into_memory_is_named(
    labelled_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(self: Loss, *args: object) -> None:
        raise error

    monkeypatch.setattr(Loss, "__call__", fail)
    with pytest.raises(ResourceError, match=r"a batch of \d+ systems with \d+ atoms does not fit into memory: lower"):
        run(labelled_db, tmp_path / "run")


def test_other_errors_stay_what_they_are(labelled_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: PotentialTask, *args: object, **options: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(PotentialTask, "predict", fail)
    with pytest.raises(RuntimeError, match="something else"):
        run(labelled_db, tmp_path / "run")


def test_held_out_data_that_were_trained_on_are_refused_unless_allowed(
    labelled_db: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(labelled_db, tmp_path / "apart", epochs=1)
    assert "in the training part as well" not in caplog.text
    with pytest.raises(DatasetError, match=r"of the validation part are in the training part.*allow_overlap=True"):
        run(labelled_db, tmp_path / "run", epochs=1, valid=labelled_db)
    run(labelled_db, tmp_path / "run", epochs=1, valid=labelled_db, allow_overlap=True)
    assert re.search(r"\d+ of \d+ systems of the validation part are in the training part as well", caplog.text)


def test_a_narrow_clip_changes_the_steps(labelled_db: Path, tmp_path: Path) -> None:
    options = {"optimizer": "adamw", "optimizer_options": {"eps": 1.0}, "ema": 0.0}  # Adam alone undoes a factor
    losses = [
        run(labelled_db, tmp_path / f"clip{clip}", grad_clip=clip, **options).history[-1]["valid_loss"]
        for clip in (1e9, 1e-6)
    ]
    assert losses[0] != losses[1]


def test_the_folder_holds_the_best_model_and_last_the_present_one(labelled_db: Path, tmp_path: Path) -> None:
    """A rate that is far too large: the first validations are the best, whatever comes later."""
    history = run(labelled_db, tmp_path / "run", epochs=8, learning_rate=0.1, ema=0.0, keep_top=8).history
    scores = [row["valid_score"] for row in history]
    best = int(np.argmin(scores))
    assert best < len(scores) - 1, scores
    found, last = weights(tmp_path / "run"), weights(tmp_path / "run" / "last")
    expected = weights(tmp_path / "run" / "top" / f"epoch_{history[best]['epoch']:06d}")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert any(not torch.equal(found[name], last[name]) for name in found)


def test_the_best_model_is_that_with_the_smallest_geometric_mean_of_errors(labelled_db: Path, tmp_path: Path) -> None:
    """Whatever the weights of the loss."""
    history = run(labelled_db, tmp_path / "run", epochs=2, loss={"weights": {"energy": 1.0, "forces": 1000.0}}).history
    for row in history:
        errors = [error for name, error in row.items() if name.endswith("_mae")]
        assert len(errors) > 2
        assert row["valid_score"] == pytest.approx(np.prod(errors) ** (1 / len(errors)), rel=1e-12)


def test_training_losses_are_averages_over_the_steps_since_the_last_validation(
    labelled_db: Path, tmp_path: Path
) -> None:
    """Weights that stay as they are: two epochs and the single last one have the same average."""
    options = {"epochs": 3, "validate_every": 2, "learning_rate": 0.0, "batch_size": 36}
    two, one = run(labelled_db, tmp_path / "run", **options).history
    assert (two["epoch"], one["epoch"]) == (2, 3)
    names = [name for name in two if name.startswith("train_")]
    assert {"train_loss", "train_energy", "train_forces"} <= set(names)
    assert [one[name] for name in names] == pytest.approx([two[name] for name in names], rel=1e-5)


def test_the_run_ends_after_so_many_validations_without_a_better_model(labelled_db: Path, tmp_path: Path) -> None:
    """The first validation is the best one, since nothing changes."""
    options = {"epochs": 9, "validate_every": 2, "learning_rate": 0.0, "ema": 0.0, "patience": 2}
    assert [row["epoch"] for row in run(labelled_db, tmp_path / "run", **options).history] == [2, 4, 6]


def test_models_in_top_that_the_run_did_not_write_stay(labelled_db: Path, tmp_path: Path) -> None:
    result = run(labelled_db, tmp_path / "run", epochs=1, keep_top=1)
    mine = tmp_path / "run" / "top" / "mine" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("x")
    folder = RunFolder(result.output)
    folder.drop_top("epoch_000001")
    folder.drop_top("epoch_000001")  # a killed process may have deleted it before
    assert [path.name for path in folder.top.iterdir()] == ["mine"]


def test_a_fine_tuned_model_is_never_worse_than_what_it_started_from(
    labelled_db: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The labels come from the initial weights, and the rate is far too large: epoch 0 is the best."""
    checkpoint.save(tmp_path / "start", tiny_checkpoint())
    options = {"arguments": {}, "init": tmp_path / "start", "epochs": 2, "learning_rate": 0.1, "ema": 0.0}
    result = run(labelled_db, tmp_path / "run", **options)
    assert [row["epoch"] for row in result.history] == [0, 1, 2]
    assert "train_loss" not in result.history[0]
    assert result.metrics["valid"]["forces"]["mae"] < 1e-5 < 0.01 * result.history[1]["forces_mae"]
    assert "the weights that the run started from: they are kept" in caplog.text
    monkeypatch.chdir(tmp_path)
    assert run(labelled_db, tmp_path / "run", **{**options, "init": "start", "epochs": 2}, resume=True).history
    assert "from epoch 0 (the weights that the run started from" in (tmp_path / "run" / "report.md").read_text()


def test_validations_may_be_counted_in_steps(labelled_db: Path, tmp_path: Path) -> None:
    """Four steps an epoch: in the middle of epochs, and at the end of the last one."""
    options = {"epochs": 2, "validate_every": None, "validate_steps": 3, "keep_top": 5}
    result = run(labelled_db, tmp_path / "run", **options)
    assert [(row["epoch"], row["step"]) for row in result.history] == [(0.75, 3), (1.5, 6), (2, 8)]
    names = {path.name for path in (tmp_path / "run" / "top").iterdir()}
    assert names == {"step_00000003", "step_00000006", "step_00000008"}
    with pytest.raises(ConfigError, match="validate_every=1 and validate_steps=3; give one"):
        run(labelled_db, tmp_path / "both", validate_steps=3)


def test_a_rate_that_has_become_small_ends_the_run(labelled_db: Path, tmp_path: Path) -> None:
    """Halved after every validation that is not better; nothing is, since the rate is far too small to learn."""
    options = {"epochs": 9, "learning_rate": 1e-12, "ema": 0.0, "terminate_on_low_lr": 3e-13}
    schedule = {"name": "plateau", "patience": 0, "factor": 0.5, "final_factor": 0.0, "threshold": 0.5}
    history = run(labelled_db, tmp_path / "run", schedule=schedule, **options).history
    assert [row["learning_rate"] for row in history] == pytest.approx([1e-12, 1e-12, 5e-13, 2.5e-13])
    with pytest.raises(ConfigError, match=r"terminate_on_low_lr=1 is above the learning rate 1e-12"):
        run(labelled_db, tmp_path / "high", schedule=schedule, **{**options, "terminate_on_low_lr": 1.0})


def test_elements_of_the_gradient_may_be_clipped(labelled_db: Path, tmp_path: Path) -> None:
    """Steps of a momentum without scale: no weight moves by more than rate times the largest element."""
    checkpoint.save(tmp_path / "start", tiny_checkpoint())
    options = {"arguments": {}, "init": tmp_path / "start", "epochs": 1, "batch_size": 36, "ema": 0.0, "grad_clip": 0.0,
               "optimizer": "adamw", "learning_rate": 1e3, "weight_decay": 0.0, "schedule": {"warmup": 0.0},
               "optimizer_options": {"eps": 1e3, "betas": [0.0, 0.0]}, "grad_clip_value": 1e-6}  # fmt: skip
    run(labelled_db, tmp_path / "run", **options)
    before, after = weights(tmp_path / "start"), weights(tmp_path / "run" / "last")
    moved = max(
        float((after[name].double() - before[name].double()).abs().max()) for name in after if "shift" not in name
    )
    assert 0.0 < moved <= 1.1e-6
