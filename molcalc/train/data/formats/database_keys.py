"""Keys as ASE databases take them: what they cannot name or hold goes to the data of a row."""

from __future__ import annotations

import logging
import numbers
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from molcalc.errors import DatasetError
from molcalc.state import FIDELITY_KEY, is_of_atoms, is_single, state_key
from molcalc.train.data.formats.row import NOT_OTHER

log = logging.getLogger(__name__)


class DatabaseKeys:
    """Divides keys of structures into those of a database and those among its data, and says at the end which."""

    def __init__(self) -> None:
        self._moved: dict[str, None] = {}

    def divide(self, keys: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Key-value pairs and data of a row.

        Returns
        -------
        keys that the database takes, and data with the others

        Raises
        ------
        DatasetError
            When the data have something else under the name of a key that goes there.
        """
        moved = {name: value for name, value in keys.items() if not is_database_key(name, value)}
        if not moved:
            return dict(keys), dict(data)
        self._moved.update(dict.fromkeys(moved))
        both = moved.keys() & data.keys()
        if both:
            raise DatasetError(f"{min(both)!r} is a key and is among the data; rename one of them")
        return {name: value for name, value in keys.items() if name not in moved}, {**data, **moved}

    def report(self) -> None:
        """Warn about keys that are among the data of the rows now."""
        if self._moved:
            log.warning("an ASE database takes no keys like these; they are in row.data: %s", ", ".join(self._moved))


def is_database_key(name: str, value: Any) -> bool:
    """Whether an ASE database takes a key with a value: no names of its own, no formulas, no texts like numbers."""
    plain = isinstance(value, (str, numbers.Real, np.bool_))
    return plain and _is_taken(name, value if isinstance(value, str) else None)


def is_key_in_data(name: str, value: Any, n_atoms: int) -> bool:
    """Whether a value among the data of a row is a key: one of charge, multiplicity or fidelity, or one that a database
    does not take elsewhere.

    Returns
    -------
    bool
    """
    if value is None or is_of_atoms(value, n_atoms):
        return False
    if state_key(name) not in (None, FIDELITY_KEY):
        return True
    if not is_single(value):
        return False
    return (
        state_key(name) is not None
        or isinstance(value, (str, int, float))
        and name not in NOT_OTHER
        and not is_database_key(name, value)
    )


@lru_cache(maxsize=4096)
def _is_taken(name: str, text: str | None) -> bool:
    from ase.db.core import check

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # which is how ASE speaks of formulas
        try:
            check({name: 1 if text is None else text})
        except (ValueError, UserWarning):
            return False
    return True
