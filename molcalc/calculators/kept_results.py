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

_Geometry = tuple[bytes, bytes, bytes, bytes]


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
    max_structures, max_atoms : how many are kept, and of how many atoms together.
    """

    def __init__(self, max_structures: int = MAX_STRUCTURES, max_atoms: int = MAX_ATOMS) -> None:
        self._max_structures, self._max_atoms = max_structures, max_atoms
        self._kept: OrderedDict[tuple[_Geometry, State], KeptResult] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def knows(self, atoms: Atoms) -> bool:
        """Whether a result of exactly these positions and cell is kept, in whatever state."""
        geometry = _geometry(atoms)
        return any(known == geometry for known, _ in self._kept)

    def find(self, atoms: Atoms, state: State) -> KeptResult | None:
        """The result of a structure in exactly these positions, cell and state, or None."""
        key = _geometry(atoms), state
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def add(self, result: KeptResult) -> None:
        """Keep a result, in arrays of its own, if it is not too large."""
        if len(result.atoms) > self._max_atoms:
            return
        copied = KeptResult(result.atoms, result.state, result.copied_prediction())
        self._kept[_geometry(result.atoms), result.state] = copied
        while len(self._kept) > self._max_structures or self._n_atoms() > self._max_atoms:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()

    def _n_atoms(self) -> int:
        return sum(len(result.atoms) for result in self._kept.values())


def _geometry(atoms: Atoms) -> _Geometry:
    return atoms.numbers.tobytes(), atoms.positions.tobytes(), atoms.cell.array.tobytes(), atoms.pbc.tobytes()


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in values.items()}
