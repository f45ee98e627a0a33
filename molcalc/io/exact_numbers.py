"""Numbers of files as what they are taken for: exactly, or not at all.

Numpy turns 7.9999998 into 7, 4294967304 into 8 where 32 bits are asked for, a complex number into its real part and a
text into a number. Whoever reads an array that somebody else wrote asks here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from molcalc.errors import DatasetError, short

LARGEST_INTEGER = 2**31 - 1
"""More than any atomic number or count; what is kept of them has 32 bits."""


def exact_integers(values: Any, what: str) -> np.ndarray:
    """Whole numbers of an array, such as atomic numbers and counts.

    Parameters
    ----------
    values : integers, or floats without a fraction.
    what : file and array, for messages.

    Returns
    -------
    int64 of the same shape

    Raises
    ------
    DatasetError
        For fractions, numbers that are not finite or need more than 32 bits, complex numbers, texts and truth values.
    """
    found = _numeric(values, what, "iuf", "whole numbers")
    if found.dtype.kind == "f":
        found = found.astype(np.float64, copy=False)  # half precision has no number as large as the limit
    with np.errstate(invalid="ignore"):
        wrong = ~((found == np.rint(found)) & (found >= -LARGEST_INTEGER) & (found <= LARGEST_INTEGER))
    if wrong.any():
        raise DatasetError(
            f"{what}: {found[wrong].flat[0].item()!r} is not a whole number of at most {LARGEST_INTEGER}"
        )
    return found.astype(np.int64)


def exact_flags(values: Any, what: str) -> np.ndarray:
    """Truth values of an array: true and false, or 1 and 0.

    Parameters
    ----------
    what : file and array, for messages.

    Returns
    -------
    bool of the same shape

    Raises
    ------
    DatasetError
        For anything else.
    """
    found = _numeric(values, what, "biuf", "true or false")
    wrong = (found != 0) & (found != 1)
    if wrong.any():
        raise DatasetError(f"{what}: {found[wrong].flat[0].item()!r} is neither true (1) nor false (0)")
    return found.astype(bool)


def real_numbers(values: Any, what: str) -> np.ndarray:
    """Numbers of an array in double precision.

    Parameters
    ----------
    what : file and array, for messages.

    Returns
    -------
    float64 of the same shape

    Raises
    ------
    DatasetError
        For complex numbers, texts and truth values.
    """
    return _numeric(values, what, "iuf", "numbers").astype(np.float64, copy=False)


def _numeric(values: Any, what: str, kinds: str, expected: str) -> np.ndarray:
    try:
        found = np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise DatasetError(f"{what}: {short(values)} is no array; expected {expected}") from error
    if "b" not in kinds and not isinstance(values, np.ndarray) and (wrong := _truth_value(values)) is not None:
        raise DatasetError(f"{what}: {wrong} is a truth value; expected {expected}")
    if found.size == 0:
        return found.astype(np.float64) if found.dtype.kind == "O" else found
    if found.dtype.kind not in kinds:
        first = found.flat[0]
        shown = short(first.item() if isinstance(first, np.generic) else first)
        raise DatasetError(f"{what}: {shown} is of type {found.dtype}; expected {expected}")
    return found


def _truth_value(values: Any) -> bool | None:
    """The first truth value in lists of numbers, of which numpy makes 1 and 0; None if there is none."""
    if isinstance(values, bool):
        return values
    if isinstance(values, (list, tuple)):
        return next((found for each in values if (found := _truth_value(each)) is not None), None)
    return None
