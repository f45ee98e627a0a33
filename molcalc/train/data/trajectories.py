"""Frames of trajectories: consecutive structures of one molecule, which resemble each other more than others do."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from molcalc.train.data.dataset import Dataset
from molcalc.train.data.limits import FEWEST_FRAMES, FRAMES_COMPARED, NEAR_FRAMES, RUNS_COMPARED


class Resemblance(NamedTuple):
    """How far apart frames are.

    Attributes
    ----------
    n_frames : structures in runs whose neighbors resemble each other.
    near, far : Å, median distance per atom of consecutive frames, and of frames half a run apart.
    """

    n_frames: int
    near: float
    far: float

    def __str__(self) -> str:
        return (
            f"{self.n_frames} structures look like frames of trajectories: consecutive ones are {self.near:.2g} Å per "
            f"atom apart, others {self.far:.2g} Å. Neighbors of what is trained on then test what was learned by "
            "heart: split='block' holds out consecutive frames"
        )


def runs_of(dataset: Dataset) -> np.ndarray:
    """(n,) int64, number of the run of consecutive structures of one file, fidelity, charge and order of elements.

    Returns
    -------
    (n,) int64, ascending
    """
    source, _ = dataset.row_ids()
    sizes, starts = dataset.n_atoms(), dataset.offsets[:-1]
    same = np.ones(max(0, len(dataset) - 1), dtype=bool)
    for values in (source, dataset.fidelity, dataset.total_charge, sizes):
        same &= values[1:] == values[:-1]
    for k in np.flatnonzero(same).tolist():
        n, first, second = sizes[k], starts[k], starts[k + 1]
        same[k] = np.array_equal(dataset.numbers[first : first + n], dataset.numbers[second : second + n])
    return np.concatenate([np.zeros(min(1, len(dataset)), dtype=np.int64), np.cumsum(~same)])


def resembling_frames(dataset: Dataset) -> Resemblance | None:
    """Whether consecutive structures are much more alike than others of the same run; None if they are not."""
    runs = runs_of(dataset)
    numbers, first, counts = np.unique(runs, return_index=True, return_counts=True)
    long = np.flatnonzero(counts >= FEWEST_FRAMES)
    found: list[tuple[int, float, float]] = []
    for run in long[np.unique(np.linspace(0, len(long) - 1, RUNS_COMPARED).astype(np.int64))] if len(long) else ():
        start, count = int(first[run]), int(counts[run])
        chosen = np.unique(np.linspace(0, count - 2, FRAMES_COMPARED).astype(np.int64))
        near = _median_distance(dataset, start + chosen, start + chosen + 1)
        far = _median_distance(dataset, start + chosen, start + (chosen + count // 2) % count)
        if near < NEAR_FRAMES * far:
            found.append((count, near, far))
    if not found:
        return None
    share = sum(count for count, _, _ in found) / len(found) * len(long)
    _, near, far = (np.median([row[k] for row in found]) for k in range(3))
    return Resemblance(min(int(share), int(counts[long].sum())), float(near), float(far))


def _median_distance(dataset: Dataset, first: np.ndarray, second: np.ndarray) -> float:
    """Å per atom, root mean square over a pair of frames, median over the pairs; moved and wrapped frames are equal."""
    return float(np.median([_distance(dataset, int(i), int(j)) for i, j in zip(first, second)]))


def _distance(dataset: Dataset, i: int, j: int) -> float:
    a, b = dataset.offsets[i], dataset.offsets[j]
    n = int(dataset.offsets[i + 1] - a)
    moves = dataset.positions[b : b + n] - dataset.positions[a : a + n]
    periodic, cell = dataset.pbc[i], dataset.cell[i]
    if periodic.all() and abs(np.linalg.det(cell)) > 0:
        moves = moves - np.round(np.linalg.solve(cell.T, moves.T).T) @ cell
    moves = moves - moves.mean(axis=0)
    return float(np.sqrt((moves**2).sum() / n))
