"""Batches of a run: built in the background, with what the labels need done to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from molcalc.batch import AtomicBatch
from molcalc.labels import DispersionSubtraction
from molcalc.potential import Potential
from molcalc.train.augmentation import rotated
from molcalc.train.config import FitConfig
from molcalc.train.data.dataset import Dataset
from molcalc.train.esp_mask import without_masked_points
from molcalc.train.processes import Processes
from molcalc.train.sampler import share


class Feed:
    """Turns systems of a dataset into batches.

    Parameters
    ----------
    measured : names of the labels that are needed.
    subtractions : what is taken out of the labels.
    """

    def __init__(
        self,
        config: FitConfig,
        potential: Potential,
        measured: Sequence[str],
        subtractions: Sequence[DispersionSubtraction],
        processes: Processes,
        device: torch.device,
    ) -> None:
        self._config, self._potential, self._measured = config, potential, tuple(measured)
        self._subtractions, self._processes, self._device = subtractions, processes, device
        ranges = [potential.pair_cutoff, *(subtraction.potential.pair_cutoff for subtraction in subtractions)]
        self._pair_cutoff = max((cutoff for cutoff in ranges if cutoff is not None), default=None)

    def batch(
        self,
        data: Dataset,
        systems: np.ndarray,
        esp_points: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> AtomicBatch:
        """Systems of a dataset as one batch on the device of the run."""
        batch = data.batch(
            systems,
            cutoff=self._potential.cutoff,
            pair_cutoff=self._pair_cutoff,
            esp_points=esp_points if "esp" in self._measured else None,
            rng=rng,
            labels=self._measured,
        )
        if "esp" in self._measured:
            batch = without_masked_points(batch, self._config.esp_radius_factor, self._config.esp_max)
        for subtraction in self._subtractions:
            batch = subtraction(batch)
        return batch.to(self._device)

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
                batch = self.batch(data, part, c.esp_points, rng)
                parts.append(rotated(batch, rng) if c.rotation_augmentation else batch)
        return parts
