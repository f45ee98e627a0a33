"""Runs that are looked at again."""

from __future__ import annotations

from pathlib import Path

import pytest

from molcalc.errors import MissingFileError
from molcalc.train.reopening import reopened, training_step
from tests.helpers.training_runs import fit_co2


def test_a_run_is_opened_as_it_was_and_steps_write_nothing(tmp_path: Path) -> None:
    fit_co2(tmp_path / "run", epochs=1)
    files = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    trainer = reopened(tmp_path / "run")
    assert trainer.config.batch_size == 8
    assert len(trainer.task.train) == 16
    before = [parameter.clone() for parameter in trainer.optimizer.parameters]
    step = training_step(tmp_path / "run")
    for _ in range(3):  # more than there are batches
        step()
    assert all((a == b).all() for a, b in zip(before, trainer.optimizer.parameters))
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == files


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="holds no run"):
        training_step(tmp_path)
