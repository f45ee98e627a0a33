"""Arrays of the systems of a dataset view, in its order."""

from __future__ import annotations

import numpy as np

from molcalc.train.data.dataset import Dataset, ranges


def numbers(dataset: Dataset) -> np.ndarray:
    """(n_atoms,) atomic numbers."""
    return np.asarray(dataset.numbers)[ranges(dataset.offsets[dataset.indices], dataset.n_atoms())]


def offsets(dataset: Dataset) -> np.ndarray:
    """(n_systems + 1,) first atom of each system among :func:`numbers`."""
    return np.concatenate([[0], np.cumsum(dataset.n_atoms())])
