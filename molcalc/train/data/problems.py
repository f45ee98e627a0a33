"""What is wrong or doubtful with the rows of a source, collected so that one message can say all of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from molcalc.errors import DatasetError

log = logging.getLogger(__name__)

SHOWN = 10
KEPT = 100
"""Row numbers that are remembered by problem; the others are only counted."""


class Problems:
    """Rows that cannot be used, or that can and may not be what was meant, by reason.

    Attributes
    ----------
    counts : number of rows by reason.
    rows : the first row numbers by reason.
    wanted : rows that count at all; None for all.
    """

    def __init__(
        self,
        counts: Mapping[str, int] | None = None,
        rows: Mapping[str, list[int]] | None = None,
        wanted: frozenset[int] | None = None,
    ) -> None:
        self.wanted = wanted
        self.counts: dict[str, int] = dict(counts or {})
        self.rows: dict[str, list[int]] = {reason: list(numbers) for reason, numbers in (rows or {}).items()}

    def add(self, reason: str, row: int) -> None:
        """Note one row."""
        self.add_many(reason, (row,))

    def add_many(self, reason: str, rows: Iterable[int]) -> None:
        """Note some rows."""
        for row in rows:
            if self.wanted is not None and int(row) not in self.wanted:
                continue
            self.counts[reason] = self.counts.get(reason, 0) + 1
            kept = self.rows.setdefault(reason, [])
            if len(kept) < KEPT:
                kept.append(int(row))

    @property
    def record(self) -> dict[str, Any]:
        """Counts and rows by these names, as the constructor takes them."""
        return {"counts": self.counts, "rows": self.rows}

    def __bool__(self) -> bool:
        return bool(self.counts)

    def describe(self, word: str, label: Callable[[int], str] = str) -> list[str]:
        """One phrase per reason: which rows, and how many.

        Parameters
        ----------
        word : what a row is called in this source, "row" or "frame".
        label : text of the number of a row.

        Returns
        -------
        phrases for messages
        """
        phrases = []
        for reason, count in self.counts.items():
            shown = ", ".join(label(row) for row in self.rows[reason][:SHOWN])
            more = f", … ({count} {word}s)" if count > SHOWN else ""
            phrases.append(f"{word} {shown}{more}: {reason}")
        return phrases

    def warn_if_any(self, source: str, word: str, label: Callable[[int], str] = str) -> None:
        """Log one warning that lists everything.

        Parameters
        ----------
        source : begins the message.
        """
        if self:
            log.warning("%s: %s", source, "; ".join(self.describe(word, label)))

    def raise_if_any(self, source: str, word: str, label: Callable[[int], str] = str) -> None:
        """Raise one error that lists everything.

        Raises
        ------
        DatasetError
        """
        if self:
            listed = "; ".join(self.describe(word, label))
            raise DatasetError(f"{source}: {listed}. Correct these, or leave them out with skip_bad=True")
