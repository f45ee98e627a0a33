"""Total energies that were stored in single precision: what of them is lost."""

from __future__ import annotations

import logging

import numpy as np

from molcalc.train.data.dataset import Dataset

log = logging.getLogger(__name__)

LOST = 1e-3
"""eV; coarser steps between neighboring energies are told of."""
FEWEST = 5
"""Energies that must all be numbers of single precision: by chance, one in 5e8 is."""
SAME = 1e-12
"""Relative deviation from a number of single precision that units and their conversion bring along."""


def lost_resolution(dataset: Dataset) -> float:
    """Step between neighboring numbers of single precision at the largest total energy.

    Returns
    -------
    eV; 0 where energies are in double precision, or too few to tell
    """
    if "energy" not in dataset.labels:
        return 0.0
    sources, _ = dataset.row_ids()
    factors = np.array([source.factors.get("energy", 1.0) for source in dataset.sources])[sources]
    present = np.isfinite(dataset.labels["energy"])
    stored, factors = dataset.labels["energy"][present] / factors[present], factors[present]
    if len(np.unique(stored)) < FEWEST:
        return 0.0
    single = stored.astype(np.float32)
    if (np.abs(single - stored) > SAME * np.abs(stored)).any() or _has_few_digits(stored):
        return 0.0
    return float((np.spacing(np.abs(single)).astype(np.float64) * np.abs(factors)).max())


def doubtful_precision(dataset: Dataset) -> list[str]:
    """A sentence for total energies that lost more than 1 meV in single precision, or none."""
    lost = lost_resolution(dataset)
    if lost < LOST:
        return []
    largest = float(np.nanmax(np.abs(dataset.labels["energy"])))
    return [
        f"energies were stored in single precision (float32): at {largest:.6g} eV they go in steps of "
        f"{1000 * lost:.3g} meV, and no model can be better; store them in double precision, or without the "
        "energies of atoms"
    ]


def warn_of_doubtful_precision(dataset: Dataset) -> None:
    """Log :func:`doubtful_precision` as warnings."""
    for text in doubtful_precision(dataset):
        log.warning("%s", text)


def _has_few_digits(values: np.ndarray) -> bool:
    """Whether the numbers are whole multiples of 1/1024, as energies that someone wrote by hand may be."""
    return bool((np.round(1024 * values) == 1024 * values).all() and np.abs(values).max() < 2**12)
