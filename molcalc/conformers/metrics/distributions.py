"""Distributions of bonds, angles and torsions of two sets of structures, and how far they are from each other.

Edges are fixed, so that values of different runs can be compared; what lies outside is counted in outer bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import wasserstein_distance

from molcalc.conformers.metrics.internal_coordinates import InternalCoordinates

BOND_EDGES = np.round(np.arange(0.5, 3.0 + 1e-9, 0.02), 2)
"""Å."""
ANGLE_EDGES = np.arange(0.0, 180.0 + 1.0, 2.0)
"""Degrees."""
TORSION_EDGES = np.arange(-180.0, 180.0 + 1.0, 10.0)
"""Degrees."""
MAP_EDGES = np.arange(-180.0, 180.0 + 1.0, 15.0)
"""Degrees: 24 by 24 bins of two torsions."""
BOND_KIND, ANGLE_KIND, TORSION_KIND, MAP_KIND = "bond", "angle", "torsion", "torsion map"
COORDINATE_KINDS = (BOND_KIND, ANGLE_KIND, TORSION_KIND, MAP_KIND)


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """How far one distribution of generated structures is from that of the reference.

    Attributes
    ----------
    kind : one of :data:`COORDINATE_KINDS`.
    name : elements of a bond or an angle, atoms of one torsion or two.
    value : Jensen–Shannon divergence from 0 (equal) to 1 (nothing in common).
    halves : the same between the first and the second half of the reference: what sampling alone does.
    wasserstein : Å, mean distance that the bond lengths must be shifted by; None of what is no bond.
    wasserstein_halves : the same between the halves of the reference.
    """

    kind: str
    name: str
    value: float
    halves: float
    wasserstein: float | None = None
    wasserstein_halves: float | None = None


def jensen_shannon(first: np.ndarray, second: np.ndarray) -> float:
    r"""Jensen–Shannon divergence of two histograms, to the base 2.

    .. math:: D = \tfrac12 \sum_i p_i \log_2 \frac{p_i}{m_i} + \tfrac12 \sum_i q_i \log_2 \frac{q_i}{m_i},
        \quad m_i = \tfrac12 (p_i + q_i)

    Parameters
    ----------
    first, second : counts in the same bins, of any shape.

    Returns
    -------
    0 for equal shares, 1 where no bin has counts of both

    References
    ----------
    J. Lin, IEEE Trans. Inf. Theory 37, 145 (1991).
    """
    p, q = first.ravel() / first.sum(), second.ravel() / second.sum()
    middle = 0.5 * (p + q)

    def relative(shares: np.ndarray) -> float:
        there = shares > 0.0
        return float(np.sum(shares[there] * np.log2(shares[there] / middle[there])))

    return min(max(0.5 * relative(p) + 0.5 * relative(q), 0.0), 1.0)


def counts(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Counts between edges, with two bins more for what lies below the first and not below the last one.

    Parameters
    ----------
    values : of any shape.
    edges : (n + 1,), rising.

    Returns
    -------
    (n + 2,)
    """
    return np.bincount(np.searchsorted(edges, values.ravel(), side="right"), minlength=len(edges) + 1)


def torsion_counts(torsions: np.ndarray, edges: np.ndarray = TORSION_EDGES) -> np.ndarray:
    """Counts of torsions (n_structures,) in bins that close to a circle, in degrees."""
    return np.bincount(_circular(torsions, edges), minlength=len(edges) - 1)


def map_counts(torsions: np.ndarray, edges: np.ndarray = MAP_EDGES) -> np.ndarray:
    """Counts of pairs of torsions (n_structures, 2) in bins of both, in degrees: the first one along the rows."""
    n = len(edges) - 1
    one, two = _circular(torsions[:, 0], edges), _circular(torsions[:, 1], edges)
    return np.bincount(one * n + two, minlength=n * n).reshape(n, n)


def divergences(
    coordinates: InternalCoordinates, generated: np.ndarray, reference: np.ndarray
) -> tuple[Divergence, ...]:
    """Divergences of all distributions of generated structures from those of the reference.

    Parameters
    ----------
    generated : (n_generated, n_atoms, 3) Å.
    reference : (n_reference, n_atoms, 3) Å, in the order of time: halves are the first and the last ones.

    Returns
    -------
    one for each type of bond and angle, each torsion, and each pair of neighboring torsions
    """
    half = len(reference) // 2
    parts = [generated, reference, reference[:half], reference[half:]]
    return tuple(_divergences(coordinates, parts))


def _divergences(coordinates: InternalCoordinates, parts: Sequence[np.ndarray]) -> Iterator[Divergence]:
    lengths = [coordinates.lengths(part) for part in parts]
    for name, chosen in _columns(coordinates.bond_types):
        values = [part[:, chosen].ravel() for part in lengths]
        shifts = [float(wasserstein_distance(values[k], values[k + 1])) for k in (0, 2)]
        yield _divergence(BOND_KIND, name, [counts(part, BOND_EDGES) for part in values], shifts)
    angles = [coordinates.angles_in(part) for part in parts]
    for name, chosen in _columns(coordinates.angle_types):
        yield _divergence(ANGLE_KIND, name, [counts(part[:, chosen], ANGLE_EDGES) for part in angles])
    torsions = [coordinates.torsions_in(part) for part in parts]
    for column, name in enumerate(coordinates.torsion_names):
        yield _divergence(TORSION_KIND, name, [torsion_counts(part[:, column]) for part in torsions])
    for pair in coordinates.neighbors.tolist():
        name = ", ".join(coordinates.torsion_names[column] for column in pair)
        yield _divergence(MAP_KIND, name, [map_counts(part[:, pair]) for part in torsions])


def _divergence(
    kind: str, name: str, histograms: Sequence[np.ndarray], shifts: Sequence[float] | None = None
) -> Divergence:
    """Of histograms of what is generated, of the reference, and of its halves."""
    generated, reference, before, behind = histograms
    return Divergence(
        kind=kind,
        name=name,
        value=jensen_shannon(generated, reference),
        halves=jensen_shannon(before, behind),
        wasserstein=None if shifts is None else shifts[0],
        wasserstein_halves=None if shifts is None else shifts[1],
    )


def _columns(types: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Types in their order, each with the columns that have it."""
    return [(name, [k for k, each in enumerate(types) if each == name]) for name in dict.fromkeys(types)]


def _circular(torsions: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Bin of each torsion; 180 and -180 are the same."""
    width = edges[1] - edges[0]
    return np.floor((torsions - edges[0]) / width).astype(int) % (len(edges) - 1)
