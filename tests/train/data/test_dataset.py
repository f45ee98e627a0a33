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
SHEARED = Atoms("NaCl", [[0, 0, 0], [2.8, 0, 0]], cell=[[4, 0, 0], [400, 4, 0], [0, 1, 4]], pbc=True)
CRYSTALS = [bulk("NaCl", "rocksalt", a=5.6), bulk("Si", cubic=True), bulk("Si") * (3, 3, 3), SHEARED]


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


def test_views_of_views_count_their_own_labels(dataset: Dataset) -> None:
    view = dataset.subset([4, 1]).subset([1])
    assert len(view) == 1
    assert view.row_name(0) == "set.db row 2"
    assert view.counts() == {"energy": 1, "forces": 1}
    assert torch.equal(view.batch([0], cutoff=5.0).positions, dataset.batch([1], cutoff=5.0).positions)


@pytest.fixture
def with_points(tmp_path: Path) -> Dataset:
    """Five structures of different size; all but one have charges, all but another an ESP."""
    rng = np.random.default_rng(3)
    with connect(tmp_path / "points.db") as database:
        for k, name in enumerate(("H2O", "CH4", "CO2", "NH3", "C2H6")):
            atoms = molecule(name)
            results = {"energy": float(k)} if k == 3 else {"energy": float(k), "charges": rng.normal(size=len(atoms))}
            atoms.calc = SinglePointCalculator(atoms, **results)
            points = rng.normal(size=(k + 2, 3))
            data = {} if k == 1 else {"esp": rng.normal(size=len(points)), "esp_points": points}
            database.write(atoms, total_charge=k - 2, multiplicity=1 + k % 2, fidelity=f"f{k % 2}", data=data)
    return open_dataset(tmp_path / "points.db", cache=tmp_path / "cache")


ORDER = [4, 1, 3, 0]


def test_every_array_of_structures_is_in_the_order_of_the_view(with_points: Dataset) -> None:
    view = with_points.subset(ORDER)
    for name in ("total_charge", "multiplicity", "fidelity", "cell", "pbc"):
        assert np.array_equal(getattr(view, name), getattr(with_points, name)[ORDER]), name
    assert np.array_equal(view.labels["energy"], ORDER)
    assert np.array_equal(view.n_atoms(), with_points.n_atoms()[ORDER])
    assert np.array_equal(view.n_points(), [6, 0, 5, 2])


def test_every_array_of_atoms_and_points_is_in_the_order_of_the_view(with_points: Dataset) -> None:
    view = with_points.subset(ORDER)
    for k, whole in enumerate(ORDER):
        own = slice(view.offsets[k], view.offsets[k + 1])
        there = slice(with_points.offsets[whole], with_points.offsets[whole + 1])
        for name in ("numbers", "positions"):
            assert np.array_equal(getattr(view, name)[own], getattr(with_points, name)[there]), name
        charges = view.labels["charges"][own], with_points.labels["charges"][there]
        assert np.array_equal(*charges, equal_nan=True)
        own = slice(view.esp_offsets[k], view.esp_offsets[k + 1])
        there = slice(with_points.esp_offsets[whole], with_points.esp_offsets[whole + 1])
        assert np.array_equal(view.esp_points[own], with_points.esp_points[there])
        assert np.array_equal(view.labels["esp"][own], with_points.labels["esp"][there])
    assert view.esp_offsets[-1] == len(view.esp_points) == len(view.labels["esp"])


def test_a_block_holds_the_same_structures_as_a_batch(with_points: Dataset) -> None:
    view = with_points.subset(ORDER)
    block, batch = view.block([2, 0]), view.batch([2, 0], cutoff=0.0)
    assert block.systems["row"].tolist() == [2, 0]
    assert np.array_equal(block.atoms["positions"], batch.positions)
    assert np.array_equal(block.atoms["charges"], batch.labels["charges"], equal_nan=True)
    assert np.array_equal(block.points["esp"], batch.labels["esp"])
    assert np.array_equal(block.points["esp_points"][block.points_of(1)], view.block([0]).points["esp_points"])
    assert np.array_equal(block.atoms["numbers"][block.atoms_of(1)], view.block([0]).atoms["numbers"])


def test_blocks_hold_all_structures_and_overlap_where_neighbors_are_compared(with_points: Dataset) -> None:
    rows = [block.systems["row"].tolist() for block in with_points.blocks(2)]
    assert rows == [[0, 1], [2, 3], [4]]
    rows = [block.systems["row"].tolist() for block in with_points.blocks(3, overlap=1)]
    assert rows == [[0, 1, 2], [2, 3, 4]]


def test_arrays_of_a_whole_dataset_are_mapped_and_no_array_can_be_changed(with_points: Dataset) -> None:
    assert isinstance(with_points.positions.base, np.memmap)
    assert with_points.subset([1, 0]).selection != with_points.subset([0, 1]).selection
    for dataset in (with_points, with_points.subset([0])):
        for values in (dataset.positions, dataset.total_charge, dataset.labels["charges"]):
            with pytest.raises(ValueError, match="read-only"):
                values[0] = 1.0


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
