"""The report on what a generator proposes, beside structures of its molecule that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from molcalc.conformers.metrics.conformer_report import write_conformer_report
from molcalc.conformers.metrics.conformer_sets import (
    ConformerMetrics,
    ConformerSets,
    conformer_metrics,
    evenly_chosen,
)
from molcalc.conformers.vae.vae import ConformerVAE


def report_samples(
    folder: Path,
    generator: ConformerVAE,
    samples: Sequence[Atoms],
    reference: Sequence[Atoms],
    train: Sequence[Atoms] | None = None,
) -> ConformerMetrics:
    """Write a report on samples of a generator.

    Parameters
    ----------
    folder : made where it is missing; files of an earlier report are replaced.
    samples : that it has drawn.
    reference : structures that it was not trained on, in the order of time.
    train : that it was trained on, to see what is only remembered; the latent map is theirs, else of the reference.

    Returns
    -------
    metrics of the samples

    Raises
    ------
    InputError
        When a structure is not of the molecule, or there are fewer than four to compare with.
    ResourceError
        When the disk is full or not writable.
    """
    molecule = generator.reference.molecule
    structure = molecule.structure(generator.reference.positions)
    known = [
        [molecule.structure(each) for each in generator.reference.frames_of(part)]
        for part in (reference, [] if train is None else train)
    ]
    sets = ConformerSets.of(structure, samples, known[0], known[1] or None)
    metrics = conformer_metrics(sets)
    shown = evenly_chosen(sets.reference if sets.train is None else sets.train)
    write_conformer_report(folder, sets, metrics, latents=_latents(generator, sets, shown))
    return metrics


def _latents(
    generator: ConformerVAE, sets: ConformerSets, shown: np.ndarray
) -> tuple[np.ndarray, np.ndarray, str] | None:
    """Where structures are in the latent space, and the torsion of them that turns most; None where nothing turns."""
    names = sets.coordinates.torsion_names
    if not names:
        return None
    torsions = sets.coordinates.torsions_in(shown)
    most = int(np.argmin(np.abs(np.exp(1j * np.radians(torsions)).mean(axis=0))))
    means, _ = generator.encode([sets.molecule.structure(each) for each in shown])
    return means, torsions[:, most], names[most]
