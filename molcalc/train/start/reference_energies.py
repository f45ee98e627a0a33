"""Self-atomic energies: the part of total energies that the composition alone explains."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from molcalc.errors import ConfigError, DatasetError, short
from molcalc.io.strict_yaml import parse_yaml
from molcalc.train.data.dataset import Dataset
from molcalc.units import ATOMIC_MASSES

log = logging.getLogger(__name__)

PERCENTILES = (2.0, 98.0)
"""Residuals outside are left out of the second fit: broken structures must not shift the reference."""
RANK_TOLERANCE = 1e-9


def composition(numbers: np.ndarray, offsets: np.ndarray, elements: tuple[int, ...]) -> np.ndarray:
    """(n_systems, n_elements) float64 number of atoms of each element.

    Parameters
    ----------
    numbers : (n_atoms,) atomic numbers.
    offsets : (n_systems + 1,) first atom of each system.
    elements : columns.

    Returns
    -------
    (n_systems, n_elements) float64
    """
    counts = np.empty((len(offsets) - 1, len(elements)))
    for column, element in enumerate(elements):
        running = np.concatenate([[0], np.cumsum(numbers == element)])
        counts[:, column] = np.diff(running[offsets])
    return counts


def fit_reference_energies(
    counts: np.ndarray, energies: np.ndarray, elements: tuple[int, ...], what: str = "data"
) -> dict[int, float]:
    """Least squares of energies on compositions, repeated without the outermost residuals.

    Elements that always occur in a fixed ratio get the solution of least norm, with a warning.

    Parameters
    ----------
    counts : (n_systems, n_elements) atoms of each element.
    energies : (n_systems,) eV.
    what : named in messages.

    Returns
    -------
    energy in eV by atomic number.

    Raises
    ------
    DatasetError
        When there is no energy, or an element occurs in no system that has one.
    """
    present = np.isfinite(energies)
    counts, energies = counts[present], energies[present].astype(np.float64)
    if not len(energies):
        raise DatasetError(f"{what}: no energies; self-atomic energies cannot be fitted")
    absent = [element for element, column in zip(elements, counts.T) if not column.any()]
    if absent:
        raise DatasetError(f"{what}: no energies for systems with Z={absent}; add some, or leave the element out")
    solution = _least_squares(counts, energies)
    residuals = energies - counts @ solution
    low, high = np.percentile(residuals, PERCENTILES)
    inner = (residuals > low) & (residuals < high)
    if inner.any() and (counts[inner] > 0).any(axis=0).all():
        counts, energies = counts[inner], energies[inner]
        solution = _least_squares(counts, energies)
    rank = int(np.linalg.matrix_rank(counts, tol=RANK_TOLERANCE * np.linalg.norm(counts)))
    if rank < len(elements):
        log.warning(
            "%s: the compositions determine only %d of %d self-atomic energies; taking those of least norm",
            what, rank, len(elements),
        )  # fmt: skip
    return {element: float(value) for element, value in zip(elements, solution)}


@dataclass(frozen=True)
class ReferenceFit:
    """Self-atomic energies of one fidelity.

    Attributes
    ----------
    energies : eV by atomic number.
    residual : eV, standard deviation of what the compositions do not explain.
    n_systems : systems with an energy.
    """

    energies: dict[int, float]
    residual: float
    n_systems: int


def fit_by_fidelity(dataset: Dataset) -> dict[str, ReferenceFit]:
    """Self-atomic energies of every fidelity of a dataset, for the elements that occur in it.

    Returns
    -------
    fit by name of the fidelity

    Raises
    ------
    DatasetError
        When a fidelity has no energies.
    """
    fits = {}
    for index, name in enumerate(dataset.fidelities):
        has = dataset.has("energy") & (dataset.fidelity == index)
        part = dataset.subset(np.flatnonzero(has))
        if not len(part):
            raise DatasetError(f"fidelity {name!r}: no energies; self-atomic energies cannot be fitted")
        elements = tuple(int(z) for z in np.unique(part.numbers))
        counts = composition(part.numbers, part.offsets, elements)
        energies = np.asarray(part.labels["energy"], dtype=np.float64)
        found = fit_reference_energies(counts, energies, elements, f"fidelity {name!r}")
        residuals = energies - counts @ np.array([found[z] for z in elements])
        fits[name] = ReferenceFit(found, float(residuals.std()), len(part))
    return fits


def _least_squares(counts: np.ndarray, energies: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(counts, energies, rcond=RANK_TOLERANCE)[0]


def as_yaml(energies: Mapping[int, float]) -> str:
    """Lines ``Z: energy`` in eV, all digits."""
    return "".join(f"{element}: {energy!r}\n" for element, energy in sorted(energies.items()))


def read_yaml(path: str | os.PathLike[str], fidelity: str) -> dict[int, float]:
    """Self-atomic energies in eV by atomic number, from lines ``Z: energy`` or the block of them of one fidelity.

    Returns
    -------
    eV by atomic number

    Raises
    ------
    ConfigError
        When the file cannot be read, has no block of that name, or holds something else.
    """
    try:
        values = parse_yaml(Path(path).read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the self-atomic energies {path}: {error}") from error
    if isinstance(values, dict) and values and all(isinstance(block, dict) for block in values.values()):
        blocks = {str(name): block for name, block in values.items()}
        if fidelity not in blocks:
            raise ConfigError(f"{path} has self-atomic energies of {', '.join(blocks)}; not of {fidelity!r}")
        values = blocks[fidelity]
    if not isinstance(values, dict) or not values:
        raise ConfigError(f"{path}: expected lines 'Z: energy in eV'; got {short(values)}")
    for element, energy in values.items():
        known = type(element) is int and 1 <= element < len(ATOMIC_MASSES)
        if not known or type(energy) not in (int, float) or not math.isfinite(energy):
            raise ConfigError(f"{path}: {short(element)}: {short(energy)}; expected an atomic number: an energy in eV")
    return {element: float(energy) for element, energy in values.items()}
