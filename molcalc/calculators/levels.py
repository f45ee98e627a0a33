"""The levels of theory of a model: which one is meant, and what it knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase.data import chemical_symbols

from molcalc.errors import FidelityError, UnsupportedElementError
from molcalc.schema import short, suggest


@dataclass(frozen=True)
class Level:
    """One fidelity as a calculator uses it.

    Attributes
    ----------
    elements : atomic numbers that it was trained on; None for all of the network's.
    provenance : what completes it, in words.
    """

    name: str
    elements: tuple[int, ...] | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    def unknown(self, numbers: np.ndarray) -> list[int]:
        """Atomic numbers in a structure that the level was not trained on, ascending."""
        present: list[int] = np.unique(numbers).tolist()
        return [] if self.elements is None else [z for z in present if z not in self.elements]


def find_level(names: Sequence[str], name: str | None, model: str) -> int:
    """Index of a fidelity; None is enough where there is only one.

    Raises
    ------
    FidelityError
        When the name is unknown, or missing where there are several; lists them.
    """
    if name is None and len(names) == 1:
        return 0
    if name is None:
        raise FidelityError(
            f"{model!r} has several fidelities: choose one with fidelity=NAME: {', '.join(map(repr, names))}"
        )
    if name not in names:
        raise FidelityError(
            f"fidelity={short(name)}{suggest(str(name), names)}: {model!r} has {', '.join(map(repr, names))}"
        )
    return list(names).index(name)


def check_level(numbers: np.ndarray, levels: Sequence[Level], chosen: Iterable[int], model: str) -> list[int]:
    """Those of the chosen levels that know all elements of a structure.

    Raises
    ------
    UnsupportedElementError
        When there is none; names the first of them, what it does not know, and the levels that know it.
    """
    chosen = list(chosen)
    known = [k for k in chosen if not levels[k].unknown(numbers)]
    if known:
        return known
    first = levels[chosen[0]]
    z = first.unknown(numbers)[0]
    where = np.flatnonzero(numbers == z).tolist()
    others = [level.name for level in levels if not level.unknown(np.array([z]))]
    cure = f"fidelities that know it: {', '.join(map(repr, others))}" if others else "no fidelity of it knows it"
    raise UnsupportedElementError(
        f"element {chemical_symbols[z]} (Z={z}) of atoms {where} was not in the data of fidelity {first.name!r} of "
        f"{model!r} (known: {', '.join(chemical_symbols[e] for e in first.elements or ())}); {cure}"
    )
