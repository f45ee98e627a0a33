"""Results of the last few structures, for images of a path or molecules that take turns with one calculator."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from molcalc.prediction.results import Prediction
from molcalc.state import State

MAX_STRUCTURES = 64
MAX_ATOMS = 20_000
"""Over all structures that are kept: some megabytes."""

_Geometry = tuple[str | tuple[int, ...] | bytes, ...]


@dataclass(frozen=True)
class KeptResult:
    """Prediction for one structure, with the structure and its state."""

    atoms: Atoms
    state: State
    prediction: Prediction

    def copied_prediction(self) -> Prediction:
        """The prediction in arrays of its own, which nobody else edits."""
        return Prediction(_copied(self.prediction.results), _copied(self.prediction.extras))


class KeptResults:
    """Results by structure and state; those that were not asked for longest are dropped.

    Parameters
    ----------
    max_structures, max_atoms : how many structures are kept, in whatever states, and of how many atoms together.
    """

    def __init__(self, max_structures: int = MAX_STRUCTURES, max_atoms: int = MAX_ATOMS) -> None:
        self._max_structures, self._max_atoms = max_structures, max_atoms
        self._kept: OrderedDict[_Geometry, dict[State, KeptResult]] = OrderedDict()
        self._n_atoms = 0

    def __len__(self) -> int:
        return len(self._kept)

    def knows(self, atoms: Atoms) -> bool:
        """Whether a result of exactly these positions and cell is kept, in whatever state."""
        return _geometry(atoms) in self._kept

    def find(self, atoms: Atoms, state: State) -> KeptResult | None:
        """The result of a structure in exactly these positions, cell and state, or None."""
        geometry = _geometry(atoms)
        if geometry not in self._kept:
            return None
        self._kept.move_to_end(geometry)
        return self._kept[geometry].get(state)

    def add(self, result: KeptResult) -> None:
        """Keep a result, in arrays of its own, if it is not too large."""
        n_atoms = len(result.atoms)
        if n_atoms > self._max_atoms:
            return
        geometry = _geometry(result.atoms)
        states = self._kept.setdefault(geometry, {})
        self._kept.move_to_end(geometry)
        self._n_atoms += 0 if result.state in states else n_atoms
        states[result.state] = KeptResult(result.atoms, result.state, result.copied_prediction())
        while len(self._kept) > self._max_structures or self._n_atoms > self._max_atoms:
            _, dropped = self._kept.popitem(last=False)
            self._n_atoms -= sum(len(each.atoms) for each in dropped.values())

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self._n_atoms = 0


def _geometry(atoms: Atoms) -> _Geometry:
    """Bytes of what a structure is made of, with the form of the arrays that a user may have put in its place."""
    numbers, positions = atoms.numbers, atoms.positions
    forms = numbers.dtype.str, positions.dtype.str, positions.shape
    return *forms, numbers.tobytes(), positions.tobytes(), atoms.cell.array.tobytes(), atoms.pbc.tobytes()


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in values.items()}
