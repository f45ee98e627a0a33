"""Lists of neighboring atoms, periodic or not, and their reuse between steps.

All functions return ``(index, shifts)`` with r_ij = R[j] − R[i] + shift @ cell.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from molcalc.cells import reduced_cell
from molcalc.errors import ResourceError
from molcalc.kernels import runtime as compiled

DENSE_LIMIT = 64
"""Up to this many atoms (not periodic) comparing all pairs beats a cell list."""
SEARCH_WIDTH = 2.0
"""Å, least width of the cells of a cell list: narrower ones are nearly all empty, and there are millions of them."""

KEPT_PAIRS_ATOMS = 1000
"""Atoms up to which a list of all pairs is kept: 8 MB, 16 times."""
MAX_LISTED_ATOMS = 16_000
"""Atoms up to which a list of all pairs is made: 2 GB."""

Pairs = tuple[Int[np.ndarray, "2 n_edges"], Float[np.ndarray, "n_edges 3"]]


def neighbor_list(
    positions: Float[np.ndarray, "n_atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, " 3"],
    cutoff: float,
) -> Pairs:
    """Every ordered pair of atoms, and of atoms and periodic images, with distance < ``cutoff``.

    Parameters
    ----------
    positions : (n_atoms, 3) Å, anywhere (wrapping is not needed).
    cell : (3, 3) Å, rows are lattice vectors; rows of directions that are not periodic are ignored.
    pbc : (3,) bool.
    cutoff : Å; nothing is within 0.

    Returns
    -------
    index : (2, n_edges) int64, sorted by the first row.
    shifts : (n_edges, 3) float64.
    """
    if cutoff > 0.0 and len(positions) <= DENSE_LIMIT and not np.any(pbc):
        return _dense_list(positions, cutoff, ordered=True)  # in order
    index, shifts = _search(positions, cell, pbc, cutoff, ordered=True)
    order = np.argsort(index[0], kind="stable")
    return np.take(index, order, axis=1), shifts[order]


def pair_list(
    positions: Float[np.ndarray, "n_atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, " 3"],
    cutoff: float,
) -> Pairs:
    """Every unordered pair of atoms, and of atoms and periodic images, once; arguments as in :func:`neighbor_list`.

    Returns
    -------
    index : (2, n_pairs) int64.
    shifts : (n_pairs, 3) float64.
    """
    return _search(positions, cell, pbc, cutoff, ordered=False)


def _search(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float, ordered: bool) -> Pairs:
    """Both directions of each pair if ``ordered``, else one."""
    if len(positions) == 0 or not cutoff > 0.0:
        return np.empty((2, 0), dtype=np.int64), np.empty((0, 3))
    cell, change = reduced_cell(cell, pbc)
    laps, periodic = _cut_open(positions, cell, np.asarray(pbc, dtype=bool), cutoff)
    if laps is not None:
        positions = positions - laps @ cell
    if not periodic.any() and len(positions) <= DENSE_LIMIT:
        index, shifts = _dense_list(positions, cutoff, ordered)
    else:
        index, shifts = _cell_list(positions, cell, periodic, cutoff, ordered)
    if laps is not None:
        shifts = shifts + laps[index[0]] - laps[index[1]]
    return index, shifts if change is None else shifts @ change


def _cut_open(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float
) -> tuple[np.ndarray | None, np.ndarray]:
    """Cut periodic directions open where a gap between the atoms is wider than the cutoff.

    No image matters in such a direction, once all atoms stand on one side of the gap. The cells of a search over a
    slab, or over a molecule in a box, would be nearly all empty.

    Returns
    -------
    laps : (n_atoms, 3) whole lattice translations to take off, or None.
    periodic : (3,) bool, directions that still are.
    """
    rows = cell[pbc]
    if not rows.size or np.linalg.matrix_rank(rows) < len(rows) or not np.isfinite(positions).all():
        return None, pbc
    to_fractions = np.linalg.pinv(rows)
    heights = 1.0 / np.linalg.norm(to_fractions, axis=0)
    fractions = positions @ to_fractions
    inside = np.sort(fractions - np.floor(fractions), axis=0)
    gaps = np.diff(inside, axis=0, append=inside[:1] + 1.0)
    widest = gaps.argmax(axis=0)
    columns = np.arange(len(rows))
    wide = gaps[widest, columns] * heights > cutoff
    if not wide.any():
        return None, pbc
    middle = inside[widest, columns] + 0.5 * gaps[widest, columns]
    laps, periodic = np.zeros_like(positions), pbc.copy()
    directions = np.flatnonzero(pbc)[wide]
    laps[:, directions] = np.floor(fractions - middle)[:, wide]
    periodic[directions] = False
    return laps, periodic


def _dense_list(positions: np.ndarray, cutoff: float, ordered: bool) -> Pairs:
    if compiled.available():
        from molcalc.kernels.neighbors import list_pairs

        pairs = np.empty((2, len(positions) ** 2), dtype=np.int64)
        n_pairs = list_pairs(np.ascontiguousarray(positions, dtype=np.float64), cutoff * cutoff, ordered, pairs)
        return pairs[:, :n_pairs].copy(), np.zeros((n_pairs, 3))
    difference = positions[:, None] - positions[None]
    squared = np.einsum("ijx,ijx->ij", difference, difference)
    np.fill_diagonal(squared, np.inf)
    near = squared < cutoff * cutoff
    index = np.array(np.nonzero(near if ordered else np.triu(near)))
    return index, np.zeros((index.shape[1], 3))


def _cell_list(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float, ordered: bool) -> Pairs:
    from vesin import NeighborList as VesinList

    compute = VesinList(cutoff=max(cutoff, SEARCH_WIDTH), full_list=ordered).compute
    box = np.where(pbc[:, None], cell, 0.0)
    i, j, shifts = compute(positions, box, [bool(p) for p in pbc], "ijS")
    index, shifts = np.stack([i, j]).astype(np.int64), shifts.astype(np.float64)
    return (index, shifts) if cutoff >= SEARCH_WIDTH else _within(index, shifts, positions, cell, cutoff)


def all_pairs(n_atoms: int) -> Int[np.ndarray, "2 n_pairs"]:
    """(2, n(n−1)/2) int64, every unordered pair of atoms once; those of few atoms are kept for the next call.

    Returns
    -------
    (2, n_pairs) int64

    Raises
    ------
    ResourceError
        Above :data:`MAX_LISTED_ATOMS`.
    """
    return _kept_pairs(n_atoms) if n_atoms <= KEPT_PAIRS_ATOMS else _all_pairs(n_atoms)


@lru_cache(maxsize=16)
def _kept_pairs(n_atoms: int) -> np.ndarray:
    return _all_pairs(n_atoms)


def _all_pairs(n_atoms: int) -> np.ndarray:
    if n_atoms > MAX_LISTED_ATOMS:
        raise ResourceError(
            f"a list of all pairs of {n_atoms} atoms would take {8e-9 * n_atoms * n_atoms:.0f} GB; it is made up to "
            f"{MAX_LISTED_ATOMS} atoms. Energies and forces do without one where numba is installed: use the extra "
            '"fast" on a processor, or a smaller structure'
        )
    later = np.arange(n_atoms - 1, -1, -1)
    index = np.empty((2, int(later.sum())), dtype=np.int64)
    index[0] = np.repeat(np.arange(n_atoms), later)
    index[1] = np.arange(index.shape[1])
    index[1] += (1 + np.arange(n_atoms) - np.concatenate([[0], np.cumsum(later)[:-1]]))[index[0]]
    return index


class VerletList:
    """Edge list that follows a moving structure.

    While atoms move little between calls, a list with a margin (``skin``) is kept and only filtered down to the
    cutoff; the result equals a fresh list. A structure that jumps, changes cell or size is listed anew, without margin
    until it moves slowly again.

    Parameters
    ----------
    cutoff, skin : Å.
    """

    def __init__(self, cutoff: float, skin: float = 0.5) -> None:
        self.cutoff = cutoff
        self.skin = skin
        self._last: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self._reference: np.ndarray | None = None
        self._wide: Pairs | None = None

    def update(
        self, positions: Float[np.ndarray, "n_atoms 3"], cell: Float[np.ndarray, "3 3"], pbc: Bool[np.ndarray, " 3"]
    ) -> Pairs:
        """Edges within the cutoff, as :func:`neighbor_list` returns them."""
        if len(positions) <= DENSE_LIMIT and not np.any(pbc):
            self._last = self._wide = None
            return neighbor_list(positions, cell, pbc, self.cutoff)
        last, self._last = self._last, (positions.copy(), np.array(cell), np.array(pbc))
        same_box = (
            last is not None
            and len(last[0]) == len(positions)
            and np.array_equal(last[1], cell)
            and np.array_equal(last[2], pbc)
        )
        if not same_box:
            self._wide = None
            return neighbor_list(positions, cell, pbc, self.cutoff)
        if self._wide is None or _largest_move(positions, self._reference) > 0.5 * self.skin:
            self._wide = None
            assert last is not None
            if _largest_move(positions, last[0]) > 0.25 * self.skin:
                return neighbor_list(positions, cell, pbc, self.cutoff)
            self._wide = neighbor_list(positions, cell, pbc, self.cutoff + self.skin)
            self._reference = positions.copy()
        return _within(*self._wide, positions, cell, self.cutoff)


def _largest_move(positions: np.ndarray, reference: np.ndarray | None) -> float:
    """Largest distance an atom has moved, in Å."""
    if reference is None:
        return float("inf")
    return float(np.sqrt(np.square(positions - reference).sum(axis=1).max(initial=0.0)))


def _within(index: np.ndarray, shifts: np.ndarray, positions: np.ndarray, cell: np.ndarray, cutoff: float) -> Pairs:
    """The part of a list that is within the cutoff now."""
    if compiled.available():
        from molcalc.kernels.neighbors import mark_within

        keep = np.empty(index.shape[1], dtype=np.bool_)
        mark_within(index, shifts, positions, np.ascontiguousarray(cell), cutoff * cutoff, keep)
    else:
        vectors = positions[index[1]] - positions[index[0]] + shifts @ cell
        keep = np.einsum("ex,ex->e", vectors, vectors) < cutoff * cutoff
    return np.compress(keep, index, axis=1), shifts[keep]
