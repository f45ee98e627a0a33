"""Geometry of periodic structures: pair lists, translations, derivatives by the cell."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from molcalc.batch import AtomicBatch
from molcalc.cells import cell_fault
from molcalc.errors import CellError
from molcalc.neighbors import all_pairs, pair_list

MARGIN = 1.0 + 1e-9
"""Lists reach a little further than asked for: a pair at the very cutoff counts."""


def complete_pairs(batch: AtomicBatch, cutoff: float) -> AtomicBatch:
    """The batch with a pair list that reaches to ``cutoff`` (Å); its own, where that does."""
    if batch.pair_cutoff >= cutoff:
        return batch
    positions, cell = (x.detach().to("cpu", torch.float64).numpy() for x in (batch.positions, batch.cell))
    pbc, system_idx = batch.pbc.cpu().numpy(), batch.system_idx.cpu().numpy()
    bounds = np.searchsorted(system_idx, np.arange(batch.n_systems + 1))
    indices, shifts = [np.empty((2, 0), dtype=np.int64)], [np.empty((0, 3))]
    for s, (first, last) in enumerate(zip(bounds[:-1], bounds[1:])):
        if pbc[s].any():
            index, shift = pair_list(positions[first:last], cell[s], pbc[s], cutoff * MARGIN)
        else:
            index = all_pairs(int(last - first))
            shift = np.zeros((index.shape[1], 3))
        indices.append(index + first)
        shifts.append(shift)
    device = batch.positions.device
    return replace(
        batch,
        pair_index=torch.as_tensor(np.concatenate(indices, axis=1), device=device),
        pair_shifts=torch.as_tensor(np.concatenate(shifts), device=device),
        pair_cutoff=cutoff,
    )


def completed_cell(cell: np.ndarray, pbc: np.ndarray, positions: np.ndarray, vacuum: float) -> np.ndarray:
    """The cell with rows for directions without periodicity: orthogonal to the others, and so long that at
    least ``vacuum`` is between images.

    Parameters
    ----------
    cell, pbc, positions : (3, 3), (3,) bool, (n_atoms, 3); any unit of length.

    Returns
    -------
    (3, 3) rows in the given unit
    """
    if pbc.all():
        return cell
    normals = np.linalg.svd(cell[pbc])[2][pbc.sum() :]
    heights = np.ptp(positions @ normals.T, axis=0) + vacuum + 1.0
    completed = np.array(cell)
    completed[~pbc] = heights[:, None] * normals
    return completed


def check_cells(batch: AtomicBatch) -> None:
    """Raise CellError where sums over the lattice do not exist, as :func:`molcalc.cells.cell_fault` tells."""
    boxes, pbc, sizes = batch.cell.detach().cpu().numpy(), batch.pbc.cpu().numpy(), batch.atoms_per_system().tolist()
    for s in np.nonzero(pbc.any(axis=1))[0]:
        wrong = cell_fault(boxes[s], pbc[s], sizes[s])
        if wrong is not None:
            raise CellError(f"structure {s}: {wrong}")


class Translations(NamedTuple):
    """Lattice translations of one structure that bring atoms near each other.

    Attributes
    ----------
    wrapped : (n_atoms, 3) positions inside the cell.
    vectors : (4, n) translations and their lengths, shortest first; the zero alone without periodicity.
    extent : distance that no two wrapped atoms of a periodic structure exceed.
    """

    wrapped: np.ndarray
    vectors: np.ndarray
    extent: float


def translations(cell: np.ndarray, pbc: np.ndarray, positions: np.ndarray, cutoff: float) -> Translations:
    """Find all that bring any two atoms within ``cutoff``; arguments in one unit of length."""
    if not pbc.any():
        return Translations(positions, np.zeros((4, 1)), 0.0)
    inverse = np.linalg.inv(completed_cell(cell, pbc, positions, 0.0))
    wrapped = positions - (np.floor(positions @ inverse) * pbc) @ cell
    extent = float(np.linalg.norm(np.ptp(wrapped, axis=0)))
    if not math.isfinite(extent):
        return Translations(positions, np.zeros((4, 1)), 0.0)
    inverse_heights = pbc * np.linalg.norm(inverse, axis=0)
    reach = math.ceil(cutoff + extent)  # a whole number, so that the next step of a dynamics finds it made
    return Translations(wrapped, _sorted_vectors(cell.tobytes(), inverse_heights.tobytes(), reach, cutoff), extent)


@lru_cache(maxsize=16)
def _sorted_vectors(cell_bytes: bytes, inverse_heights_bytes: bytes, reach: int, cutoff: float) -> np.ndarray:
    """(4, n) lattice vectors no longer than ``reach`` and their lengths; 0 marks rows without periodicity.

    Those are left out that lead farther along a vector of the cell than ``cutoff`` and one cell: atoms in a long cell
    are far from each other, but along its length only.
    """
    cell, inverse_heights = np.frombuffer(cell_bytes).reshape(3, 3), np.frombuffer(inverse_heights_bytes)
    limits = np.minimum(np.ceil(reach * inverse_heights), np.ceil(cutoff * inverse_heights) + 1).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in limits), indexing="ij"), axis=-1)
    vectors = grid.reshape(-1, 3) @ cell
    lengths = np.linalg.norm(vectors, axis=1)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] <= reach]
    return np.ascontiguousarray(np.vstack([vectors.T, lengths])[:, order])


def derivative_by_cell(
    strain_derivative: np.ndarray, gradient: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray
) -> np.ndarray:
    """∂E/∂h (3, 3) at fixed positions R, from the derivative by strain W = Rᵀ ∂E/∂R + hᵀ ∂E/∂h."""
    if not pbc.any():
        return np.zeros((3, 3))
    lattice = completed_cell(cell, pbc, positions, 0.0)
    by_cell: np.ndarray = np.linalg.solve(lattice.T, strain_derivative - positions.T @ gradient)
    return by_cell * pbc[:, None]
