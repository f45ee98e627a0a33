"""Points of an electrostatic potential that count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from molcalc.batch import AtomicBatch
from molcalc.train.data import open_dataset
from molcalc.train.esp_mask import without_masked_points
from molcalc.units import VDW_RADII


@pytest.fixture
def batch(labelled_db: Path, tmp_path: Path) -> AtomicBatch:
    return open_dataset(labelled_db, cache=tmp_path).batch(np.arange(12), cutoff=5.0)


@pytest.mark.parametrize("factor", [1.4, 2.0, 2.4])
def test_points_inside_the_scaled_radii_are_masked(batch: AtomicBatch, factor: float) -> None:
    masked = torch.isnan(without_masked_points(batch, factor, None).labels["esp"])
    for point in range(len(masked)):
        own = batch.system_idx == batch.esp_system_idx[point]
        distances = (batch.positions[own] - batch.esp_points[point]).norm(dim=1)
        inside = bool((distances < 0.99 * factor * torch.as_tensor(VDW_RADII)[batch.numbers[own]]).any())
        assert bool(masked[point]) is inside
    if factor > 2.0:
        assert 0 < int(masked.sum()) < len(masked)


def test_large_potentials_are_masked(batch: AtomicBatch) -> None:
    limit = float(batch.labels["esp"].abs().median())
    masked = torch.isnan(without_masked_points(batch, 0.0, limit).labels["esp"])
    assert torch.equal(masked, batch.labels["esp"].abs() > limit)


def test_nothing_is_masked_without_limits(batch: AtomicBatch) -> None:
    assert torch.equal(without_masked_points(batch, 0.0, None).labels["esp"], batch.labels["esp"])
