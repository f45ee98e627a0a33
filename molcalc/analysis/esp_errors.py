"""Errors of electrostatic potentials against a reference: overall, by distance, and by the nearest element."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float64
from scipy.spatial import cKDTree

from molcalc.units import SYMBOLS, VDW_RADII

SHELLS = (1.4, 1.6, 1.8, 2.0)
"""Van der Waals radii from the nearest atom between which shells of points lie."""
_ROUNDING = 1e-6
"""Van der Waals radii by which points on a boundary may miss it."""


@dataclass(frozen=True)
class PotentialError:
    """Error over some points.

    Attributes
    ----------
    charges : what made the potential: "charges" on the atoms, or "distributed" ones.
    points : which points: "all", a shell such as "1.4–1.6 r", or "near O".
    n_points : how many.
    rmse, mae, mean, largest : V; mean of prediction − reference, largest absolute value.
    """

    charges: str
    points: str
    n_points: int
    rmse: float
    mae: float
    mean: float
    largest: float


def potential_errors(
    atoms: Atoms,
    points: Float64[np.ndarray, "n_points 3"],
    reference: Float64[np.ndarray, " n_points"],
    predictions: Mapping[str, Float64[np.ndarray, " n_points"]],
) -> list[PotentialError]:
    """Errors of one or several potentials of a molecule at the same points.

    Parameters
    ----------
    points : (n_points, 3) Å.
    reference : (n_points,) V.
    predictions : (n_points,) V by what made them.

    Returns
    -------
    errors of every prediction over all points, every shell and the points near every element
    """
    groups = list(_groups(atoms, points))
    return [
        PotentialError(
            charges, name, int(chosen.sum()), float(np.sqrt(np.mean(error[chosen] ** 2))),
            float(np.mean(np.abs(error[chosen]))), float(error[chosen].mean()), float(np.abs(error[chosen]).max()),
        )
        for charges, values in predictions.items()
        for error in (values - reference,)
        for name, chosen in groups
    ]  # fmt: skip


def pooled_errors(errors: Iterable[PotentialError]) -> list[PotentialError]:
    """Errors over the points of several molecules together.

    Parameters
    ----------
    errors : of the molecules, one after another.

    Returns
    -------
    one error for each kind of charges and group of points, in the order in which they first come; "all" first
    """
    groups: dict[tuple[str, str], list[PotentialError]] = {}
    for error in errors:
        groups.setdefault((error.charges, error.points), []).append(error)
    found = []
    for (charges, points), own in groups.items():
        counts = np.array([error.n_points for error in own])
        squares, mae, mean = (
            float(np.average(values, weights=counts))
            for values in ([e.rmse**2 for e in own], [e.mae for e in own], [e.mean for e in own])
        )
        largest = max(error.largest for error in own)
        found.append(PotentialError(charges, points, int(counts.sum()), squares**0.5, mae, mean, largest))
    return sorted(found, key=lambda error: _place(error.points))


def _place(points: str) -> tuple[int, str]:
    """Order of groups of points: all, shells from inside, elements."""
    return (0 if points == "all" else 2 if points.startswith("near") else 1, points.replace(">", "~"))


def _groups(atoms: Atoms, points: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Names of groups of points, and (n_points,) bool of which they are."""
    yield "all", np.ones(len(points), dtype=bool)
    distances, scaled, element = nearest_atoms(atoms, points)
    edges = (0.0, *SHELLS, np.inf)
    for low, high in zip(edges, edges[1:]):
        inside = (scaled >= low - _ROUNDING) & (scaled < high - _ROUNDING)
        if inside.any():
            yield f"{low:g}–{high:g} r" if np.isfinite(high) else f"> {low:g} r", inside
    for z in np.unique(element).tolist():
        yield f"near {SYMBOLS[z]}", element == z


def nearest_atoms(atoms: Atoms, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The atom that a point is nearest to, in van der Waals radii of the atoms.

    Returns
    -------
    distances : (n_points,) Å.
    scaled : (n_points,) in van der Waals radii of that atom.
    element : (n_points,) its atomic number.
    """
    best = np.full(len(points), np.inf)
    distances, element = np.empty(len(points)), np.empty(len(points), dtype=np.int64)
    for z in np.unique(atoms.numbers).tolist():
        own = cKDTree(atoms.positions[atoms.numbers == z]).query(points)[0]
        nearer = own / VDW_RADII[z] < best
        best = np.where(nearer, own / VDW_RADII[z], best)
        distances[nearer], element[nearer] = own[nearer], z
    return distances, best, element
