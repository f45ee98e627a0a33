"""Least distances of structures over proper rotations, of many pairs at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

_PAIRS_AT_ONCE = 200_000
"""Pairs of structures that are superimposed in one step: some 40 MB."""
_MOST_STEPS = 60
"""Steps to the largest root; structures in a line, where it is a double one, take forty."""
_FLAT = 1e-10
"""Slope at a double root, by the cube of the sizes: nothing is gained by going on."""


def rmsd_matrix(first: np.ndarray, second: np.ndarray, maps: Iterable[np.ndarray] | None = None) -> np.ndarray:
    """Root mean square distances of each structure from each other one, least over proper rotations and exchanges.

    Parameters
    ----------
    first : (n_first, n_atoms, 3) Å.
    second : (n_second, n_atoms, 3) Å, at any place.
    maps : exchanges of equal atoms, each (n_atoms,): which atom of ``second`` stands for each of ``first``; None for
        the atoms as they are.

    Returns
    -------
    (n_first, n_second) Å
    """
    first, second = centered(first), centered(second)
    exchanges = [np.arange(first.shape[1])] if maps is None else list(maps)
    least = np.full((len(first), len(second)), np.inf)
    rows = max(1, _PAIRS_AT_ONCE // max(1, len(second)))
    for start in range(0, len(first), rows):
        some = slice(start, start + rows)
        for images in exchanges:
            np.minimum(least[some], _rmsd(first[some], second[:, images]), out=least[some])
    return least


def _rmsd(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    r"""Distances of structures about common centers over proper rotations.

    The sum of squares is :math:`G_1 + G_2 - 2 \lambda`, where λ is the largest root of

    .. math:: \lambda^4 - 2 \operatorname{tr}(A) \lambda^2 - 8 \det(M) \lambda + 2 \operatorname{tr}(A^2) -
        \operatorname{tr}(A)^2, \quad A = M^T M

    with the products :math:`M = \sum_a r_a s_a^T`; Newton's steps come down to it from :math:`(G_1 + G_2) / 2`.

    Returns
    -------
    (n_first, n_second) Å

    References
    ----------
    W. Kabsch, Acta Cryst. A 34, 827 (1978); D. L. Theobald, Acta Cryst. A 61, 478 (2005).
    """
    products = [[first[:, :, x] @ second[:, :, y].T for y in range(3)] for x in range(3)]
    inner = {(x, y): sum(row[x] * row[y] for row in products) for x in range(3) for y in range(x, 3)}
    trace = inner[0, 0] + inner[1, 1] + inner[2, 2]
    of_square = sum((1.0 if x == y else 2.0) * value**2 for (x, y), value in inner.items())
    linear, constant = 8.0 * _determinant(products), 2.0 * of_square - trace**2
    half = 0.5 * (np.sum(first**2, axis=(1, 2))[:, None] + np.sum(second**2, axis=(1, 2)))
    root = half.copy()
    for _ in range(_MOST_STEPS):
        square = root**2
        value = ((square - 2.0 * trace) * root - linear) * root + constant
        slope = 4.0 * (square - trace) * root - linear
        step = np.divide(value, slope, out=np.zeros_like(root), where=slope > _FLAT * half**3)
        root -= step
        if np.all(np.abs(step) <= 1e-13 * half):
            break
    return np.asarray(np.sqrt(np.maximum(2.0 * (half - root), 0.0) / first.shape[1]))


def _determinant(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Determinant of a matrix whose elements are arrays."""
    (a, b, c), (d, e, f), (g, h, i) = rows
    return np.asarray(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))


def centered(positions: np.ndarray) -> np.ndarray:
    """Structures (..., n_atoms, 3) about the centers of their atoms, in Å."""
    return np.asarray(positions - positions.mean(axis=-2, keepdims=True))
