"""Systems of a dataset as a model sees them: with the neighbors it needs, at its fidelities, with labels as learned."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.electrostatics.whole_molecules import dipole_origins
from molcalc.errors import UnsupportedElementError
from molcalc.fidelity import Fidelity, match_fidelities
from molcalc.io.checkpoint import ModelConfig
from molcalc.potential import Potential
from molcalc.properties import LABELS
from molcalc.train.data.comparison import USUAL, Comparison, without_masked_points
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.dispersion_subtraction import DispersionSubtraction
from molcalc.units import symbols_of

log = logging.getLogger(__name__)


class LabelReader:
    """Reads systems with the lists of neighbors that potentials need, and with labels as they are learned.

    ESP labels that do not count are marked as missing, and so is every label that the data do not have, or the
    structure: the dipole of a periodic network without end, the quadrupole of anything periodic.

    Parameters
    ----------
    potential : that the labels are compared with, or None.
    measured : names of the labels that are needed.
    subtractions : what is taken out of the labels.
    comparison : says which ESP points count; the usual ones unless given.
    device : where batches are put.
    """

    def __init__(
        self,
        potential: Potential | None,
        measured: Sequence[str],
        subtractions: Sequence[DispersionSubtraction],
        comparison: Comparison = USUAL,
        device: torch.device | str = "cpu",
    ) -> None:
        self._device = device
        self._told: set[str] = set()
        self._measured, self._subtractions, self._comparison = tuple(measured), subtractions, comparison
        potentials = [subtraction.potential for subtraction in subtractions]
        potentials += [] if potential is None else [potential]
        self._cutoff = 0.0 if potential is None else potential.cutoff
        self._pair_cutoff = max((p.pair_cutoff for p in potentials if p.pair_cutoff is not None), default=None)

    def read(
        self,
        data: Dataset,
        systems: np.ndarray,
        *,
        esp_points: int | None = None,
        rng: np.random.Generator | None = None,
        of_model: Tensor | None = None,
    ) -> AtomicBatch:
        """Systems of a dataset as one batch.

        Parameters
        ----------
        esp_points, rng : so many random points of every system; all of them by default.
        of_model : for every fidelity of the data the index of the model's, where they differ.

        Returns
        -------
        batch with labels, on the device of the reader
        """
        names = [name for name in self._measured if name in data.labels]
        with_esp = "esp" in names
        batch = data.batch(
            systems,
            cutoff=self._cutoff,
            pair_cutoff=self._pair_cutoff,
            esp_points=esp_points if with_esp else None,
            rng=rng,
            labels=names,
        )
        batch = _with_missing(batch, [name for name in self._measured if name not in names])
        if with_esp:
            batch = without_masked_points(batch, self._comparison)
        if of_model is not None:
            batch = at_fidelities(batch, of_model)
        if batch.periodic and self._cutoff > 0:
            batch = self._without_undefined_moments(batch)
        for subtraction in self._subtractions:
            batch = subtraction(batch)
        return batch.to(self._device)

    def _without_undefined_moments(self, batch: AtomicBatch) -> AtomicBatch:
        """Mark dipoles of networks without end as missing, and quadrupoles of everything periodic; say so once."""
        labels, periodic = dict(batch.labels), batch.pbc.any(dim=1)
        if "dipole" in labels:
            atoms = torch.isnan(dipole_origins(batch)).any(dim=1)
            endless = torch.zeros_like(periodic).index_put((batch.system_idx[atoms],), torch.tensor(True))
            labels["dipole"] = self._masked("dipole labels of periodic networks without end", labels["dipole"], endless)
        if "quadrupole" in labels:
            labels["quadrupole"] = self._masked(
                "quadrupole labels of periodic structures", labels["quadrupole"], periodic
            )
        return replace(batch, labels=labels)

    def _masked(self, what: str, values: Tensor, undefined: Tensor) -> Tensor:
        lost = undefined & ~torch.isnan(values).any(dim=1)
        if lost.any() and what not in self._told:
            self._told.add(what)
            log.warning("%s are left out: such a structure has no %s", what, what.split()[0])
        return torch.where(undefined[:, None], torch.nan, values)


def fidelities_of_model(config: ModelConfig, data: Dataset, fidelity: str | None = None) -> Tensor:
    """For every fidelity of the data the index of the one of a model that it is compared with, (n,) int64.

    Parameters
    ----------
    fidelity : of the model, for data whose fidelity has no name.

    Returns
    -------
    (n,) int64

    Raises
    ------
    FidelityError
        As :func:`molcalc.fidelity.match_fidelities` tells.
    UnsupportedElementError
        When the data have an element that the fidelity of the model does not know.
    """
    found = match_fidelities([item.name for item in config.fidelities], data.fidelities, fidelity)
    for k, index in enumerate(found):
        _check_elements(config, config.fidelities[index], elements_of(data, k))
    return torch.tensor(found)


def at_fidelities(batch: AtomicBatch, of_model: Tensor) -> AtomicBatch:
    """The batch with fidelities of a model, from :func:`fidelities_of_model`, in place of those of the data."""
    return replace(batch, fidelity=of_model.index_select(0, batch.fidelity))


def elements_of(data: Dataset, fidelity: int) -> tuple[int, ...]:
    """Atomic numbers that occur at a fidelity of a dataset, ascending."""
    part = data.subset(np.flatnonzero(data.fidelity == fidelity))
    return tuple(int(z) for z in np.unique(part.numbers))


def _with_missing(batch: AtomicBatch, names: Sequence[str]) -> AtomicBatch:
    """The batch with labels that its data do not have: NaN, and no points for the electrostatic potential."""
    rows = {"system": batch.n_systems, "atom": batch.n_atoms, "point": 0}
    missing = {name: torch.full((rows[LABELS[name].kind], *LABELS[name].shape), torch.nan) for name in names}
    if "esp" in names:
        points = torch.empty((0, 3), dtype=torch.float64)
        batch = replace(batch, esp_points=points, esp_system_idx=torch.empty(0, dtype=torch.int64))
    return replace(batch, labels={**batch.labels, **missing}) if missing else batch


def _check_elements(config: ModelConfig, fidelity: Fidelity, elements: tuple[int, ...]) -> None:
    known = config.arguments["elements"] if fidelity.elements is None else fidelity.elements
    strange = set(elements) - set(known)
    if strange:
        at = f" at fidelity {fidelity.name!r}" if len(config.fidelities) > 1 else ""
        raise UnsupportedElementError(
            f"the data have {symbols_of(strange)}, which the model does not know{at}; it knows {symbols_of(known)}"
        )
