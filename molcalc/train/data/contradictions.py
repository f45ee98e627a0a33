"""Labels that cannot belong together."""

from __future__ import annotations

import numpy as np

from molcalc.errors import DatasetError
from molcalc.train.data.dataset import Dataset

LARGEST_DIFFERENCE = 0.5
"""e between the sum of atomic charges and the total charge: what is rounded away is less, an electron is more."""


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
            f"{sums[dataset.indices[system]]:.3f} e; correct the key total_charge, or leave the charges out"
        )
