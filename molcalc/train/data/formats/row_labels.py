"""Labels of rows that stand among their keys and data: under names that a user gave, or under their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from molcalc.errors import DatasetError, suggest
from molcalc.properties import LABELS
from molcalc.state import single
from molcalc.train.data.formats.row import LABEL_DATA, Row, as_bytes
from molcalc.train.data.problems import Problems

_COLUMNS = {name: label.ase_name for name, label in LABELS.items() if label.ase_name is not None}
"""Columns of rows that labels stand in."""
_SAME = 1e-8
"""Relative deviation of a label that a row has twice."""


class RowLabels:
    """Puts labels of rows into their columns, and remembers which names the rows of a file have.

    Parameters
    ----------
    source : file, for messages.
    names : name in the file by label, as a user gave it.
    """

    def __init__(self, source: str, names: Mapping[str, str]) -> None:
        self.source, self.names = source, names
        self._taken: set[str] = set()
        self._present: dict[str, None] = {}

    def place(self, rows: Sequence[Row], problems: Problems) -> list[Row]:
        """Rows with every label in its column, or among the data where it has none.

        Parameters
        ----------
        problems : takes rows that have a label twice, with different values.

        Returns
        -------
        rows without those
        """
        placed = []
        for row in rows:
            if self.names:
                row = self._named(row)
            if row.data and not _COLUMNS.keys().isdisjoint(row.data):
                twice = _twice(row)
                if twice is not None:
                    problems.add(f"{twice} of the row and of its data differ: remove one of them", row.id)
                    continue
                row = _columns_filled(row)
            placed.append(row)
        return placed

    def finish(self) -> None:
        """Refuse names that no row has.

        Raises
        ------
        DatasetError
        """
        for ours, theirs in self.names.items():
            if theirs not in self._taken:
                raise no_such_name(self.source, ours, theirs, self._present)

    def _named(self, row: Row) -> Row:
        """A row whose labels are those that the user named; what they take the place of is called ``other_…``."""
        keys, data = dict(row.keys), dict(row.data)
        changes: dict[str, Any] = {}
        self._present.update(dict.fromkeys((*keys, *data)))
        for ours, theirs in self.names.items():
            column = _COLUMNS.get(ours)
            if ours != theirs and ours in data:
                data[f"other_{ours}"] = data.pop(ours)
            if theirs in keys or theirs in data:
                value = keys.pop(theirs) if theirs in keys else data.pop(theirs)
                self._taken.add(theirs)
            elif theirs in _COLUMNS and getattr(row, _COLUMNS[theirs]) is not None:
                value = row.values_of(_COLUMNS[theirs])
                self._taken.add(theirs)
            else:
                value = None
            if column is not None:
                if getattr(row, column) is not None and theirs != ours:
                    target = keys if ours == "energy" else data
                    target[f"other_{ours}"] = row.values_of(column)
                changes[column] = _column_value(ours, value)
            elif value is not None:
                (data if ours in LABEL_DATA else keys)[ours] = value
        return row._replace(keys=keys, data=data, **changes)


def no_such_name(source: str, ours: str, theirs: str, present: Iterable[str]) -> DatasetError:
    """The error for a name that a user gave for a label and that nothing in a file has."""
    listed = ", ".join(present) or "none"
    return DatasetError(
        f"{source}: nothing is called {theirs!r}, which labels give for {ours}{suggest(theirs, present)}; "
        f"names in the file: {listed}"
    )


def _twice(row: Row) -> str | None:
    """A label that stands in its column and, with other values, among the data."""
    for name, column in _COLUMNS.items():
        if name in row.data and getattr(row, column) is not None:
            given, own = np.ravel(row.data[name]), np.ravel(row.values_of(column))
            if given.dtype.kind not in "biuf" or len(given) != len(own) or not np.allclose(given, own, _SAME, _SAME):
                return name
    return None


def _columns_filled(row: Row) -> Row:
    """A row whose labels among the data stand in their columns."""
    found = {name: row.data[name] for name in _COLUMNS if name in row.data}
    changes = {
        _COLUMNS[name]: _column_value(name, value)
        for name, value in found.items()
        if getattr(row, _COLUMNS[name]) is None
    }
    return row._replace(data={name: value for name, value in row.data.items() if name not in found}, **changes)


def _column_value(name: str, value: Any) -> Any:
    """A label as its column holds it; what is no numbers becomes bytes of a wrong size, which is reported later."""
    if value is None:
        return None
    if name == "energy":
        return single(value)
    try:
        return as_bytes(value, name)
    except (TypeError, ValueError):
        return b""
