"""Self-atomic energies: the part of total energies that the composition alone explains."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from molcalc.errors import ConfigError, DatasetError, short, suggest
from molcalc.io.strict_yaml import parse_yaml
from molcalc.train.data.dataset import Dataset
from molcalc.units import HARTREE, SYMBOLS

log = logging.getLogger(__name__)

PERCENTILES = (2.0, 98.0)
"""Residuals outside are left out of the second fit: broken structures must not shift the reference."""
RANK_TOLERANCE = 1e-9
FIT, ISOLATED = "fit", "isolated"
LARGEST_BINDING = 15.0
"""eV per atom; the strongest bonds of any solid (tungsten, diamond) are worth 9."""
_BY_KEY = {key: number for number, symbol in enumerate(SYMBOLS) if number > 0 for key in (symbol, str(number))}
"""Atomic numbers by symbol, and by the number as a text."""


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
            "%s: the compositions determine only %d of %d self-atomic energies; taking those of least norm: total "
            "energies of other compositions may be wrong by hundreds of eV; add compositions, or give the energies",
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
    values = _parsed(path)
    if _is_by_fidelity(values, Mapping):
        blocks = {str(name): block for name, block in values.items()}
        if fidelity not in blocks:
            raise ConfigError(f"{path} has self-atomic energies of {', '.join(blocks)}; not of {fidelity!r}")
        values = blocks[fidelity]
    return energies_by_element(values, str(path))


def energies_by_element(values: Any, where: str) -> dict[int, float]:
    """Energies by atomic number from a mapping whose keys are symbols of elements or atomic numbers.

    Parameters
    ----------
    where : named in errors.

    Returns
    -------
    eV by atomic number

    Raises
    ------
    ConfigError
        For what is no such mapping, an unknown or repeated element, or an energy that is no finite number.
    """
    if not isinstance(values, Mapping) or not values:
        raise ConfigError(f"{where}: expected lines 'element: energy in eV'; got {short(values)}")
    found: dict[int, float] = {}
    for key, energy in values.items():
        number = _BY_KEY.get(str(key))
        if number is None:
            raise ConfigError(
                f"{where}: {short(key)}{suggest(str(key), _BY_KEY)} is no element; write its symbol or atomic number, "
                "then its energy in eV"
            )
        if isinstance(energy, bool) or not isinstance(energy, (int, float)) or not math.isfinite(energy):
            raise ConfigError(f"{where}: {short(key)}: {short(energy)}; expected an energy in eV")
        if number in found:
            raise ConfigError(f"{where}: {short(key)}: element Z={number} is given twice")
        found[number] = float(energy)
    return found


@dataclass(frozen=True)
class ReferenceSource:
    """Where the self-atomic energies of one fidelity come from.

    Attributes
    ----------
    words : "fit" to the training data, "isolated" for the energies of single atoms in the data, or what the user gave.
    energies : eV by atomic number where the user gave them.
    """

    words: str
    energies: Mapping[int, float] | None = None

    @classmethod
    def of(cls, wish: str | Mapping[str, Any], fidelity: str, fidelities: Sequence[str]) -> ReferenceSource:
        """The source for one fidelity out of what the option ``reference_energies`` says of all.

        Parameters
        ----------
        wish : "fit", "isolated", a file of :func:`read_yaml`, energies by element, or any of these by fidelity; a
            fidelity that is left out gets "fit".
        fidelities : names of all of them.

        Returns
        -------
        ReferenceSource

        Raises
        ------
        ConfigError
            For an unknown fidelity, energies that do not say of which fidelity they are, or what
            :func:`energies_by_element` and :func:`read_yaml` refuse.
        """
        if isinstance(wish, str):
            return cls._from_text(wish, fidelity, fidelities)
        if _is_by_fidelity(wish, (Mapping, str)):
            for name in wish:
                if name not in fidelities:
                    raise ConfigError(
                        f"reference_energies: {name!r}{suggest(name, fidelities)} is no fidelity of the data; it has "
                        f"{', '.join(fidelities)}"
                    )
            inner = wish.get(fidelity, FIT)
            if isinstance(inner, str):
                return cls._from_text(inner, fidelity, (fidelity,))
            return cls("given", energies_by_element(inner, f"reference_energies.{fidelity}"))
        energies = energies_by_element(wish, "reference_energies")
        _one_fidelity(fidelities, "reference_energies")
        return cls("given", energies)

    @classmethod
    def _from_text(cls, text: str, fidelity: str, fidelities: Sequence[str]) -> ReferenceSource:
        if text in (FIT, ISOLATED):
            return cls(text)
        if not Path(text).is_file():
            raise ConfigError(
                f"reference_energies={text!r}{suggest(text, (FIT, ISOLATED))}: there is no such file; give {FIT!r}, "
                f"{ISOLATED!r}, a file of 'molcalc sae', or energies by element such as {{'H': -13.6}}"
            )
        if not _is_by_fidelity(_parsed(text), Mapping):
            _one_fidelity(fidelities, text)
        return cls(Path(text).name, read_yaml(text, fidelity))


def isolated_atoms(parts: Sequence[Dataset], index: int, elements: Sequence[int]) -> dict[int, float]:
    """Energies of neutral single atoms in the data, the lowest of each element.

    Parameters
    ----------
    parts : of the data, with the same fidelities.
    index : of the fidelity.

    Returns
    -------
    eV by atomic number, of those elements that have one
    """
    found: dict[int, float] = {}
    for part in parts:
        single = (part.n_atoms() == 1) & (part.fidelity == index) & part.has("energy") & (part.total_charge == 0)
        chosen = part.subset(np.flatnonzero(single))
        if len(chosen):
            for number, energy in zip(chosen.numbers.tolist(), chosen.labels["energy"].tolist()):
                found[number] = min(energy, found.get(number, math.inf))
    return {number: energy for number, energy in found.items() if number in elements}


def check_given(energies: Mapping[int, float], counts: np.ndarray, totals: np.ndarray, what: str) -> None:
    """Refuse self-atomic energies in Hartree; warn where they leave more of the energies than bonds can be.

    Parameters
    ----------
    energies : eV by atomic number, in the order of the columns of ``counts``.
    counts : (n_systems, n_elements) atoms of each element.
    totals : (n_systems,) eV; NaN where missing.
    what : named in messages.

    Raises
    ------
    ConfigError
        When they explain the total energies as Hartree and not as eV.
    """
    present = np.isfinite(totals)
    if not present.any():
        return
    sums, n_atoms = counts[present] @ np.array(list(energies.values())), counts[present].sum(axis=1)
    left = float(np.abs((totals[present] - sums) / n_atoms).mean())
    if left < LARGEST_BINDING:
        return
    as_hartree = float(np.abs((totals[present] - HARTREE * sums) / n_atoms).mean())
    if as_hartree < LARGEST_BINDING:
        raise ConfigError(
            f"{what}: reference_energies leave {left:.3g} eV per atom unexplained, and {as_hartree:.3g} when taken as "
            "Hartree: give them in eV"
        )
    log.warning(
        "%s: the given self-atomic energies leave %.3g eV per atom unexplained; are they of the level of the labels?",
        what, left,
    )  # fmt: skip


def _parsed(path: str | os.PathLike[str]) -> Any:
    """Content of a file of self-atomic energies."""
    try:
        return parse_yaml(Path(path).read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the self-atomic energies {path}: {error}") from error


def _is_by_fidelity(values: Any, kinds: type | tuple[type, ...]) -> bool:
    """Whether a mapping has one of these kinds for every fidelity, not an energy for every element."""
    return isinstance(values, Mapping) and bool(values) and all(isinstance(each, kinds) for each in values.values())


def _one_fidelity(fidelities: Sequence[str], where: str) -> None:
    if len(fidelities) > 1:
        raise ConfigError(
            f"{where}: of which fidelity are these self-atomic energies? The data have {', '.join(fidelities)}; name "
            f"each, as in reference_energies={{{fidelities[0]!r}: …}}"
        )
