"""Division of datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.db import connect

from molcalc.errors import DatasetError
from molcalc.kernels import runtime as compiled
from molcalc.train.data import Dataset, open_dataset, split
from molcalc.train.data.geometry_hash import geometry_hashes

MOLECULES = ["H2O", "CH4", "NH3", "CO2", "C2H4", "HCN"]


def moved(atoms: Atoms, seed: int) -> Atoms:
    """The same structure turned, shifted and with its atoms in another order."""
    rng = np.random.default_rng(seed)
    atoms = atoms[rng.permutation(len(atoms)).tolist()]
    atoms.rotate(360 * rng.random(), rng.normal(size=3))
    atoms.translate(rng.normal(size=3))
    return atoms


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Sixty geometries; every third one is there at a second level, moved."""
    with connect(tmp_path / "set.db") as database:
        for k in range(60):
            atoms = molecule(MOLECULES[k % 6])
            atoms.rattle(0.1, seed=k)
            part = "test" if k % 10 == 0 else "train"
            database.write(atoms, fidelity="low", trajectory=f"run {k // 5}", part=part)
            if k % 3 == 0:
                database.write(moved(atoms, k), fidelity="high", trajectory=f"run {k // 5}", part=part)
    return open_dataset(tmp_path / "set.db", cache=tmp_path / "cache")


def parts_of(values: np.ndarray, parts: tuple[np.ndarray, ...]) -> list[set[int]]:
    return [set(values[part].tolist()) for part in parts]


def assert_disjoint(parts: list[set[int]]) -> None:
    assert sum(len(part) for part in parts) == len(set().union(*parts))


@pytest.mark.parametrize(("method", "within"), [("random", 2), ("hash", 8), ("block", 4)])
def test_parts_cover_everything_once_and_have_the_size_asked_for(dataset: Dataset, method: str, within: int) -> None:
    found = split(dataset, valid=0.1, test=16, seed=3, method=method)
    assert sorted(np.concatenate(found)) == list(range(len(dataset)))
    assert len(found.valid) == pytest.approx(8, abs=within)
    assert len(found.test) == pytest.approx(16, abs=within)


@pytest.mark.parametrize("method", ["random", "hash"])
def test_the_same_seed_gives_the_same_split_and_another_seed_another(dataset: Dataset, method: str) -> None:
    first, again = (split(dataset, valid=0.2, test=0.2, seed=1, method=method) for _ in range(2))
    other = split(dataset, valid=0.2, test=0.2, seed=2, method=method)
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not np.array_equal(first.test, other.test)


@pytest.mark.parametrize(
    ("by", "method"),
    [(None, "hash"), ("molecule", "hash"), ("trajectory", "hash"), (None, "random"), (None, "block")],
)
def test_a_geometry_at_two_levels_stays_in_one_part(dataset: Dataset, by: str | None, method: str) -> None:
    found = parts_of(geometry_hashes(dataset), split(dataset, valid=0.2, test=0.2, seed=0, by=by, method=method))
    assert_disjoint(found)


def test_every_part_holds_every_fidelity_and_size(dataset: Dataset) -> None:
    found = split(dataset, valid=0.2, test=0.2, seed=5, method="random")
    for part in found:
        assert set(dataset.fidelity[part].tolist()) == {0, 1}
        assert set(dataset.n_atoms()[part].tolist()) == {3, 4, 5, 6}


def test_molecules_are_not_divided(dataset: Dataset) -> None:
    formula = np.array(
        [hash(tuple(sorted(dataset.numbers[a:b]))) for a, b in zip(dataset.offsets, dataset.offsets[1:])]
    )
    found = parts_of(formula, split(dataset, valid=0.2, test=0.2, seed=0, by="molecule"))
    assert_disjoint(found)
    assert all(found)


def test_groups_by_key_are_not_divided(dataset: Dataset) -> None:
    found = parts_of(dataset.key_codes("trajectory"), split(dataset, valid=0.2, test=0.2, seed=0, by="trajectory"))
    assert_disjoint(found)


def test_a_key_can_say_the_parts_and_the_missing_one_is_drawn_from_training(dataset: Dataset) -> None:
    found = split(dataset, valid=0.1, test=0.5, seed=0, split_key="part")
    assert set(found.test) == set(dataset.where_key("part", "test"))
    assert 1 <= len(found.valid) <= 20


@pytest.mark.parametrize(
    "wrong",
    [{"valid": 10**400}, {"valid": "x"}, {"test": float("nan")}, {"seed": -1}, {"seed": 10**400}, {"seed": 0.5}],
    ids=lambda wrong: str(wrong)[:20],
)
@pytest.mark.parametrize("method", ["hash", "random"])
def test_absurd_numbers_are_refused(dataset: Dataset, method: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(
        DatasetError, match=f"{next(iter(wrong))}=.*(is neither a share|leaves nothing|expected a whole)"
    ):
        split(dataset, **{"valid": 0.1, "test": 0.1, "seed": 0, "method": method, **wrong})


def test_an_empty_part_is_refused(dataset: Dataset) -> None:
    small = dataset.subset([0, 2, 3])
    with pytest.raises(DatasetError, match=r"valid=0\.1 of 3 structures leaves that part empty: give more"):
        split(small, valid=0.1, test=0, seed=0)
    with pytest.raises(DatasetError, match="leaves nothing for training"):
        split(small, valid=3, test=0, seed=0)
    assert len(split(dataset.subset([0, 8, 16]), valid=1, test=0, seed=0).valid) == 1


def grown(dataset: Dataset, n: int, order: np.ndarray | None = None) -> list[set[int]]:
    """Parts of the first structures, by their positions in the whole set."""
    chosen = np.arange(n) if order is None else order
    found = split(dataset.subset(chosen), valid=0.15, test=0.15, seed=0)
    return [set(chosen[part].tolist()) for part in found]


def test_growing_data_keep_their_parts_and_the_order_of_rows_does_not_matter(dataset: Dataset) -> None:
    before, after = grown(dataset, 60), grown(dataset, 80)
    assert all(old <= new for old, new in zip(before, after))
    assert grown(dataset, 80, np.random.default_rng(1).permutation(80)) == after


def test_numbers_of_structures_never_hold_out_what_was_trained_on_before(dataset: Dataset) -> None:
    before = split(dataset.subset(np.arange(60)), valid=6, test=6, seed=0)
    after = split(dataset, valid=8, test=8, seed=0)
    assert not set(before.train) & set(after.test)


def test_elements_of_few_structures_stay_in_training(tmp_path: Path) -> None:
    with connect(tmp_path / "set.db") as database:
        for k in range(30):
            atoms = molecule("SH2" if k in (7, 19) else "SiH4" if k == 11 else "H2O")
            atoms.rattle(0.1, seed=k)
            database.write(atoms)
    data = open_dataset(tmp_path / "set.db", cache=tmp_path / "cache")
    for seed in range(20):
        assert {7, 11, 19} <= set(split(data, valid=0.3, test=0.3, seed=seed).train)


def test_folds_test_every_structure_once(dataset: Dataset) -> None:
    found = [split(dataset, valid=0.1, test=0.1, seed=0, fold=f"{k}/4") for k in (1, 2, 3, 4)]
    assert sorted(np.concatenate([part.test for part in found])) == list(range(len(dataset)))
    assert all(len(part.valid) and not set(part.valid) & set(part.test) for part in found)
    with pytest.raises(DatasetError, match=r"fold='5/4'; expected k/K with 1 ≤ k ≤ K"):
        split(dataset, valid=0.1, test=0.1, seed=0, fold="5/4")


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Sixty frames of water that wander off, and as many that do not."""
    folder = tmp_path_factory.mktemp("walk")
    rng = np.random.default_rng(0)
    with connect(folder / "set.db") as database:
        atoms = molecule("H2O")
        for _ in range(60):
            atoms.positions += 0.03 * rng.normal(size=(3, 3))
            database.write(atoms)
        for k in range(60):
            atoms = molecule("NH3")
            atoms.rattle(0.1, seed=k)
            database.write(atoms)
    return open_dataset(folder / "set.db", cache=folder / "cache")


def test_blocks_cut_a_trajectory_in_few_places(walk: Dataset) -> None:
    found = split(walk, valid=0.1, test=0.2, seed=0, method="block")
    assert found.test.tolist() == [*range(48, 60), *range(108, 120)]
    assert found.valid.tolist() == [*range(42, 48), *range(102, 108)]
    second = split(walk, valid=0.1, test=0.2, seed=0, method="block", fold="1/5")
    assert second.test.tolist() == [*range(12), *range(60, 72)]


def test_methods_that_exclude_each_other_are_refused(walk: Dataset) -> None:
    with pytest.raises(DatasetError, match=r"method='blocks' \(did you mean 'block'\?\); choose one of hash, random"):
        split(walk, valid=0.1, test=0.1, seed=0, method="blocks")
    with pytest.raises(DatasetError, match="blocks of consecutive structures are not divided by"):
        split(walk, valid=0.1, test=0.1, seed=0, method="block", by="molecule")
    with pytest.raises(DatasetError, match="is for the methods hash and block"):
        split(walk, valid=0.1, test=0.1, seed=0, method="random", fold="1/2")


def test_an_unknown_key_is_refused_with_the_keys_there_are(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="no row has the key 'molecul'; keys are: trajectory, part"):
        split(dataset, valid=0.1, test=0.1, seed=0, by="molecul")
    with pytest.raises(DatasetError, match="key 'trajectory' has the value .run .*; it must be one of train"):
        split(dataset, valid=0.1, test=0.1, seed=0, split_key="trajectory")


@pytest.mark.parametrize("without_numba", [False, True], ids=["compiled", "plain"])
def test_fingerprints_ignore_motion_and_order_but_not_distances(
    tmp_path: Path, without_numba: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if without_numba:
        monkeypatch.setattr(compiled, "available", lambda: False)
    atoms = molecule("CH3CH2OH")
    stretched = atoms.copy()
    stretched.set_distance(0, 1, atoms.get_distance(0, 1) + 0.01)
    crystal = Atoms("NaCl", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[4.0, 4.1, 4.2], pbc=True)
    wrapped = crystal.copy()
    wrapped.translate([1.0, 3.0, 2.5])
    wrapped.wrap()
    with connect(tmp_path / "set.db") as database:
        for frame in (atoms, moved(atoms, 1), stretched, crystal, wrapped):
            database.write(frame)
    hashes = geometry_hashes(open_dataset(tmp_path / "set.db", cache=tmp_path / "cache"))
    assert hashes[0] == hashes[1] != hashes[2]
    assert hashes[3] == hashes[4]


def test_compiled_and_plain_fingerprints_agree(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled_hashes = geometry_hashes(dataset)
    monkeypatch.setattr(compiled, "available", lambda: False)
    assert np.array_equal(compiled_hashes, geometry_hashes(dataset))


@pytest.mark.parametrize("method", ["hash", "random", "block"])
@pytest.mark.parametrize(("valid", "test"), [(0.2, 0.95), (0.5, 0.5), (40, 40), (0.6, 50)])
def test_shares_that_leave_nothing_for_training_together_are_refused(
    dataset: Dataset, method: str, valid: float, test: float
) -> None:
    with pytest.raises(DatasetError, match=f"valid={valid} and test={test} of 80 structures leave nothing"):
        split(dataset, valid=valid, test=test, seed=0, method=method)
