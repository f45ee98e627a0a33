"""Fingerprints of geometries that do not change when a structure is moved, turned, or its atoms reordered."""

from __future__ import annotations

import numpy as np

from molcalc.kernels import runtime as compiled
from molcalc.train.data.dataset import Dataset

RESOLUTION = 1e-3
"""Å; distances closer than this count as equal."""
PAIRS_AT_ONCE = 2_000_000
_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], dtype=np.uint64)


def geometry_hashes(dataset: Dataset) -> np.ndarray:
    """(len(dataset),) uint64, equal for structures of the same elements, charge, distances and cell.

    Fidelity does not enter. Mirror images are equal.

    Returns
    -------
    (len(dataset),) uint64
    """
    sums = np.empty(len(dataset), dtype=np.uint64)
    sizes = dataset.n_atoms()
    periodic = dataset.pbc.any(axis=1)
    if compiled.available():
        from molcalc.kernels.geometry_hash import sum_of_pairs

        simple = np.flatnonzero(~periodic)
        numbers, positions = dataset.numbers, dataset.positions
        found = np.empty(len(simple), dtype=np.uint64)
        work = 20.0 * float((sizes[simple] ** 2).sum())
        starts = dataset.offsets[simple]
        args = (starts, sizes[simple], numbers, positions, 1 / RESOLUTION, found)
        compiled.share_range(sum_of_pairs, len(simple), work, *args)
        sums[simple] = found
        rest = np.flatnonzero(periodic)
    else:
        rest = np.arange(len(dataset))
    for k in rest.tolist():
        sums[k] = _sum_of_pairs(dataset, k)
    return _finish(sums, dataset.total_charge, sizes)


def mix(values: np.ndarray) -> np.ndarray:
    """Spread uint64 values over all 64 bits.

    Returns
    -------
    uint64 in the shape of ``values``

    References
    ----------
    Steele, Lea, Flood, OOPSLA 2014 (SplitMix64).
    """
    values = values + _MULTIPLIERS[0]
    values = (values ^ (values >> np.uint64(30))) * _MULTIPLIERS[1]
    values = (values ^ (values >> np.uint64(27))) * _MULTIPLIERS[2]
    return values ^ (values >> np.uint64(31))


def _finish(sums: np.ndarray, charges: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    charge = np.round(charges).astype(np.int64).view(np.uint64)
    return mix(sums ^ mix(charge + np.uint64(1)) ^ mix(sizes.astype(np.uint64) << np.uint64(32)))


def _sum_of_pairs(dataset: Dataset, k: int) -> np.uint64:
    """Sum over atoms and pairs of one structure, with nearest images in periodic directions."""
    atoms = slice(dataset.offsets[k], dataset.offsets[k + 1])
    numbers = dataset.numbers[atoms].astype(np.uint64)
    positions, cell, pbc = dataset.positions[atoms], dataset.cell[k], dataset.pbc[k]
    i, j = np.triu_indices(len(numbers), k=1)
    total = int(mix(numbers << np.uint64(48)).sum(dtype=np.uint64))
    for start in range(0, len(i), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        arms = positions[j[part]] - positions[i[part]]
        if pbc.any():
            arms = _nearest_images(arms, cell, pbc)
        squared = arms[:, 0] * arms[:, 0] + arms[:, 1] * arms[:, 1] + arms[:, 2] * arms[:, 2]
        rounded = np.floor(np.sqrt(squared) * (1 / RESOLUTION) + 0.5).astype(np.int64).view(np.uint64)
        low, high = np.minimum(numbers[i[part]], numbers[j[part]]), np.maximum(numbers[i[part]], numbers[j[part]])
        total += int(mix((low << np.uint64(56)) ^ (high << np.uint64(48)) ^ rounded).sum(dtype=np.uint64))
    if pbc.any():
        metric = np.where(pbc[:, None] & pbc[None], cell @ cell.T, 0.0)
        lengths = np.sign(metric) * np.sqrt(np.abs(metric))
        rounded = np.floor(lengths / RESOLUTION + 0.5).astype(np.int64).view(np.uint64).reshape(-1)
        places = np.arange(1, 10, dtype=np.uint64) << np.uint64(40)
        total += int(mix(rounded ^ places).sum(dtype=np.uint64))
    return np.uint64(total % (1 << 64))


def _nearest_images(arms: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Arms between nearest images along each lattice vector; the same however atoms are wrapped."""
    box = np.array(cell)
    for k in np.flatnonzero(~pbc):
        free = np.cross(box[(k + 1) % 3], box[(k + 2) % 3])
        box[k] = free if np.linalg.norm(free) > 0 else np.eye(3)[k]
    if abs(np.linalg.det(box)) < 1e-12:
        return arms
    fractional = arms @ np.linalg.inv(box)
    return arms - np.where(pbc, np.round(fractional), 0.0) @ box
