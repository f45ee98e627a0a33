"""Labels that cannot belong together: charges and their sum, energies and the work of forces and stress."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np

from molcalc.errors import DatasetError
from molcalc.train.data.block import Block
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.limits import (
    FEWEST_PAIRS,
    GOOD_CORRELATION,
    LARGEST_MOVE,
    LARGEST_STRAIN,
    LOST_CHARGE,
    MOST_PAIRS,
    ROUNDED_CHARGE,
    SLOPE_TOLERANCE,
)

log = logging.getLogger(__name__)


def missed_charges(dataset: Dataset) -> np.ndarray:
    """Sum of the atomic charges less the total charge, by structure.

    Returns
    -------
    (len(dataset),) e; NaN where atomic charges are missing.
    """
    if "charges" not in dataset.labels or not len(dataset):
        return np.full(len(dataset), np.nan)
    return np.add.reduceat(dataset.labels["charges"], dataset.offsets[:-1]) - dataset.total_charge


def check_charges(dataset: Dataset) -> None:
    """Refuse atomic charges that do not add up to the total charge of their system.

    Raises
    ------
    DatasetError
    """
    missed = missed_charges(dataset)
    wrong = np.flatnonzero(np.abs(missed) > LOST_CHARGE)
    if len(wrong):
        first = int(wrong[0])
        total = dataset.total_charge[first]
        raise DatasetError(
            f"the total charge contradicts the atomic charges in {len(wrong)} of {len(dataset)} systems, first in "
            f"{dataset.row_name(first)}: total_charge={total:g}, the charges add up to "
            f"{missed[first] + total:.3f} e; {_cure(dataset, missed[wrong])}"
        )


def doubtful_derivatives(dataset: Dataset) -> list[str]:
    """Signs that forces or stresses are not derivatives of the energies, from :func:`compared_work`.

    A stress of the wrong sign (ΔE is −1 times its work) or in another unit is named with the factor.

    Returns
    -------
    one sentence for each sign; an empty list where there is none
    """
    found = []
    for name, pairs in zip(("forces", "stress"), compared_work(dataset)):
        if not pairs.telling:
            continue
        if abs(pairs.correlation) < GOOD_CORRELATION:
            found.append(
                f"{name} and energies do not belong together: over {len(pairs.work)} pairs of neighboring rows, work "
                f"and differences of energies correlate by {pairs.correlation:.2f}"
            )
        elif abs(pairs.slope - 1.0) > SLOPE_TOLERANCE:
            found.append(
                f"{name} seems to be of the wrong {'sign' if pairs.slope < 0 else 'size'}: differences of energies "
                f"are {pairs.slope:.3g} times its work over {len(pairs.work)} pairs of neighboring rows"
            )
    return found


def warn_of_doubtful_derivatives(dataset: Dataset) -> None:
    """Log :func:`doubtful_derivatives` as warnings."""
    for text in doubtful_derivatives(dataset):
        log.warning("%s", text)


class WorkAndDifference(NamedTuple):
    """Differences of energies as derivatives say, and as they are; one entry per pair of rows.

    Attributes
    ----------
    work : (n_pairs,) eV.
    difference : (n_pairs,) eV.
    """

    work: np.ndarray
    difference: np.ndarray

    @property
    def telling(self) -> bool:
        """Whether there are enough pairs, and not all of them the same."""
        return len(self.work) >= FEWEST_PAIRS and bool(np.ptp(self.work)) and bool(np.ptp(self.difference))

    @property
    def correlation(self) -> float:
        """Pearson's coefficient; 0 if one of the two is constant."""
        return correlation(self.work, self.difference)

    @property
    def slope(self) -> float:
        """Differences in units of the work."""
        return slope(self.work, self.difference)


def compared_work(dataset: Dataset) -> tuple[WorkAndDifference, WorkAndDifference]:
    r"""Work of the forces in one cell, and of the stress between two cells, beside what they explain.

    .. math:: ΔE ≈ -\bar F · Δr + \bar V \barσ : ε

    with the strain ε between the cells and Δr without the part that follows it.

    Returns
    -------
    Those of forces and of stress, over at most :data:`molcalc.train.data.limits.MOST_PAIRS` pairs together.
    """
    by_forces: list[tuple[float, float]] = []
    by_stress: list[tuple[float, float]] = []
    if "energy" in dataset.labels and "forces" in dataset.labels:
        for block in dataset.blocks(overlap=1):
            for k in range(len(block) - 1):
                _compare(block, k, by_forces, by_stress)
                if len(by_forces) + len(by_stress) >= MOST_PAIRS:
                    return _comparison(by_forces), _comparison(by_stress)
    return _comparison(by_forces), _comparison(by_stress)


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's coefficient; 0 if one of the rows is constant."""
    if not np.ptp(x) or not np.ptp(y):
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Factor that makes ``x`` most like ``y``, by least squares."""
    return float((x * y).sum() / (x**2).sum())


def _cure(dataset: Dataset, missed: np.ndarray) -> str:
    """What to do about charges that do not add up to the total charge, given what they miss it by."""
    text = "correct the key total_charge, or leave the charges out"
    if dataset.total_charge.any() or (np.abs(missed - np.round(missed)) > ROUNDED_CHARGE).any():
        return text
    return (
        f"{text}. These look like ions, and every total charge is 0, as where none is recorded: write it as the key "
        "total_charge of every row (in HDF5 as the data set 'charge' of every group)"
    )


def _comparison(pairs: list[tuple[float, float]]) -> WorkAndDifference:
    return WorkAndDifference(*np.array(pairs, dtype=np.float64).reshape(-1, 2).T)


def _compare(block: Block, k: int, by_forces: list[tuple[float, float]], by_stress: list[tuple[float, float]]) -> None:
    """Add structure k and the next one to the pairs, if they are nearly of one geometry."""
    systems, pair = block.systems, slice(k, k + 2)
    first, second = block.atoms_of(k), block.atoms_of(k + 1)
    numbers, positions, forces = (block.atoms[name] for name in ("numbers", "positions", "forces"))
    if not np.array_equal(numbers[first], numbers[second]):
        return
    if np.ptp(systems["fidelity"][pair]) or (systems["pbc"][k] != systems["pbc"][k + 1]).any():
        return
    cells = systems["cell"][pair]
    deformation = np.eye(3)
    if systems["pbc"][k].all() and not np.array_equal(cells[0], cells[1]):
        deformation = np.linalg.solve(cells[0], cells[1])
    strain = 0.5 * (deformation + deformation.T) - np.eye(3)
    move = positions[second] - positions[first] @ deformation
    if np.abs(move).max() > LARGEST_MOVE or np.abs(deformation - np.eye(3)).max() > LARGEST_STRAIN:
        return
    difference = float(systems["energy"][k + 1] - systems["energy"][k])
    work = -0.5 * float(((forces[first] + forces[second]) * move).sum())
    if not np.isfinite(difference) or not np.isfinite(work):
        return
    if not strain.any():
        by_forces.append((work, difference))
    elif "stress" in systems and np.isfinite(systems["stress"][pair]).all():
        volume = 0.5 * abs(float(np.linalg.det(cells).sum()))
        strained = 0.5 * volume * float((systems["stress"][pair].sum(axis=0) * strain).sum())
        by_stress.append((strained, difference - work))
