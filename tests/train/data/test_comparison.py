"""Points of an electrostatic potential that count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.db import connect

from molcalc.batch import AtomicBatch
from molcalc.errors import DatasetError
from molcalc.train import fit
from molcalc.train.data import open_dataset
from molcalc.train.data.comparison import Comparison, check_points, without_masked_points
from molcalc.units import VDW_RADII


@pytest.fixture
def batch(labelled_db: Path, tmp_path: Path) -> AtomicBatch:
    return open_dataset(labelled_db, cache=tmp_path).batch(np.arange(12), cutoff=5.0)


@pytest.mark.parametrize("factor", [1.4, 2.0, 2.4])
def test_points_inside_the_scaled_radii_are_masked(batch: AtomicBatch, factor: float) -> None:
    masked = torch.isnan(without_masked_points(batch, Comparison(esp_radius_factor=factor)).labels["esp"])
    for point in range(len(masked)):
        own = batch.system_idx == batch.esp_system_idx[point]
        distances = (batch.positions[own] - batch.esp_points[point]).norm(dim=1)
        inside = bool((distances < 0.99 * factor * torch.as_tensor(VDW_RADII)[batch.numbers[own]]).any())
        assert bool(masked[point]) is inside
    if factor > 2.0:
        assert 0 < int(masked.sum()) < len(masked)


def test_large_potentials_are_masked(batch: AtomicBatch) -> None:
    limit = float(batch.labels["esp"].abs().median())
    masked = torch.isnan(without_masked_points(batch, Comparison(esp_radius_factor=0.0, esp_max=limit)).labels["esp"])
    assert torch.equal(masked, batch.labels["esp"].abs() > limit)


def test_nothing_is_masked_without_limits(batch: AtomicBatch) -> None:
    assert torch.equal(
        without_masked_points(batch, Comparison(esp_radius_factor=0.0)).labels["esp"], batch.labels["esp"]
    )


def test_a_run_without_any_point_left_does_not_begin(labelled_db: Path, tmp_path: Path) -> None:
    options = {"epochs": 1, "progress": False, "plots": False}
    message = r"all 560 ESP points are left out by esp_radius_factor=9: lower the factor"
    with pytest.raises(DatasetError, match=message):
        fit(labelled_db, "noneq-dcm", output=tmp_path / "run", esp_radius_factor=9, **options)
    assert not (tmp_path / "run" / "last").exists()
    with pytest.raises(DatasetError, match=r"and esp_max=1e-09 V"):
        fit(labelled_db, "noneq-dcm", output=tmp_path / "run", esp_max=1e-9, **options)


def test_points_on_atoms_are_refused_unless_they_are_masked(labelled_db: Path, tmp_path: Path) -> None:
    path = tmp_path / "on_atoms.db"
    with connect(labelled_db) as old, connect(path) as new:
        for row in old.select():
            data = {name: row.data[name].copy() for name in ("esp_points", "esp")}
            if row.id == 7:
                data["esp_points"][3] = row.positions[0] + [0.0, 0.1, 0.0]
            new.write(row.toatoms(), row.key_value_pairs, data)
    dataset = open_dataset(path, cache=tmp_path)
    check_points(dataset, Comparison())
    with pytest.raises(DatasetError, match=r"on_atoms.db row 7 has 1 ESP points less than 0.5 Å .*factor=1.4"):
        check_points(dataset, Comparison(esp_radius_factor=0.0))


def test_many_masked_points_are_reported(labelled_db: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = open_dataset(labelled_db, cache=tmp_path)
    check_points(dataset, Comparison())
    assert not caplog.records
    check_points(dataset, Comparison(esp_radius_factor=2.8))
    assert "of 720 ESP points count; the others are masked" in caplog.text
