"""Labels that cannot belong together."""

from __future__ import annotations

import logging

import numpy as np

from molcalc.errors import DatasetError
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.statistics import correlation

log = logging.getLogger(__name__)

LARGEST_DIFFERENCE = 0.5
"""e between the sum of atomic charges and the total charge: what is rounded away is less, an electron is more."""

ROUNDED = 0.05
"""e, by which charges of an ion may miss an integer."""

LARGEST_MOVE, LARGEST_STRAIN = 0.3, 0.05
"""Å and 1; labels of rows that differ by more are not compared."""
MOST_PAIRS, FEWEST_PAIRS = 200, 5
SMALLEST_CORRELATION = 0.9
SLOPE_TOLERANCE = 0.3
"""By which energy differences may miss the work of forces or stress, as a share of it."""


def check_charges(dataset: Dataset) -> None:
    """Refuse atomic charges that do not add up to the total charge of their system.

    Raises
    ------
    DatasetError
    """
    if "charges" not in dataset.labels or not len(dataset):
        return
    sums = np.add.reduceat(np.asarray(dataset.labels["charges"], dtype=np.float64), dataset.offsets[:-1])
    difference = sums[dataset.indices] - dataset.total_charge[dataset.indices]
    wrong = np.flatnonzero(np.abs(difference) > LARGEST_DIFFERENCE)  # incomplete charges are NaN
    if len(wrong):
        system = int(wrong[0])
        total = dataset.total_charge[dataset.indices[system]]
        raise DatasetError(
            f"the total charge contradicts the atomic charges in {len(wrong)} of {len(dataset)} systems, first in "
            f"{dataset.row_name(system)}: total_charge={total:g}, the charges add up to "
            f"{sums[dataset.indices[system]]:.3f} e; {_cure(dataset, sums[dataset.indices[wrong]])}"
        )


def _cure(dataset: Dataset, sums: np.ndarray) -> str:
    """What to do about charges that do not add up to the total charge, given what they add up to."""
    text = "correct the key total_charge, or leave the charges out"
    if dataset.total_charge.any() or (np.abs(sums - np.round(sums)) > ROUNDED).any():
        return text
    return (
        f"{text}. These look like ions, and every total charge is 0, as where none is recorded: write it as the key "
        "total_charge of every row (in HDF5 as the data set 'charge' of every group)"
    )


def doubtful_derivatives(dataset: Dataset) -> list[str]:
    r"""Signs that forces or stresses are not derivatives of the energies, from consecutive rows of nearly one geometry.

    .. math:: ΔE ≈ -\bar F · Δr + \bar V \barσ : ε

    with the strain ε between the cells and Δr without the part that follows it. A stress of the wrong sign (ΔE is −1
    times its work) or in another unit is named with the factor.
    """
    found = []
    by_forces, by_stress = _works(dataset)
    for name, pairs in (("forces", by_forces), ("stress", by_stress)):
        work, difference = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
        if len(work) < FEWEST_PAIRS or not np.ptp(work) or not np.ptp(difference):
            continue
        agreement = correlation(work, difference)
        slope = float((work * difference).sum() / (work**2).sum())
        if abs(agreement) < SMALLEST_CORRELATION:
            found.append(
                f"{name} and energies do not belong together: over {len(work)} pairs of neighboring rows, work and "
                f"differences of energies correlate by {agreement:.2f}"
            )
        elif abs(slope - 1.0) > SLOPE_TOLERANCE:
            found.append(
                f"{name} seems to be of the wrong {'sign' if slope < 0 else 'size'}: differences of energies are "
                f"{slope:.3g} times its work over {len(work)} pairs of neighboring rows"
            )
    return found


def warn_of_doubtful_derivatives(dataset: Dataset) -> None:
    """Log :func:`doubtful_derivatives` as warnings."""
    for text in doubtful_derivatives(dataset):
        log.warning("%s", text)


def _works(dataset: Dataset) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Work and what it explains of the difference in energy: of forces in one cell, of the stress between two."""
    forces, stress = dataset.labels.get("forces"), dataset.labels.get("stress")
    by_forces: list[tuple[float, float]] = []
    by_stress: list[tuple[float, float]] = []
    if "energy" not in dataset.labels or forces is None:
        return by_forces, by_stress
    for a, b in zip(dataset.indices[:-1].tolist(), dataset.indices[1:].tolist()):
        first = slice(dataset.offsets[a], dataset.offsets[a + 1])
        second = slice(dataset.offsets[b], dataset.offsets[b + 1])
        same = np.array_equal(dataset.numbers[first], dataset.numbers[second])
        if not same or dataset.fidelity[a] != dataset.fidelity[b] or (dataset.pbc[a] != dataset.pbc[b]).any():
            continue
        deformation = np.eye(3)
        if dataset.pbc[a].all():
            deformation = np.linalg.solve(dataset.cell[a], dataset.cell[b])
        strain = 0.5 * (deformation + deformation.T) - np.eye(3)
        move = dataset.positions[second] - dataset.positions[first] @ deformation
        if np.abs(move).max() > LARGEST_MOVE or np.abs(deformation - np.eye(3)).max() > LARGEST_STRAIN:
            continue
        difference = float(dataset.labels["energy"][b] - dataset.labels["energy"][a])
        work = -0.5 * float(((forces[first] + forces[second]) * move).sum())
        if not np.isfinite(difference) or not np.isfinite(work):
            continue
        if not strain.any():
            by_forces.append((work, difference))
        elif stress is not None and np.isfinite(stress[[a, b]]).all():
            volume = 0.5 * abs(float(np.linalg.det(dataset.cell[a]) + np.linalg.det(dataset.cell[b])))
            strained = 0.5 * volume * float(((stress[a] + stress[b]) * strain).sum())
            by_stress.append((strained, difference - work))
        if len(by_forces) + len(by_stress) >= MOST_PAIRS:
            break
    return by_forces, by_stress
