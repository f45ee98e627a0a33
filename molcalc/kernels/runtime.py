"""Optional compiled CPU kernels (numba), and how their loops are shared among threads.

numba is an extra: :func:`available` is False without it, and every kernel has a plain torch path with the
same result. Kernels are serial functions of an index range; :func:`share_range` runs ranges on
``torch.get_num_threads()`` threads. numba's own threading layers are not used: they cannot be entered from two Python
threads at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

SERIAL_WORK = 200_000
"""Multiply-adds below which starting a second thread costs more than it saves."""

_pools: dict[int, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_pools.clear)


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether numba can be imported (set MOLCALC_COMPILED=0 to do without)."""
    if os.environ.get("MOLCALC_COMPILED", "1") == "0":
        return False
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def usable(*tensors: Tensor) -> bool:
    """Whether kernels can work on these tensors: numba is there and all are on the CPU."""
    return available() and all(tensor.device.type == "cpu" for tensor in tensors)


def share_range(kernel: Callable[..., None], n_items: int, work: float, *args: Any) -> None:
    """Call ``kernel(start, stop, *args)`` on consecutive ranges that cover ``n_items``.

    ``work`` estimates the multiply-adds of the whole range; little work stays on one thread. The ranges
    must write to separate memory.
    """
    n_threads = min(torch.get_num_threads(), n_items, max(1, int(work / SERIAL_WORK)))
    if n_threads <= 1:
        kernel(0, n_items, *args)
        return
    pool = _pools.get(n_threads)
    if pool is None:
        pool = _pools.setdefault(n_threads, ThreadPoolExecutor(n_threads - 1))
    bounds = [n_items * k // n_threads for k in range(n_threads + 1)]
    jobs = [pool.submit(kernel, bounds[k], bounds[k + 1], *args) for k in range(1, n_threads)]
    kernel(bounds[0], bounds[1], *args)
    for job in jobs:
        job.result()
