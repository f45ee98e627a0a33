"""Labels that cannot belong together: charges and their sum, energies and the work of forces and stress."""

from __future__ import annotations

import logging

import numpy as np

from molcalc.errors import DatasetError
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.geometry_hash import geometry_hashes, mix
from molcalc.train.data.limits import (
    FEWEST_ALIKE,
    FEWEST_PAIRS,
    LOST_CHARGE,
    OUTLYING,
    OUTLYING_SPREADS,
    ROUNDED_CHARGE,
    SAME_ENERGY,
    SAME_FACTOR,
)
from molcalc.train.data.split import molecule_codes
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


def doubtful_derivatives(dataset: Dataset) -> list[str]:
    """Signs that forces or stresses are not derivatives of the energies.

    A stress of the wrong sign (ΔE is −1 times its work) or in another unit is named with the factor.

    Returns
    -------
    one sentence for each sign; an empty list where there is none
    """
    found = []
    for name, pairs in zip(("forces", "stress"), compared_work(dataset)):
        n, factor = len(pairs.work), pairs.other_factor
        if factor is None and (n < FEWEST_PAIRS or pairs.agreeing(1.0) >= 0.5):
            continue
        if factor is None:
            found.append(
                f"{name} and energies do not belong together: over {n} pairs of structures that are nearly alike, work "
                f"and differences of energies agree in {pairs.agreeing(1.0):.0%}"
            )
        else:
            found.append(
                f"{name} seems to be of the wrong {'sign' if factor < 0 else 'size'}: differences of energies "
                f"are {factor:.3g} times its work over {n} pairs of structures that are nearly alike"
            )
    return found


def check_signs(dataset: Dataset) -> None:
    """Refuse forces and stresses whose work has the wrong sign.

    Raises
    ------
    DatasetError
        Says over how many pairs of structures.
    """
    for name, pairs in zip(("forces", "stress"), compared_work(dataset)):
        factor = pairs.other_factor
        if factor is not None and factor < 0 and pairs.agreeing(-1.0) >= SAME_FACTOR:
            raise DatasetError(
                f"{name} are of the wrong sign: differences of energies are {factor:.3g} times their work, over "
                f"{len(pairs.work)} pairs of structures that are nearly alike. {_SIGNS[name]}"
            )


_SIGNS = {
    "forces": "These are gradients: multiply them by -1",
    "stress": "Positive is tension, (dE/dε)/V, as in ASE: multiply it by -1, or leave it out",
}


def contradicting_repeats(dataset: Dataset) -> list[str]:
    """Geometries that occur more than once at one fidelity and spin, with energies that differ.

    Returns
    -------
    one sentence, or none
    """
    if "energy" not in dataset.labels or not len(dataset):
        return []
    state = np.column_stack([dataset.fidelity, dataset.multiplicity]).astype(np.uint64)
    codes = geometry_hashes(dataset) ^ mix(state[:, 0] * np.uint64(1000) + state[:, 1])
    known = np.flatnonzero(dataset.has("energy"))
    order = known[np.lexsort((dataset.labels["energy"][known], codes[known]))]
    same = codes[order][1:] == codes[order][:-1]
    gap = np.diff(dataset.labels["energy"][order])
    differ = np.flatnonzero(same & (gap > SAME_ENERGY))
    if not len(differ):
        return []
    worst = int(differ[np.argmax(gap[differ])])
    first, second = dataset.row_name(int(order[worst])), dataset.row_name(int(order[worst + 1]))
    n = len(np.unique(codes[order][differ]))
    return [
        f"{n} geometries occur with different energies, at most {gap[differ].max():.3g} eV apart ({first} and "
        f"{second}): were they computed at one level, or is one of them not converged?"
    ]


def outlying_energies(dataset: Dataset) -> list[str]:
    """Energies far from all others of the same composition, charge and fidelity, such as one in another unit.

    Returns
    -------
    one sentence, or none
    """
    if "energy" not in dataset.labels or not len(dataset):
        return []
    energy, known = dataset.labels["energy"], np.flatnonzero(dataset.has("energy"))
    codes = molecule_codes(dataset) ^ mix(dataset.fidelity.astype(np.uint64))
    order = known[np.argsort(codes[known], kind="stable")]
    far = []
    for alike in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        if len(alike) >= FEWEST_ALIKE:
            away = np.abs(energy[alike] - np.median(energy[alike]))
            far.append(alike[away > max(OUTLYING, OUTLYING_SPREADS * float(np.median(away)))])
    found = np.sort(np.concatenate(far)) if far else known[:0]
    if not len(found):
        return []
    return [
        f"{len(found)} of {len(known)} energies are more than {OUTLYING:g} eV away from those of the same composition "
        f"(first {dataset.row_name(int(found[0]))}): are they in another unit, or of calculations that went wrong? "
        "Correct them, or leave them out"
    ]


def warn_of_doubts(dataset: Dataset) -> None:
    """Log what is doubtful in labels as warnings: derivatives, repeats and outliers of energies."""
    for text in (*doubtful_derivatives(dataset), *contradicting_repeats(dataset), *outlying_energies(dataset)):
        log.warning("%s", text)


def _cure(dataset: Dataset, missed: np.ndarray) -> str:
    """What to do about charges that do not add up to the total charge, given what they miss it by."""
    text = "correct the key total_charge, or leave the charges out"
    if dataset.total_charge.any() or (np.abs(missed - np.round(missed)) > ROUNDED_CHARGE).any():
        return text
    return (
        f"{text}. These look like ions, and every total charge is 0, as where none is recorded: write it as the key "
        "total_charge of every row (in HDF5 as the data set 'charge' of every group)"
    )
