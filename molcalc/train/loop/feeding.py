"""Batches of a run: built in the background, with what the labels need done to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.potential import Potential
from molcalc.properties import LABELS
from molcalc.train.config import FitConfig
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.dispersion_subtraction import DispersionSubtraction
from molcalc.train.loop.augmentation import rotated
from molcalc.train.loop.esp_mask import without_masked_points
from molcalc.train.loop.processes import Processes
from molcalc.train.loop.sampler import share
from molcalc.train.report.groups import at_fidelities


class LabelReader:
    """Reads systems with the lists of neighbors that potentials need, and with labels as they are learned.

    ESP labels that do not count are marked as missing, and so is every label that the data do not have.

    Parameters
    ----------
    potential : that the labels are compared with, or None.
    measured : names of the labels that are needed.
    subtractions : what is taken out of the labels.
    config : says which ESP points count.
    device : where batches are put.
    """

    def __init__(
        self,
        potential: Potential | None,
        measured: Sequence[str],
        subtractions: Sequence[DispersionSubtraction],
        config: FitConfig,
        device: torch.device | str = "cpu",
    ) -> None:
        self._device = device
        self._measured, self._subtractions, self._config = tuple(measured), subtractions, config
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
            batch = without_masked_points(batch, self._config.esp_radius_factor, self._config.esp_max)
        if of_model is not None:
            batch = at_fidelities(batch, of_model)
        for subtraction in self._subtractions:
            batch = subtraction(batch)
        return batch.to(self._device)


def _with_missing(batch: AtomicBatch, names: Sequence[str]) -> AtomicBatch:
    """The batch with labels that its data do not have: NaN, and no points for the electrostatic potential."""
    rows = {"system": batch.n_systems, "atom": batch.n_atoms, "point": 0}
    missing = {name: torch.full((rows[LABELS[name].kind], *LABELS[name].shape), torch.nan) for name in names}
    if "esp" in names:
        points = torch.empty((0, 3), dtype=torch.float64)
        batch = replace(batch, esp_points=points, esp_system_idx=torch.empty(0, dtype=torch.int64))
    return replace(batch, labels={**batch.labels, **missing}) if missing else batch


class Feed:
    """Deals out the batches of a run to its processes, ahead of time."""

    def __init__(self, config: FitConfig, reader: LabelReader, processes: Processes) -> None:
        self._config, self._reader, self._processes = config, reader, processes

    def epoch(
        self, data: Dataset, batches: Sequence[np.ndarray], epoch: int, start: int
    ) -> Iterator[tuple[int, list[AtomicBatch]]]:
        """Batches from ``start`` on as lists of parts, each built while the one before is worked on."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            if start >= len(batches):
                return
            waiting = pool.submit(self._parts, data, batches[start], epoch, start)
            for k in range(start, len(batches)):
                ready = waiting.result()
                if k + 1 < len(batches):
                    waiting = pool.submit(self._parts, data, batches[k + 1], epoch, k + 1)
                yield k, ready

    def _parts(self, data: Dataset, systems: np.ndarray, epoch: int, k: int) -> list[AtomicBatch]:
        """This process's share of a batch; everything random in it follows from the seed and its place."""
        c = self._config
        own = share(systems, self._processes.rank, self._processes.size)
        rng = np.random.default_rng([c.seed, epoch, k, self._processes.rank])
        parts = []
        for part in np.array_split(own, min(c.accumulate, max(1, len(own)))):
            if len(part):
                batch = self._reader.read(data, part, esp_points=c.esp_points, rng=rng)
                parts.append(rotated(batch, rng) if c.rotation_augmentation else batch)
        return parts
