"""Batches of a run, built in the background."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from molcalc.train.loop.task import PartT


def fed(
    build: Callable[[np.ndarray, int, int], list[PartT]], batches: Sequence[np.ndarray], epoch: int, start: int
) -> Iterator[tuple[int, list[PartT]]]:
    """Batches of an epoch from ``start`` on as lists of parts, each built while the one before is worked on.

    Parameters
    ----------
    build : makes parts from systems, the epoch and the place in it.

    Yields
    ------
    place of the batch, and its parts
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        if start >= len(batches):
            return
        waiting = pool.submit(build, batches[start], epoch, start)
        for k in range(start, len(batches)):
            ready = waiting.result()
            if k + 1 < len(batches):
                waiting = pool.submit(build, batches[k + 1], epoch, k + 1)
            yield k, ready
