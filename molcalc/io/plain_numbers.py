"""Numbers in texts as every program reads them: ``-1.5``, ``.5e-3``, and nothing else.

Python takes more for a number, such as ``1_0`` (ten) and digits of other scripts, which in a file are slips.
"""

from __future__ import annotations

import re

_WHOLE = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII)
_BOUNDARIES = re.compile(r"[\s,;=\"'()\[\]{}]+")


def decimal(text: str) -> float:
    """Number that a text is.

    Returns
    -------
    the number, which may be too large for a float: infinity

    Raises
    ------
    ValueError
        For anything that is not written as a decimal number.
    """
    if not _DECIMAL.fullmatch(text.strip()):
        raise ValueError(f"{text.strip()[:40]!r} is not a number")
    return float(text)


def whole_number(text: str) -> int:
    """Whole number that a text is.

    Returns
    -------
    the number

    Raises
    ------
    ValueError
        For anything that is not written as a whole number.
    """
    if not _WHOLE.fullmatch(text.strip()):
        raise ValueError(f"{text.strip()[:40]!r} is not a whole number")
    return int(text)


def numbers_of_python(line: str) -> list[str]:
    """Words of a line that are numbers to Python alone.

    Returns
    -------
    words in their order
    """
    if line.isascii() and "_" not in line:
        return []
    return [word for word in _BOUNDARIES.split(line) if _is_of_python(word)]


def _is_of_python(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return not (_DECIMAL.fullmatch(word) or _NOT_FINITE.fullmatch(word))
