"""Charge, multiplicity and fidelity of the rows of one source, by the rule of :mod:`molcalc.state`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from molcalc.errors import DatasetError, StateError
from molcalc.fidelity import UNNAMED
from molcalc.state import (
    CHARGE_KEYS,
    FIDELITY_KEY,
    ROW_KEY,
    State,
    is_of_atoms,
    multiplicity_of_moments,
    resolve_fidelity,
    state_key,
    without_rounding,
)
from molcalc.train.data.problems import SHOWN, Problems

_UNDECIDED = State(0, 1, charge_stated=True)
"""Stands for the state of a row that cannot be used."""
_OF_MOMENTS = (
    "multiplicity {taken} is taken, although the initial magnetic moments add up to one of {hinted}: moments do not "
    "count, state the multiplicity (atoms.info of files, a key of databases: db.write(atoms, multiplicity={hinted}))"
)


class Stated(NamedTuple):
    """What some rows say of their states.

    Attributes
    ----------
    initial_charges : (n,) e, sums; NaN where a row has none.
    initial_moments : (n,) μ_B, sums of initial magnetic moments; NaN where a row has none.
    columns : values by name that :func:`molcalc.state.state_key` knows, None where a row does not have it.
    """

    initial_charges: np.ndarray
    initial_moments: np.ndarray
    columns: Mapping[str, Sequence[Any]]


class Resolved(NamedTuple):
    """charge (n,) float64; multiplicity, fidelity (n,) int64; bad (n,) bool, rows that cannot be used."""

    charge: np.ndarray
    multiplicity: np.ndarray
    fidelity: np.ndarray
    bad: np.ndarray


class States:
    """Decides the state of rows of one source and remembers what the source offers.

    Parameters
    ----------
    source : file, for messages; ``word`` is what it calls a row, ``label`` the text of a row's number.
    fidelity : name given by the user, or None.
    names : names of all fidelities so far; new ones are appended.
    """

    def __init__(
        self, source: str, word: str, label: Callable[[int], str], fidelity: str | None, names: list[str]
    ) -> None:
        self.source, self.word, self._label = source, word, label
        self.names = names
        self._given = fidelity
        self._decided: list[State | StateError] = []
        self._number: dict[tuple[Any, ...], int] = {}
        self._reasons: dict[str, str] = {}
        self._seen: dict[str, None] = {}
        self._recorded: dict[str, bool] = {}
        self._without: dict[str, list[int]] = {"total_charge": [], FIDELITY_KEY: []}

    def resolve(
        self,
        ids: np.ndarray,
        n_atoms: np.ndarray,
        protons: np.ndarray,
        stated: Stated,
        problems: Problems,
        doubts: Problems,
    ) -> Resolved:
        """Charge, multiplicity and fidelity of some rows.

        Parameters
        ----------
        ids : (n,) numbers of the rows.
        n_atoms, protons : (n,) int64, atoms and the sum of their atomic numbers.
        stated : what the rows say.
        problems : takes the rows that cannot be used.
        doubts : takes the rows whose initial magnetic moments hint at another multiplicity than they are given.

        Returns
        -------
        arrays by row, and which rows cannot be used
        """
        fidelity = self._fidelities(stated.columns.get(FIDELITY_KEY), ids)
        keys = {key: values for key, values in stated.columns.items() if key != FIDELITY_KEY}
        sums = without_rounding(stated.initial_charges, n_atoms)
        numbers, which = np.unique(self._decide(n_atoms, protons, sums, keys), return_inverse=True)
        states = []
        for number, decided in enumerate(self._decided[k] for k in numbers.tolist()):
            if isinstance(decided, StateError):
                reason = self._reasons.setdefault(decided.mistake, str(decided))
                problems.add_many(reason, ids[which == number])
            states.append(_UNDECIDED if isinstance(decided, StateError) else decided)
        charge_stated = np.array([state.charge_stated for state in states], dtype=bool)[which]
        recorded = any(
            value is not None and not is_of_atoms(value, n)
            for key, column in keys.items()
            if state_key(key) in CHARGE_KEYS
            for value, n in zip(column, n_atoms.tolist())
        )
        self._note("total_charge", recorded, ids[~charge_stated])
        charge = np.array([state.charge for state in states], dtype=np.float64)[which]
        multiplicity = np.array([state.multiplicity for state in states], dtype=np.int64)[which]
        bad = np.array([state is _UNDECIDED for state in states], dtype=bool)[which]
        said = bad | np.array([state.multiplicity_stated for state in states], dtype=bool)[which]
        moments = np.where(said, np.nan, stated.initial_moments)
        for k in np.flatnonzero(np.isfinite(moments)).tolist():
            hinted = multiplicity_of_moments(moments[k], int(protons[k] - charge[k]))
            if hinted not in (None, multiplicity[k]):
                doubts.add(_OF_MOMENTS.format(taken=multiplicity[k], hinted=hinted), int(ids[k]))
        return Resolved(charge, multiplicity, fidelity, bad)

    def finish(self) -> None:
        """Check that a source that records charges or fidelities does so in every row.

        Raises
        ------
        DatasetError
        """
        for key, rows in self._without.items():
            if rows and self._recorded.get(key):
                shown = ", ".join(self._label(row) for row in rows[:SHOWN]) + (", …" if len(rows) > SHOWN else "")
                cure = " (in a database, molcalc db repair --charge does)" if key == "total_charge" else ""
                raise DatasetError(
                    f"{self.source}: {self.word} {shown} has no {key}, while others have: write it for every "
                    f"{self.word}{cure}"
                )
        if self._given is not None and len(self._seen) > 1:
            raise DatasetError(
                f"{self.source} is given as fidelity {self._given!r}, but its rows are of several: "
                f"{', '.join(self._seen)}; split it, or pass it without a name"
            )

    def _decide(
        self, n_atoms: np.ndarray, protons: np.ndarray, sums: np.ndarray, keys: Mapping[str, Sequence[Any]]
    ) -> list[int]:
        """Number in ``_decided`` of the state of every row; rows that differ in nothing that counts share one."""
        names = tuple(keys)
        # By repr, because True and 1 are equal, and because values of a file need not be hashable.
        texts = [list(map(repr, values)) for values in keys.values()]
        totals = [None if np.isnan(total) else total for total in sums.tolist()]
        found = []
        for k, what in enumerate(zip(n_atoms.tolist(), protons.tolist(), totals, repeat(names), *texts)):
            number = self._number.get(what)
            if number is None:
                number = self._number[what] = len(self._decided)
                n, z, total, *_ = what
                self._decided.append(_state_of(n, z, total, {key: keys[key][k] for key in names}))
            found.append(number)
        return found

    def _fidelities(self, values: Sequence[Any] | None, ids: np.ndarray) -> np.ndarray:
        found = [None] * len(ids) if values is None else [resolve_fidelity({FIDELITY_KEY: value}) for value in values]
        self._seen.update(dict.fromkeys(name for name in found if name is not None))
        if self._given is not None:
            return np.full(len(ids), self._index(self._given), dtype=np.int64)
        missing = np.array([name is None for name in found], dtype=bool)
        self._note(FIDELITY_KEY, not missing.all(), ids[missing])
        return np.array([self._index(UNNAMED if name is None else name) for name in found], dtype=np.int64)

    def _index(self, name: str) -> int:
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)

    def _note(self, key: str, recorded: bool, without: np.ndarray) -> None:
        """Remember whether the source records a key, and the first rows that lack it."""
        self._recorded[key] = self._recorded.get(key, False) or recorded
        kept = self._without[key]
        kept.extend(int(row) for row in without[: max(0, SHOWN + 1 - len(kept))])


def _state_of(n_atoms: int, protons: int, total: float | None, info: Mapping[str, Any]) -> State | StateError:
    try:
        return State.of(info, n_atoms=n_atoms, protons=protons, initial_charge=total, key=ROW_KEY)
    except StateError as error:
        return error.with_traceback(None)  # it is kept, and what it happened in is not
