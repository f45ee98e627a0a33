"""Lattices: the shortest vectors that span one, and what is wrong with cells that nothing can be computed in.

A lattice has many cells. Sums over neighbors and images cost what the shape of the cell makes them cost, and some
libraries look no further than the nearest cells, so that all of them get the most compact one.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

MIN_LENGTH = 0.1
"""Å, shortest lattice vector: an atom and its own image."""
MIN_VOLUME = 0.1
"""Å³ per atom of a crystal."""
MAX_LENGTH = 1e8
"""Å, beyond which coordinates are rounded to 1e-8 Å and more."""
MAX_RATIO = 1e6
"""Longest over shortest vector of a reduced crystal."""
MIN_SINE = 1e-6
"""Height of a vector over the space of the others, relative to its length, below which it depends on them."""
GAIN = 1.0 - 1e-9
"""A vector is exchanged only for one that is shorter than this share of it: rounding exchanges none."""


class ReducedCell(NamedTuple):
    """The shortest vectors of a lattice, and how they follow from the given ones.

    Attributes
    ----------
    cell : (3, 3) Å, ``change @ given``; rows of directions that are not periodic are the given ones.
    change : (3, 3) whole numbers of determinant ±1; None where the given cell is reduced already.
    """

    cell: Float[np.ndarray, "3 3"]
    change: Int[np.ndarray, "3 3"] | None


def reduced_cell(cell: Float[np.ndarray, "3 3"], pbc: Bool[np.ndarray, " 3"]) -> ReducedCell:
    """Minkowski-reduced cell of the same lattice; one that is reduced already stays as it is, to the last bit.

    Parameters
    ----------
    cell : (3, 3) Å, rows are lattice vectors.
    pbc : (3,) bool; only rows of periodic directions change.

    Returns
    -------
    cell that the caller owns, and the change

    References
    ----------
    Semaev, in Cryptography and Lattices (2001), 181: each vector is made shortest by those shorter than it.
    """
    box = np.ascontiguousarray(cell, dtype=np.float64)
    directions = tuple(np.flatnonzero(pbc).tolist())
    if len(directions) < 2 or not np.isfinite(box).all():
        return ReducedCell(box.copy(), None)
    found, change = _reduced(box.tobytes(), directions)
    return ReducedCell(found.copy(), change)


@lru_cache(maxsize=64)
def _reduced(cell_bytes: bytes, directions: tuple[int, ...]) -> ReducedCell:
    cell = np.frombuffer(cell_bytes).reshape(3, 3).copy()
    change = np.eye(3, dtype=np.int64)
    while True:
        lengths = np.linalg.norm(cell, axis=1)
        for k in sorted(directions, key=lambda row: -lengths[row]):
            others = [row for row in directions if row != k]
            steps = _nearest(cell[k], cell[others])
            shorter = cell[k] - steps @ cell[others]
            if np.linalg.norm(shorter) < GAIN * lengths[k]:
                cell[k] = shorter
                change[k] -= steps @ change[others]
                break
        else:
            return ReducedCell(cell, None if np.array_equal(change, np.eye(3)) else change)


def _nearest(vector: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whole numbers n that make |vector − n @ others| smallest, if the others are reduced; else smaller."""
    fractions = np.linalg.lstsq(others.T, vector, rcond=None)[0]
    corners = np.floor(fractions) + np.array(list(product((0, 1), repeat=len(others))))
    nearest: np.ndarray = corners[np.linalg.norm(vector - corners @ others, axis=1).argmin()]
    return nearest.astype(np.int64)


def cell_fault(cell: Float[np.ndarray, "3 3"], pbc: Bool[np.ndarray, " 3"], n_atoms: int) -> str | None:
    """What is wrong with a cell, and what to do; None where neighbors, sums and stress exist.

    Parameters
    ----------
    cell : (3, 3) Å, rows are lattice vectors. Rows of directions that are not periodic may be zero.
    pbc : (3,) bool, True somewhere.

    Returns
    -------
    sentence for an error; None for a cell without fault
    """
    flags = np.asarray(pbc, dtype=bool)
    if not np.isfinite(cell).all():
        return f"cell is not finite: {cell.tolist()}"
    if not cell.any():
        return f"pbc={flags.tolist()} with a zero cell: set the cell or switch off pbc"
    longest = max(math.hypot(*vector) for vector in cell.tolist())  # squares of numpy would overflow
    if longest > MAX_LENGTH:
        return f"a cell vector is {longest:.3g} Å long; longer than {MAX_LENGTH:g} Å, places in it are not numbers"
    box = reduced_cell(cell, flags).cell
    rank = _rank(box[flags])
    if rank < flags.sum():
        return f"pbc={flags.tolist()} with a cell of cell rank {rank}: set the missing lattice vectors"
    lengths = np.linalg.norm(box, axis=1)
    if lengths[flags].min() < MIN_LENGTH:
        return (
            f"cell vectors {cell[flags].tolist()} Å span next to no volume: their lattice has a vector of "
            f"{lengths[flags].min():.3g} Å, on which an atom meets its own image (at least {MIN_LENGTH:g} Å is "
            "expected); check the cell"
        )
    if flags.all():
        volume = abs(float(np.linalg.det(box)))
        if volume < MIN_VOLUME * n_atoms or lengths.max() > MAX_RATIO * lengths.min():
            return f"cell volume {volume:.3g} Å3, {volume / n_atoms:.3g} Å3/atom, is too small or too flat"
    given = flags | (lengths > 0.0)
    if _rank(box[given]) < given.sum():
        return (
            f"cell vectors {cell[given].tolist()} Å with pbc={flags.tolist()} lie in one plane or line, so that there "
            "is no volume for the stress: set the vectors of directions without periodicity to zero, or out of it"
        )
    return None


def doubtful_cells(
    cell: Float[np.ndarray, "n 3 3"], pbc: Bool[np.ndarray, "n 3"], n_atoms: Int[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """(n,) bool, of many cells at once those in which :func:`cell_fault` may find something; others are faultless."""
    lengths = np.linalg.norm(cell, axis=2)
    shortest, longest = lengths.min(axis=1, initial=np.inf), lengths.max(axis=1, initial=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        directions = cell / lengths[:, :, None]
    bad = pbc.any(axis=1) & ~np.isfinite(directions).all(axis=(1, 2))
    looked_at = pbc.any(axis=1) & ~bad
    if looked_at.any():
        # |n @ cell| ≥ σ |n| shortest for whole numbers n, with σ the smallest singular value of the directions
        sines = np.linalg.svd(directions[looked_at], compute_uv=False)[:, -1]
        volumes = np.abs(np.linalg.det(cell[looked_at]))
        bad[looked_at] = (
            (sines * shortest[looked_at] < MIN_LENGTH)
            | (sines < MIN_SINE)
            | (volumes < MIN_VOLUME * n_atoms[looked_at])
            | (longest[looked_at] > min(MAX_RATIO * MIN_LENGTH, MAX_LENGTH))
        )
    return bad


def _rank(rows: np.ndarray) -> int:
    """Number of vectors that do not depend on the others; zero ones do."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return int(np.linalg.matrix_rank(rows / np.where(lengths > 0.0, lengths, 1.0), tol=MIN_SINE))
