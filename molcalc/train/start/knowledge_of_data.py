"""What the training data of a fidelity cover, as the model will remember it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from molcalc.io.checkpoint import ModelConfig
from molcalc.knowledge import NEAR, Knowledge, independent
from molcalc.properties import LABELS
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.pair_lists import Geometries, pairs
from molcalc.train.start.reference_energies import composition
from molcalc.units import SYMBOLS

AT_ONCE = 2000
"""Structures whose distances are measured together."""


def knowledge_of(train: Dataset, fidelity: int) -> Knowledge:
    """What the training systems of one fidelity cover.

    Parameters
    ----------
    fidelity : its position in ``train.fidelities``; it has systems.

    Returns
    -------
    Knowledge, whose span is that of the compositions which the energies of free atoms are fitted to
    """
    part = train.subset(np.flatnonzero(train.fidelity == fidelity))
    sizes = part.n_atoms()
    return Knowledge(
        charges=tuple(int(charge) for charge in np.unique(np.rint(part.total_charge))),
        multiplicities=tuple(int(each) for each in np.unique(part.multiplicity)),
        span=_span(part.subset(np.flatnonzero(part.has("energy")))),
        shortest=shortest_distances(part),
        n_systems=len(part),
        sizes=(int(sizes.min()), int(sizes.max())),
    )


def with_learned(config: ModelConfig, train: Dataset, labels: Collection[str]) -> ModelConfig:
    """The declaration of a model with the labels that decide its weights, at each fidelity of the data.

    Parameters
    ----------
    config : its first fidelities are those of ``train``; the others are kept as they are.
    labels : in the loss.

    Returns
    -------
    the same declaration with more knowledge
    """
    fidelities = list(config.fidelities)
    for k in range(len(train.fidelities)):
        of_fidelity = train.fidelity == k
        learned = tuple(name for name in LABELS if name in labels and (train.has(name) & of_fidelity).any())
        known = fidelities[k].knowledge
        if known is not None:  # it is for weights of which nothing is recorded, and that go on
            fidelities[k] = replace(fidelities[k], knowledge=replace(known, learned=learned))
    return replace(config, fidelities=tuple(fidelities))


def _span(part: Dataset) -> tuple[dict[str, int], ...]:
    """Independent compositions, small ones first."""
    elements = tuple(int(z) for z in np.unique(part.numbers))
    counts = np.unique(composition(part.numbers, part.offsets, elements), axis=0)
    order = np.argsort(counts.sum(axis=1), kind="stable")
    return independent({SYMBOLS[z]: int(n) for z, n in zip(elements, row)} for row in counts[order])


def shortest_distances(part: Dataset) -> dict[str, float]:
    """Shortest distance of every pair of elements that come near each other.

    Returns
    -------
    Å by pair ("C-H", in the order of their numbers), up to :data:`molcalc.knowledge.NEAR`
    """
    found = np.full((len(SYMBOLS), len(SYMBOLS)), np.inf)
    offsets = part.offsets
    for start in range(0, len(part), AT_ONCE):
        chosen = slice(start, min(start + AT_ONCE, len(part)))
        atoms = slice(int(offsets[chosen.start]), int(offsets[chosen.stop]))
        numbers, positions, cell = part.numbers[atoms], part.positions[atoms], part.cell[chosen]
        geometries = Geometries(
            offsets[chosen.start : chosen.stop + 1] - atoms.start, positions, cell, part.pbc[chosen]
        )
        index, shifts = pairs(geometries, NEAR)
        vectors = positions[index[1]] - positions[index[0]]
        if geometries.pbc.any():
            owner = np.repeat(np.arange(len(geometries)), np.diff(geometries.offsets))[index[0]]
            vectors += np.einsum("ex,exy->ey", shifts, cell[owner])
        ends = np.sort(numbers[index], axis=0)
        np.minimum.at(found, (ends[0], ends[1]), np.einsum("ex,ex->e", vectors, vectors))
    near = np.argwhere(found <= NEAR**2).tolist()
    return {f"{SYMBOLS[one]}-{SYMBOLS[other]}": round(float(found[one, other]) ** 0.5, 4) for one, other in near}
