"""From options and data to a run that is ready for its first step."""

from __future__ import annotations

from pathlib import Path

import pytest

from molcalc.train.config import make_config
from molcalc.train.data import open_dataset
from molcalc.train.preparation import loss_for


def test_labels_that_are_not_learned_are_named(labelled_db: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Charges of another definition would keep distributed charges from reproducing the potential."""
    config, data = make_config({"model": "physnet-dcm"}), open_dataset(labelled_db)
    assert "charges" not in loss_for(config.loss, set(), data, ("charges", "dcm_charges"), "physnet-dcm").weights
    assert "labels that are not in the loss: charges; loss.weights.charges gives them a part" in caplog.text


def test_who_switches_the_dipole_off_switches_both_off(labelled_db: Path) -> None:
    data, predicts = open_dataset(labelled_db), ("charges", "dcm_charges")
    for weights, expected in (({}, 1.0), ({"dipole": 0.0}, None), ({"dipole": 0.0, "charge_dipole": 2.0}, 2.0)):
        config = make_config({"model": "physnet-dcm", "loss": {"weights": weights}})
        found = loss_for(config.loss, set(weights), data, predicts, "physnet-dcm").weights
        assert found.get("charge_dipole") == expected
    assert "charge_dipole" not in make_config({"model": "noneq-dcm"}).loss.weights  # its dipole is that of its charges
