"""Batches of a packed dataset."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc.batch import collate, from_atoms
from molcalc.errors import DatasetError
from molcalc.kernels import runtime as compiled
from molcalc.train.data import Dataset, open_dataset


def with_labels(atoms: Atoms, seed: int) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms = atoms.copy()
    atoms.rattle(0.05, seed=seed)
    energy = -100.0 * len(atoms) - rng.random()
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=rng.normal(size=(len(atoms), 3)))
    return atoms


def write_database(path: Path, frames: list[Atoms]) -> Path:
    with connect(path) as database:
        for atoms in frames:
            database.write(atoms, total_charge=0)
    return path


MOLECULES = ["H2O", "CH3CH2OH", "C6H6", "CO2", "H2"]
CRYSTALS = [bulk("NaCl", "rocksalt", a=5.6), bulk("Si", cubic=True), bulk("Si") * (3, 3, 3)]


@pytest.fixture
def frames() -> list[Atoms]:
    return [with_labels(molecule(name), k) for k, name in enumerate(MOLECULES)]


@pytest.fixture
def dataset(tmp_path: Path, frames: list[Atoms]) -> Dataset:
    return open_dataset(write_database(tmp_path / "set.db", frames), cache=tmp_path / "cache")


@pytest.mark.parametrize("without_numba", [False, True], ids=["compiled", "plain"])
@pytest.mark.parametrize("pair_cutoff", [None, 3.0, math.inf])
@pytest.mark.parametrize("kind", ["molecules", "crystals", "both", "large molecule"])
def test_batches_equal_collated_atoms(
    tmp_path: Path, kind: str, pair_cutoff: float | None, without_numba: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if without_numba:
        monkeypatch.setattr(compiled, "available", lambda: False)
    molecules = [molecule(name) for name in MOLECULES]
    chosen = {
        "molecules": molecules,
        "crystals": CRYSTALS,
        "both": [*molecules, *CRYSTALS],
        "large molecule": [molecules[0], _chain(70), molecules[1]],
    }[kind]
    frames = [with_labels(atoms, k) for k, atoms in enumerate(chosen)]
    dataset = open_dataset(write_database(tmp_path / "set.db", frames), cache=tmp_path / "cache")
    order = np.random.default_rng(0).permutation(len(frames))
    batch = dataset.batch(order, cutoff=3.0, pair_cutoff=pair_cutoff)
    expected = collate([from_atoms(frames[k], cutoff=3.0, pair_cutoff=pair_cutoff) for k in order])
    for name, value in vars(expected).items():
        if isinstance(value, torch.Tensor) and name != "multiplicity":
            assert torch.equal(getattr(batch, name), value), name
            assert getattr(batch, name).dtype == value.dtype, name
    assert (batch.cutoff, batch.pair_cutoff) == (expected.cutoff, expected.pair_cutoff)


def _chain(n: int) -> Atoms:
    return Atoms(f"C{n}", positions=[[1.4 * k, 0.7 * (k % 2), 0.0] for k in range(n)])


def test_labels_follow_their_structures(dataset: Dataset, frames: list[Atoms]) -> None:
    batch = dataset.batch([3, 0], cutoff=5.0)
    assert batch.labels["energy"].tolist() == [frames[3].calc.results["energy"], frames[0].calc.results["energy"]]
    forces = np.concatenate([frames[3].calc.results["forces"], frames[0].calc.results["forces"]])
    assert np.array_equal(batch.labels["forces"].numpy(), forces)


def test_views_share_memory_and_count_their_own_labels(dataset: Dataset) -> None:
    view = dataset.subset([4, 1]).subset([1])
    assert len(view) == 1
    assert view.row_name(0) == "set.db row 2"
    assert view.counts() == {"energy": 1, "forces": 1}
    assert np.shares_memory(view.positions, dataset.positions)
    assert torch.equal(view.batch([0], cutoff=5.0).positions, dataset.batch([1], cutoff=5.0).positions)


def test_a_dataset_survives_pickling_without_copying_its_arrays(dataset: Dataset) -> None:
    data = pickle.dumps(dataset.subset([2, 0]))
    assert len(data) < 2000
    assert torch.equal(pickle.loads(data).batch([0], cutoff=4.0).numbers, dataset.batch([2], cutoff=4.0).numbers)  # noqa: S301


def test_a_label_that_nobody_has_cannot_be_asked_for(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="no structure has the label 'dipole'; labels are: energy, forces"):
        dataset.batch([0], cutoff=5.0, labels=["dipole"])


def test_energies_keep_all_their_digits(tmp_path: Path) -> None:
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=-123456.789012)
    dataset = open_dataset(write_database(tmp_path / "set.db", [atoms]), cache=tmp_path / "cache")
    assert abs(dataset.batch([0], cutoff=5.0).labels["energy"].item() + 123456.789012) < 1e-9
