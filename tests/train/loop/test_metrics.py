"""Errors by property and group."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from molcalc.batch import AtomicBatch
from molcalc.properties import LABELS
from molcalc.train.data import open_dataset
from molcalc.train.loop.metrics import ErrorSums, compared


@pytest.fixture
def batch(labelled_db: Path, tmp_path: Path) -> AtomicBatch:
    return open_dataset(labelled_db, cache=tmp_path).batch(np.arange(6), cutoff=5.0)


def test_a_known_residual_gives_its_mae_and_rmse(batch: AtomicBatch) -> None:
    """In eV, eV/Å, e·Å, e and V."""
    shifted = {name: label + 0.25 for name, label in batch.labels.items()}
    sums = ErrorSums(("energy", "forces", "dipole", "charges", "esp"))
    sums.add(shifted, batch)
    table = sums.table()
    assert all(row["mae"] == pytest.approx(0.25) == row["rmse"] for row in table.values())
    assert table["energy"]["n"] == 6
    assert table["forces"]["n"] == 3 * batch.n_atoms
    assert table["esp"]["n"] == 120


def test_rmse_and_mae_differ_for_uneven_errors(batch: AtomicBatch) -> None:
    error = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 0.6], dtype=torch.float64)
    sums = ErrorSums(("energy",))
    sums.add({"energy": batch.labels["energy"] + error}, batch)
    assert sums.table()["energy"]["mae"] == pytest.approx(0.1)
    assert sums.table()["energy"]["rmse"] == pytest.approx(0.6 / 6**0.5)


def test_missing_labels_do_not_count(batch: AtomicBatch) -> None:
    labels = {**batch.labels, "energy": batch.labels["energy"].clone()}
    labels["energy"][:4] = torch.nan
    partial = AtomicBatch(**{**vars(batch), "labels": labels})
    sums = ErrorSums(("energy",))
    sums.add({"energy": batch.labels["energy"] + 1.0}, partial)
    errors = sums.table()["energy"]
    assert (errors["mae"], errors["rmse"], errors["n"]) == (pytest.approx(1.0), pytest.approx(1.0), 2)


def test_a_property_without_labels_is_not_listed(batch: AtomicBatch) -> None:
    labels = {**batch.labels, "energy": torch.full_like(batch.labels["energy"], torch.nan)}
    sums = ErrorSums(("energy",))
    sums.add({"energy": batch.labels["energy"]}, AtomicBatch(**{**vars(batch), "labels": labels}))
    assert sums.table() == {}


def test_groups_are_kept_apart(batch: AtomicBatch) -> None:
    groups = torch.tensor([0, 1, 0, 1, 0, 1])
    sums = ErrorSums(("energy", "forces"), n_groups=2)
    shift = groups.double()
    sums.add(
        {"energy": batch.labels["energy"] + shift, "forces": batch.labels["forces"] + shift[batch.system_idx, None]},
        batch,
        groups,
    )
    assert sums.table(0)["energy"]["mae"] == 0.0
    assert sums.table(1)["forces"]["mae"] == pytest.approx(1.0)
    assert sums.table()["energy"]["mae"] == pytest.approx(0.5)


def test_only_what_has_labels_and_predictions_is_compared() -> None:
    found = compared(tuple(LABELS), ("charges",))
    assert found == ("energy", "forces", "stress", "dipole", "quadrupole", "charges", "esp")
    assert compared(("energy", "dipole"), ()) == ("energy",)


def test_r2_is_the_share_of_the_variance_that_is_predicted(batch: AtomicBatch) -> None:
    """Of energies less those of the free atoms, however large these are; none where all labels are equal."""
    rng = np.random.default_rng(0)
    labels = {"energy": torch.tensor(rng.normal(size=6)), "forces": torch.tensor(rng.normal(size=(batch.n_atoms, 3)))}
    atoms = 1e6 * torch.arange(6, dtype=torch.float64)
    shifted = AtomicBatch(**{**vars(batch), "labels": {**labels, "energy": labels["energy"] + atoms}})
    results = {name: label + 0.3 * torch.randn_like(label) for name, label in labels.items()}
    sums = ErrorSums(("energy", "forces"))
    sums.add({**results, "energy": results["energy"] + atoms}, shifted, reference=atoms)
    for name, label in labels.items():
        expected = 1.0 - float((results[name] - label).square().sum() / (label - label.mean()).square().sum())
        assert sums.table()[name]["r2"] == pytest.approx(expected, rel=1e-6)
    equal = ErrorSums(("energy",))
    constant = torch.full((6,), -3000.1, dtype=torch.float64)
    equal.add({"energy": constant + 1.0}, AtomicBatch(**{**vars(batch), "labels": {"energy": constant}}))
    assert "r2" not in equal.table()["energy"]
