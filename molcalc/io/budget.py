"""How much a file may become: the one limit of memory for everything that is read.

A file of a kilobyte can claim a terabyte: compressed zeros, a number of atoms, the shape of an array. Readers ask here
before they unpack or allocate, and refuse what is beyond the budget. It follows from the size of the file:
``EXPANSION`` bytes for each of its bytes, and ``FREE`` bytes whatever its size. The environment variable
``MOLCALC_EXPANSION`` takes the place of the factor.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from molcalc.errors import ConfigError, InputError, short

VARIABLE = "MOLCALC_EXPANSION"
EXPANSION = 100.0
"""Bytes in memory for each byte of a file. Compressed text and arrays of real data take 2 to 20."""
FREE = 1 << 28
"""Bytes that any file may take."""
_limiting = threading.Lock()
_LIBRARIES = 1 << 30
"""Bytes of addresses for what is loaded while a file is read."""


def budget_of(size: int, free: int | None = None) -> int:
    """Bytes that a file may take in memory.

    Parameters
    ----------
    size : bytes of the file.
    free : bytes that it may take whatever its size; FREE unless given.

    Returns
    -------
    bytes

    Raises
    ------
    ConfigError
        When ``MOLCALC_EXPANSION`` is no positive number.
    """
    return max(FREE if free is None else free, int(size * _expansion()))


def expansion_message(where: str, claimed: int, size: int, free: int | None = None) -> str:
    """What to say of a file beyond its budget.

    Parameters
    ----------
    where : the file, and what in it.
    claimed : bytes that it would take.
    size, free : as in :func:`budget_of`.

    Returns
    -------
    one line with the cure
    """
    return (
        f"{where} claims {claimed:.3g} bytes in a file of {size}; at most {budget_of(size, free)} are read: if that is "
        f"real, set {VARIABLE}={math.ceil(claimed / max(size, 1)) + 1}"
    )


def _expansion() -> float:
    stated = os.environ.get(VARIABLE)
    if not stated:
        return EXPANSION
    try:
        factor = float(stated)
    except ValueError:
        factor = math.nan
    if not (math.isfinite(factor) and factor > 0):
        raise ConfigError(f"{VARIABLE}={short(stated)}; expected a positive number, bytes for each byte of a file")
    return factor


@contextlib.contextmanager
def bounded_memory(path: Path, name: str) -> Iterator[None]:
    """Keep readers of others, which allocate whatever a file claims, to the budget of the file.

    On Linux the addresses of this process are limited meanwhile, unless other threads of Python would feel it.

    Parameters
    ----------
    path : file that is read.
    name : of the file, for messages.

    Raises
    ------
    InputError
        When the file claims more.
    """
    try:
        budget = budget_of(path.stat().st_size) + _LIBRARIES
        with contextlib.nullcontext() if threading.active_count() > 1 else limited_addresses(budget):
            yield
    except (MemoryError, OverflowError) as error:
        raise InputError(
            f"{name} claims more than its {path.stat().st_size} bytes can hold: it is damaged, or made to fill "
            f"memory ({VARIABLE} raises the limit)"
        ) from error


@contextlib.contextmanager
def limited_addresses(more: int) -> Iterator[None]:
    """Limit what this process may map beside what it has, on Linux; of several threads the first one does.

    What goes beyond ends in a MemoryError instead of the end of the process.

    Parameters
    ----------
    more : bytes.
    """
    if sys.platform != "linux" or not _limiting.acquire(blocking=False):
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    try:
        mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        if before[0] == resource.RLIM_INFINITY or before[0] > mapped + more:
            resource.setrlimit(resource.RLIMIT_AS, (mapped + more, before[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        _limiting.release()
