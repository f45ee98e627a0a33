"""Batches of a run, built in the background."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from molcalc.batch import AtomicBatch
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.label_reader import LabelReader
from molcalc.train.loop.augmentation import rotated
from molcalc.train.loop.loop_config import LoopConfig
from molcalc.train.loop.processes import Processes
from molcalc.train.loop.sampler import share


class Feed:
    """Feed of a run: deals out its batches to processes, ahead of time.

    Parameters
    ----------
    config : says how batches are divided, and how many points and which orientation each system has.
    seed : of everything random in them.
    """

    def __init__(self, config: LoopConfig, seed: int, reader: LabelReader, processes: Processes) -> None:
        self._config, self._seed, self._reader, self._processes = config, seed, reader, processes

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
        rng = np.random.default_rng([self._seed, epoch, k, self._processes.rank])
        parts = []
        for part in np.array_split(own, min(c.accumulate, max(1, len(own)))):
            if len(part):
                batch = self._reader.read(data, part, esp_points=c.esp_points, rng=rng)
                parts.append(rotated(batch, rng) if c.rotation_augmentation else batch)
        return parts
