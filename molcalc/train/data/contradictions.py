"""Labels that cannot belong together."""

from __future__ import annotations

import logging

import numpy as np

from molcalc.errors import DatasetError
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.limits import GOOD_CORRELATION, LOST_CHARGE, ROUNDED_CHARGE, SLOPE_TOLERANCE
from molcalc.train.data.work import compared_work

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


def _cure(dataset: Dataset, missed: np.ndarray) -> str:
    """What to do about charges that do not add up to the total charge, given what they miss it by."""
    text = "correct the key total_charge, or leave the charges out"
    if dataset.total_charge.any() or (np.abs(missed - np.round(missed)) > ROUNDED_CHARGE).any():
        return text
    return (
        f"{text}. These look like ions, and every total charge is 0, as where none is recorded: write it as the key "
        "total_charge of every row (in HDF5 as the data set 'charge' of every group)"
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
