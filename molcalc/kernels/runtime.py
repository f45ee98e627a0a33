"""Optional compiled CPU kernels (numba), and how their loops are shared among threads.

numba is an extra: :func:`available` is False without it, and every kernel has a plain torch path with the
same result. Kernels are serial functions of an index range; :func:`share_range` runs ranges on
``torch.get_num_threads()`` threads. numba's own threading layers are not used: they cannot be entered from two Python
threads at once.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from molcalc.errors import CompilationWarning, warn_user

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")

OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
"""How every loop is compiled, and kept where there is a place. Divisions by zero give what they give in numpy."""
LANES: dict[str, Any] = {"fastmath": {"contract", "nsz"}, **OPTIONS}
"""Loops whose numbers do not depend on each other: all lanes of the processor, two roundings may become one."""
SUMS: dict[str, Any] = {"fastmath": {"contract", "nsz", "reassoc"}, **OPTIONS}
"""Loops that add up: terms may be reordered besides, so that every lane has a sum of its own. Such a loop is a function
with few arguments, because the compiler must rule out that they overlap."""
RECIPROCALS: dict[str, Any] = {"fastmath": {"contract", "nsz", "reassoc", "arcp"}, **OPTIONS}
"""The same where x / y may also become x · (1 / y)."""
WIDTH = 16
"""Numbers in a row of :mod:`molcalc.kernels.simd`; axes that loops take in rows have this length, or multiples."""
FLOATS = (torch.float32, torch.float64)
"""Types of the numbers in a row."""

SERIAL_WORK = 200_000
"""Multiply-adds below which starting a second thread costs more than it saves."""

_pools: dict[int, ThreadPoolExecutor] = {}
_crews: dict[int, ThreadPoolExecutor] = {}
_openmp_libraries: dict[str, ctypes.CDLL] = {}


def one_thread_after_fork(library: str) -> None:
    """Make a compiled library that shares its work by OpenMP do without in forked processes.

    Threads do not live on in a fork, but OpenMP waits for them.

    Parameters
    ----------
    library : path of a shared library, which is loaded already.
    """
    if library not in _openmp_libraries:
        loaded = ctypes.CDLL(library, mode=os.RTLD_NOLOAD)
        if hasattr(loaded, "omp_set_num_threads"):  # of the OpenMP that this library is linked with
            _openmp_libraries[library] = loaded


def _after_fork() -> None:
    """Leave no thread of the parent to be waited for: ours are new, and torch and others get one each."""
    _pools.clear()
    _crews.clear()
    torch.set_num_threads(1)
    for library in _openmp_libraries.values():
        library.omp_set_num_threads(1)


os.register_at_fork(after_in_child=_after_fork)


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether numba can be imported (set MOLCALC_COMPILED=0 to do without)."""
    if os.environ.get("MOLCALC_COMPILED", "1") == "0":
        return False
    try:
        import numba
    except ImportError:
        return False
    try:
        numba.njit(**OPTIONS)(_anything)
    except RuntimeError as error:
        if "no locator" not in str(error):
            raise
        for options in (OPTIONS, LANES, SUMS, RECIPROCALS):
            options["cache"] = False
        warn_user(
            "compiled loops cannot be kept, since neither the installation nor a home directory can be written: every "
            "process compiles them anew, for some seconds; set NUMBA_CACHE_DIR to a folder of your own",
            CompilationWarning,
        )
    return True


def _anything() -> None:
    """Compiled by nobody; numba looks for a place for it as it does for the loops."""


def usable(*tensors: Tensor) -> bool:
    """Whether kernels can work on these tensors: numba is there, all are on the CPU, and of a type that numpy knows."""
    return available() and all(tensor.device.type == "cpu" and tensor.dtype != torch.bfloat16 for tensor in tensors)


def array(tensor: Tensor) -> np.ndarray:
    """Array of a tensor that loops read and write: its own memory if it is contiguous."""
    return np.ascontiguousarray(tensor.detach().numpy())


def flat(tensor: Tensor) -> np.ndarray:
    """Flat array of a tensor, otherwise as :func:`array`."""
    return array(tensor).reshape(-1)


def shared_flat(tensor: Tensor) -> np.ndarray:
    """Flat array of a contiguous tensor that loops only read, for as long as the tensor lives.

    Copies of a tensor may share memory until one of them is written to, and asking one for an array counts as writing.

    Returns
    -------
    array on the memory of the tensor
    """
    try:
        address = torch._C._data_address(tensor)  # type: ignore[attr-defined]
    except AttributeError:  # a torch without such memory
        return flat(tensor)
    return _floats_at(address, tensor.nbytes, tensor.dtype == torch.float32)


@lru_cache(maxsize=4096)
def _floats_at(address: int, n_bytes: int, single: bool) -> np.ndarray:
    """Array on a place in memory: good for whatever tensor of this size and type is there now."""
    memory = (ctypes.c_char * n_bytes).from_address(address)
    return np.frombuffer(memoryview(memory), dtype=np.float32 if single else np.float64)


def slots_for(work: float) -> int:
    """Shares to cut loops of ``work`` multiply-adds into, at least 1 and at most as many as there are threads."""
    return max(1, min(torch.get_num_threads(), int(work / SERIAL_WORK)))


def share_range(kernel: Callable[..., None], n_items: int, work: float, *args: Any) -> None:
    """Call ``kernel(start, stop, *args)`` on consecutive ranges that cover ``n_items``.

    ``work`` estimates the multiply-adds of the whole range; little work stays on one thread. The ranges
    must write to separate memory.
    """
    n_threads = min(n_items, slots_for(work))
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


def start_each(function: Callable[[_Item], _Found], items: Sequence[_Item]) -> list[Future[_Found]]:
    """Begin a function of each item on as many threads as torch has, each of which computes alone.

    Parameters
    ----------
    function : of one item; several run at once.

    Returns
    -------
    what there will be for each item, in their order
    """
    n_threads = min(torch.get_num_threads(), len(items))
    if n_threads not in _crews:
        _crews[n_threads] = _crew(n_threads)
    return [_crews[n_threads].submit(function, item) for item in items]


def _crew(n_threads: int) -> ThreadPoolExecutor:
    """Threads in which torch does not share its work any further."""
    of_torch, all_here = torch.get_num_threads(), threading.Barrier(n_threads)

    def begin() -> None:
        torch.set_num_threads(1)
        all_here.wait()

    crew = ThreadPoolExecutor(n_threads)
    for started in [crew.submit(begin) for _ in range(n_threads)]:
        started.result()
    torch.set_num_threads(of_torch)  # also the number for threads that somebody else will start
    return crew
