"""Charge, multiplicity and fidelity of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from molcalc.errors import DatasetError
from molcalc.fidelity import UNNAMED
from molcalc.train.data.problems import SHOWN, Problems

if TYPE_CHECKING:
    from molcalc.train.data.rows import Block, Row

CHARGE_KEYS = ("total_charge", "charge")
SPIN_KEYS = ("multiplicity", "spin", "spin_multiplicity", "mult")
FIDELITY_KEY = "fidelity"
STATE_KEYS = (*CHARGE_KEYS, *SPIN_KEYS, FIDELITY_KEY)
WHOLE = 1e-6
"""Deviation from an integer that is taken for rounding."""


class Resolved(NamedTuple):
    """charge (n,) float64; multiplicity, fidelity (n,) int64; bad (n,) bool, rows that cannot be used."""

    charge: np.ndarray
    multiplicity: np.ndarray
    fidelity: np.ndarray
    bad: np.ndarray


class _Notes:
    """Problems of the rows of one block."""

    def __init__(self, ids: np.ndarray, problems: Problems) -> None:
        self.ids, self._problems = ids, problems
        self.bad = np.zeros(len(ids), dtype=bool)

    def add(self, reason: str, wrong: np.ndarray) -> None:
        self._problems.add_many(reason, self.ids[wrong])
        self.bad |= wrong


class States:
    """Decides the state of rows of one source and remembers what the source offers.

    Charge: key ``total_charge`` or ``charge``, else the sum of initial charges if it is not zero, else 0 when no row of
    the source records a charge. Multiplicity: its key, else the lowest of that parity. Fidelity: the name given
    by the user, else the key ``fidelity``.

    Parameters
    ----------
    source : file, for messages; ``word`` is what it calls a row.
    fidelity : name given by the user, or None.
    names : names of all fidelities so far; new ones are appended.
    """

    def __init__(self, source: str, word: str, fidelity: str | None, names: list[str]) -> None:
        self.source, self.word = source, word
        self.names = names
        self._given = fidelity
        self._seen: dict[str, None] = {}
        self._with: dict[str, bool] = {}
        self._without: dict[str, list[int]] = {"total_charge": [], FIDELITY_KEY: []}

    def resolve(self, rows: Sequence[Row], block: Block, problems: Problems) -> Resolved:
        """Charge, multiplicity and fidelity of some rows; takes their keys out of the block."""
        columns = {key: block.keys.pop(key) for key in STATE_KEYS if key in block.keys}
        notes = _Notes(block.systems["row"], problems)
        charge = self._charges(rows, columns, notes)
        owner = np.repeat(np.arange(len(rows)), block.systems["n_atoms"])
        protons = np.bincount(owner, weights=block.atoms["numbers"], minlength=len(rows))
        electrons = (protons - charge).astype(np.int64)
        multiplicity = self._multiplicities(columns, electrons, notes)
        return Resolved(charge, multiplicity, self._fidelities(columns, notes.ids), notes.bad)

    def finish(self) -> None:
        """Check that a source that records charges or fidelities does so in every row.

        Raises
        ------
        DatasetError
        """
        for key, rows in self._without.items():
            if rows and self._with.get(key):
                shown = ", ".join(str(row) for row in rows[:SHOWN]) + (", …" if len(rows) > SHOWN else "")
                raise DatasetError(
                    f"{self.source}: {self.word} {shown} has no {key} in its key_value_pairs, while others have: "
                    f"write it for every {self.word} (molcalc db repair --charge sets the missing ones)"
                    if key == "total_charge"
                    else f"{self.source}: {self.word} {shown} has no {key} in its key_value_pairs, while others have"
                )
        if self._given is not None and len(self._seen) > 1:
            raise DatasetError(
                f"{self.source} is given as fidelity {self._given!r}, but its rows are of several: "
                f"{', '.join(self._seen)}; split it, or pass it without a name"
            )

    def _charges(self, rows: Sequence[Row], columns: dict[str, list[Any]], notes: _Notes) -> np.ndarray:
        found = [_numbers(columns[key], key, notes) for key in CHARGE_KEYS if key in columns]
        if any(row.initial_charges is not None for row in rows):
            sums = np.array([0.0 if (b := row.initial_charges) is None else np.frombuffer(b).sum() for row in rows])
            sums[np.abs(sums) < WHOLE] = np.nan
            found.append(sums)
        charge = np.full(len(rows), np.nan)
        for values in found:
            different = np.isfinite(charge) & np.isfinite(values) & (np.abs(charge - values) > WHOLE)
            notes.add("total charge and sum of initial charges contradict each other", different)
            charge = np.where(np.isnan(charge), values, charge)
        none = np.isnan(charge)
        recorded = any(key in columns for key in CHARGE_KEYS)
        self._with["total_charge"] = self._with.get("total_charge", False) or recorded
        self._note_missing("total_charge", notes.ids[none])
        charge[none] = 0.0
        notes.add("the total charge is not an integer", ~(np.abs(charge - np.round(charge)) < WHOLE))
        return np.round(np.where(np.isfinite(charge), charge, 0.0))

    def _multiplicities(self, columns: dict[str, list[Any]], electrons: np.ndarray, notes: _Notes) -> np.ndarray:
        lowest = 1 + electrons % 2
        result = lowest.astype(np.float64)
        for key in SPIN_KEYS:
            if key in columns:
                values = _numbers(columns[key], key, notes)
                result = np.where(np.isnan(values), result, values)
        wrong = (result < 1) | (result != np.round(result)) | ((electrons + np.round(result)) % 2 == 0)
        wrong |= result > electrons + 1
        notes.add("the multiplicity is impossible for the number of electrons", wrong)
        return np.where(wrong, lowest, result).astype(np.int64)

    def _fidelities(self, columns: dict[str, list[Any]], ids: np.ndarray) -> np.ndarray:
        values = columns.get(FIDELITY_KEY, [None] * len(ids))
        found = [None if value is None else str(value) for value in values]
        self._seen.update(dict.fromkeys(name for name in found if name is not None))
        if self._given is not None:
            return np.full(len(ids), self._index(self._given), dtype=np.int64)
        missing = np.array([name is None for name in found], dtype=bool)
        self._with[FIDELITY_KEY] = self._with.get(FIDELITY_KEY, False) or not missing.all()
        self._note_missing(FIDELITY_KEY, ids[missing])
        return np.array([self._index(UNNAMED if name is None else name) for name in found], dtype=np.int64)

    def _index(self, name: str) -> int:
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)

    def _note_missing(self, key: str, rows: np.ndarray) -> None:
        kept = self._without[key]
        kept.extend(int(row) for row in rows[: max(0, SHOWN + 1 - len(kept))])


def _numbers(values: Sequence[Any], key: str, notes: _Notes) -> np.ndarray:
    """float64 column of a key; NaN where a row does not have it."""
    if set(map(type, values)) <= {int, float} and np.isfinite(plain := np.array(values, dtype=np.float64)).all():
        return plain
    result = np.full(len(values), np.nan)
    wrong = np.zeros(len(values), dtype=bool)
    for k, value in enumerate(values):
        if value is None:
            continue
        if isinstance(value, (int, float, np.number)) and np.isfinite(value):
            result[k] = float(value)
        else:
            wrong[k] = True
    notes.add(f"{key} is not a number", wrong)
    return result
