"""Batches."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from molcalc.batch import collate, from_atoms


def test_batch_of_one_structure() -> None:
    atoms = molecule("H2O")
    batch = from_atoms(atoms, cutoff=5.0, pair_cutoff=math.inf, total_charge=-1, multiplicity=2)
    assert (batch.n_atoms, batch.n_systems, batch.periodic) == (3, 1, False)
    assert batch.numbers.tolist() == [8, 1, 1]
    assert batch.edge_index.shape == (2, 6)
    assert batch.pair_index.tolist() == [[0, 0, 1], [1, 2, 2]]
    assert batch.total_charge.tolist() == [-1.0]
    vectors = batch.edge_vectors()
    expected = batch.positions[batch.edge_index[1]] - batch.positions[batch.edge_index[0]]
    assert torch.equal(vectors, expected)


def test_vectors_of_periodic_edges_reach_the_image() -> None:
    batch = from_atoms(bulk("NaCl", "rocksalt", a=5.64), cutoff=3.0, pair_cutoff=6.0)
    assert torch.allclose(batch.edge_vectors().norm(dim=1), torch.tensor(2.82, dtype=torch.float64))
    assert batch.edge_index.shape[1] == 12
    assert float(batch.pair_vectors().norm(dim=1).max()) < 6.0


def test_joined_batch_keeps_structures_apart() -> None:
    parts = [from_atoms(molecule(name), cutoff=5.0, pair_cutoff=math.inf) for name in ("H2O", "NH3")]
    joined = collate([*parts, from_atoms(bulk("NaCl", "rocksalt", a=5.64), cutoff=5.0, pair_cutoff=7.0)])
    assert joined.system_idx.tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert joined.atoms_per_system().tolist() == [3, 4, 2]
    assert joined.pair_cutoff == 7.0
    system = joined.system_idx
    assert torch.equal(system[joined.edge_index[0]], system[joined.edge_index[1]])
    assert torch.equal(system[joined.pair_index[0]], system[joined.pair_index[1]])
    assert torch.equal(joined.edge_vectors()[:6], parts[0].edge_vectors())


def test_batches_that_do_not_fit_are_not_joined() -> None:
    water = from_atoms(molecule("H2O"), cutoff=5.0)
    with pytest.raises(ValueError, match=r"different cutoff: \[4.0, 5.0\]"):
        collate([water, from_atoms(molecule("H2O"), cutoff=4.0)])
    with pytest.raises(ValueError, match="different labels"):
        collate([water, dataclasses.replace(water, labels={"energy": torch.zeros(1)})])
    points = {"esp_points": torch.zeros(1, 3), "esp_system_idx": torch.zeros(1, dtype=torch.int64)}
    with pytest.raises(ValueError, match="esp_points"):
        collate([water, dataclasses.replace(water, **points)])
    with pytest.raises(ValueError, match="at least one"):
        collate([])


def test_labels_and_points_are_joined() -> None:
    water = from_atoms(molecule("H2O"), cutoff=5.0)
    labelled = dataclasses.replace(
        water,
        labels={"energy": torch.tensor([1.0])},
        esp_points=torch.zeros(2, 3),
        esp_system_idx=torch.zeros(2, dtype=torch.int64),
    )
    joined = collate([labelled, labelled])
    assert joined.labels["energy"].tolist() == [1.0, 1.0]
    assert joined.esp_system_idx is not None
    assert joined.esp_system_idx.tolist() == [0, 0, 1, 1]


def test_batch_cannot_be_changed() -> None:
    batch = from_atoms(Atoms("H"), cutoff=5.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        batch.cutoff = 3.0  # type: ignore[misc]
