"""Averages of losses between two validations."""

from __future__ import annotations

import pytest
import torch

from molcalc.train.loop.running_losses import RunningLosses


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def filled() -> RunningLosses:
    running = RunningLosses(["energy", "dipole"])
    running.add(2.0, tensor(1.0, 4.0), tensor(3.0, 1.0))
    running.add(4.0, tensor(5.0, 0.0), tensor(1.0, 0.0))
    return running


def test_terms_are_averaged_over_labels_and_the_loss_over_steps() -> None:
    assert filled().averages() == pytest.approx({"train_loss": 3.0, "train_energy": 2.0, "train_dipole": 4.0})


def test_nothing_is_said_about_what_was_not_seen() -> None:
    running = RunningLosses(["energy", "dipole"])
    assert running.averages() == {}
    running.add(1.0, tensor(1.0, 0.0), tensor(2.0, 0.0))
    assert running.averages() == {"train_loss": 1.0, "train_energy": 1.0}


def test_sums_go_on_after_a_restart_and_begin_anew_for_another_loss() -> None:
    same, other = RunningLosses(["energy", "dipole"]), RunningLosses(["energy"])
    for running in (same, other):
        running.load_state_dict(filled().state_dict())
    assert same.averages() == filled().averages()
    assert other.averages() == {}
