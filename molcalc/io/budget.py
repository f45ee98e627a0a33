"""How much a file may become: the one limit of memory for everything that is read.

A file of a kilobyte can claim a terabyte: compressed zeros, a number of atoms, the shape of an array. Readers ask here
before they unpack or allocate, and refuse what is beyond the budget. It follows from the size of the file:
``EXPANSION`` bytes for each of its bytes, and ``FREE`` bytes whatever its size. The environment variable
``MOLCALC_EXPANSION`` takes the place of the factor.
"""

from __future__ import annotations

import math
import os

from molcalc.errors import ConfigError, short

VARIABLE = "MOLCALC_EXPANSION"
EXPANSION = 100.0
"""Bytes in memory for each byte of a file. Compressed text and arrays of real data take 2 to 20."""
FREE = 1 << 28
"""Bytes that any file may take."""


def budget_of(size: int) -> int:
    """Bytes that a file may take in memory.

    Parameters
    ----------
    size : bytes of the file.

    Returns
    -------
    bytes

    Raises
    ------
    ConfigError
        When ``MOLCALC_EXPANSION`` is no positive number.
    """
    return max(FREE, int(size * _expansion()))


def expansion_message(where: str, claimed: int, size: int) -> str:
    """What to say of a file beyond its budget.

    Parameters
    ----------
    where : the file, and what in it.
    claimed : bytes that it would take.
    size : bytes of the file.

    Returns
    -------
    one line with the cure
    """
    return (
        f"{where} claims {claimed:.3g} bytes in a file of {size}; at most {budget_of(size)} are read: if that is real, "
        f"set {VARIABLE}={math.ceil(claimed / max(size, 1)) + 1}"
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
