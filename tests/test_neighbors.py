"""Neighbor lists against counting all images by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from molcalc import neighbors
from molcalc.errors import ResourceError
from molcalc.neighbors import VerletList, all_pairs, neighbor_list, pair_list


def brute_force(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> set[tuple[int, ...]]:
    """Every (i, j, shift) with distance < cutoff, by trying all shifts that can matter."""
    used = np.where(pbc[:, None], cell, 0.0)
    spread = np.ptp(positions, axis=0).max() + cutoff
    reach = []
    for axis in range(3):
        if not pbc[axis]:
            reach.append(range(1))
            continue
        full = np.where(pbc[:, None], cell, np.eye(3))
        others = [full[k] for k in range(3) if k != axis]
        normal = np.cross(*others)
        height = abs(full[axis] @ normal) / np.linalg.norm(normal)
        n = int(np.ceil((spread * 2) / height)) + 1
        reach.append(range(-n, n + 1))
    found = set()
    shifts = np.array(list(itertools.product(*reach)), dtype=float)
    for i, j in itertools.product(range(len(positions)), repeat=2):
        vectors = positions[j] - positions[i] + shifts @ used
        for shift in shifts[(np.square(vectors).sum(axis=1) < cutoff**2)]:
            if i != j or shift.any():
                found.add((i, j, *(int(s) for s in shift)))
    return found


def as_set(index: np.ndarray, shifts: np.ndarray) -> set[tuple[int, ...]]:
    listed = [tuple(int(x) for x in row) for row in np.column_stack([index.T, shifts])]
    assert len(set(listed)) == len(listed)
    return set(listed)


@pytest.mark.parametrize("pbc", list(itertools.product([False, True], repeat=3)), ids=str)
def test_list_equals_brute_force(pbc: tuple[bool, bool, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(sum(2**k for k, p in enumerate(pbc) if p))
    for trial in range(12):
        monkeypatch.setattr(neighbors, "DENSE_LIMIT", 0 if trial % 2 else 64)
        n = int(rng.integers(1, 7))
        cell = np.diag(rng.uniform(2.0, 4.5, 3)) + rng.uniform(-0.8, 0.8, (3, 3))
        if trial % 3 == 0:
            cell = cell[[1, 0, 2]]  # left-handed
        positions = rng.uniform(0, 1, (n, 3)) @ cell
        if trial % 4 == 0:
            positions += rng.integers(-2, 3, (n, 3)) @ np.where(np.array(pbc)[:, None], cell, 0.0)
        cutoff = float(rng.uniform(1.5, 5.0))
        found = neighbor_list(positions, cell, np.array(pbc), cutoff)
        assert as_set(*found) == brute_force(positions, cell, np.array(pbc), cutoff)
        assert (np.diff(found[0][0]) >= 0).all()


SPARSE = {
    "slab": (np.array([[2.5, 0.2, 0.1], [0.3, 2.7, -0.2], [1.0, 0.4, 22.0]]), [True] * 3),
    "turned slab without its third vector": (np.array([[2.5, 0.9, 0.4], [0.3, 2.2, 1.5], [0.0, 0.0, 0.0]]), [1, 1, 0]),
    "chain": (np.array([[19.0, 1.0, 0.0], [0.0, 18.0, 3.0], [0.4, 0.3, 2.4]]), [True] * 3),
    "chain along the second vector": (np.array([[0.0, 0, 0], [1.0, 2.0, 0.7], [0.0, 0, 0]]), [False, True, False]),
    "molecule in a box": (np.array([[25.0, 1.0, 0.0], [2.0, 23.0, 3.0], [0.0, 0.3, 21.0]]), [True] * 3),
}


@pytest.mark.parametrize("cutoff", [0.4, 1.7, 4.0])
@pytest.mark.parametrize("name", SPARSE)
def test_vacuum_is_cut_open_wherever_it_lies(name: str, cutoff: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Atoms may stand on both sides of the border of the cell, and laps away from each other."""
    monkeypatch.setattr(neighbors, "DENSE_LIMIT", 3)  # both ways to search
    rng = np.random.default_rng(len(name))
    cell, pbc = SPARSE[name][0], np.array(SPARSE[name][1], dtype=bool)
    for n in (1, 3, 6):
        positions = rng.uniform(0, 2.6, (n, 3)) + rng.uniform(-30, 30, 3)
        positions += rng.integers(-2, 3, (n, 3)) @ np.where(pbc[:, None], cell, 0.0)
        assert as_set(*neighbor_list(positions, cell, pbc, cutoff)) == brute_force(positions, cell, pbc, cutoff)


@pytest.mark.parametrize("name", SPARSE)
def test_a_short_cutoff_makes_no_more_cells_than_a_long_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    searched = []
    monkeypatch.setattr(neighbors, "DENSE_LIMIT", 0)
    monkeypatch.setattr("vesin.NeighborList", lambda cutoff, full_list: searched.append(cutoff) or WithoutPairs())
    cell, pbc = SPARSE[name][0], np.array(SPARSE[name][1], dtype=bool)
    neighbor_list(np.arange(9.0).reshape(3, 3), cell, pbc, 0.05)
    assert searched == [neighbors.SEARCH_WIDTH]


class WithoutPairs:
    """Stands for a search that finds nothing, and looks only where images matter."""

    def compute(
        self, positions: np.ndarray, box: np.ndarray, pbc: list[bool], quantities: str
    ) -> tuple[np.ndarray, ...]:
        assert np.linalg.norm(box, axis=1).max() < 3.0
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty((0, 3))


def test_nothing_is_within_a_cutoff_of_zero() -> None:
    index, shifts = neighbor_list(np.zeros((2, 3)), np.eye(3), np.array([True] * 3), 0.0)
    assert index.shape == (2, 0)
    assert shifts.shape == (0, 3)


@pytest.mark.parametrize("dense_limit", [0, 64], ids=["cells", "all pairs"])
@pytest.mark.parametrize("name", SPARSE)
def test_pairs_are_listed_once(name: str, dense_limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "DENSE_LIMIT", dense_limit)
    rng = np.random.default_rng(0)
    cell, pbc = SPARSE[name][0], np.array(SPARSE[name][1], dtype=bool)
    positions = rng.uniform(0, 2.5, (5, 3))
    for cutoff in (1.3, 6.0):
        half = as_set(*pair_list(positions, cell, pbc, cutoff))
        mirrored = {(j, i, -a, -b, -c) for i, j, a, b, c in half}
        assert half | mirrored == as_set(*neighbor_list(positions, cell, pbc, cutoff))
        assert not half & mirrored


def test_all_pairs_of_a_molecule() -> None:
    assert all_pairs(3).tolist() == [[0, 0, 1], [1, 2, 2]]
    assert all_pairs(1).shape == (2, 0)
    assert np.array_equal(all_pairs(40), np.stack(np.triu_indices(40, k=1)))


def test_lists_of_all_pairs_are_refused_before_memory_is_gone() -> None:
    with pytest.raises(ResourceError, match="50000 atoms would take 20 GB"):
        all_pairs(50_000)
    assert all_pairs(40) is all_pairs(40)
    assert all_pairs(1001) is not all_pairs(1001)  # 8 MB each


def test_no_atoms_have_no_neighbors() -> None:
    index, shifts = neighbor_list(np.empty((0, 3)), np.eye(3), np.array([True] * 3), 5.0)
    assert index.shape == (2, 0)
    assert shifts.shape == (0, 3)


@pytest.mark.parametrize("periodic", [False, True], ids=["molecule", "crystal"])
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "numpy"])
def test_followed_list_equals_a_fresh_one(periodic: bool, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if compiled:
        pytest.importorskip("numba")
    monkeypatch.setattr("molcalc.kernels.runtime.available", lambda: compiled)
    rng = np.random.default_rng(1)
    positions, cell = rng.uniform(0, 9, (80, 3)), np.diag([9.0, 9.5, 10.0]) + 0.3
    pbc = np.array([periodic] * 3)
    verlet, reused = VerletList(3.0), 0
    for step in range(120):
        positions = positions + rng.normal(scale=0.01, size=positions.shape)
        if step % 40 == 25:
            cell = cell * 1.002
        if step % 40 == 35:
            positions += 3.0 * rng.normal(size=positions.shape)
        before = verlet._wide
        found = verlet.update(positions, cell, pbc)
        reused += verlet._wide is before and before is not None
        assert as_set(*found) == as_set(*neighbor_list(positions, cell, pbc, 3.0))
        assert found[0].flags.c_contiguous
    assert reused > 60


def test_a_followed_list_is_renewed_before_atoms_can_enter_unseen() -> None:
    """Steady motion of 0.03 Å per step carries pairs from beyond the margin into the cutoff within 20 steps."""
    rng = np.random.default_rng(2)
    positions, cell, pbc = rng.uniform(0, 9, (80, 3)), 9.0 * np.eye(3), np.array([True] * 3)
    velocities = rng.normal(size=positions.shape)
    velocities *= 0.03 / np.linalg.norm(velocities, axis=1, keepdims=True)
    verlet = VerletList(3.0)
    for _ in range(60):
        positions = positions + velocities
        assert as_set(*verlet.update(positions, cell, pbc)) == as_set(*neighbor_list(positions, cell, pbc, 3.0))
