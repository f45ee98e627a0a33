"""What a model was trained on: charges, spins, compositions, distances and sizes, and how a structure goes beyond it.

It travels in the file of the model, for every fidelity. Whether a structure that goes beyond is refused, warned about
or computed in silence is decided where structures are predicted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from molcalc.units import SYMBOLS

NEAR = 4.0
"""Å; distances beyond are not recorded. Elements that never came nearer were never neighbors."""
CLOSER = 0.9
"""Share of the shortest distance in the data below which two atoms are nearer than anything that was learned."""
SPAN_TOLERANCE = 1e-6
"""Atoms of a composition that others need not explain."""
SPREAD = 0.040
"""eV, times the square root of the number of atoms. Standard deviations of energies of the published ensembles stay
below for structures of known kind and exceed it for strange ones; docs/limits.md has the measurement."""


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What the training data of one fidelity covered.

    Attributes
    ----------
    charges, multiplicities : that occur, ascending.
    span : atoms by element of independent compositions, of which those of all systems with an energy are sums and
        differences; None where the energies of free atoms were given and not fitted.
    shortest : Å by pair of elements ("C-H", in the order of their numbers); pairs beyond :data:`NEAR` have none.
    n_systems : structures.
    sizes : atoms of the smallest and of the largest.
    learned : labels that decided the weights; None where the file does not say.
    """

    charges: tuple[int, ...]
    multiplicities: tuple[int, ...]
    span: tuple[dict[str, int], ...] | None
    shortest: dict[str, float]
    n_systems: int
    sizes: tuple[int, int]
    learned: tuple[str, ...] | None = None

    def spans(self, composition: Mapping[str, int]) -> bool:
        """Whether the compositions of the data decide what the free atoms of a structure add to its energy."""
        if self.span is None:
            return True
        elements = sorted({*composition, *(symbol for row in self.span for symbol in row)})
        rows = np.array([[row.get(symbol, 0) for symbol in elements] for row in self.span], dtype=np.float64)
        wanted = np.array([composition.get(symbol, 0) for symbol in elements], dtype=np.float64)
        if not len(rows):
            return False
        found = np.linalg.lstsq(rows.T, wanted, rcond=None)[0] @ rows
        return bool(np.abs(found - wanted).max() <= SPAN_TOLERANCE * max(1.0, wanted.max()))

    @cached_property
    def closest(self) -> np.ndarray:
        """(Z, Z) Å by atomic numbers: what two atoms must not come nearer than to be like the data."""
        numbers = {symbol: z for z, symbol in enumerate(SYMBOLS)}
        table = np.full((len(SYMBOLS), len(SYMBOLS)), CLOSER * NEAR)
        for pair, distance in self.shortest.items():
            first, second = (numbers.get(symbol, 0) for symbol in pair.split("-"))
            table[first, second] = table[second, first] = CLOSER * distance
        return table

    def joined(self, other: Knowledge) -> Knowledge:
        """Knowledge from the data of both: of weights, and of what they were trained on afterwards.

        What was learned is what was learned last: weights that go on without energies do not keep those they had.

        Returns
        -------
        Knowledge
        """
        pairs = {*self.shortest, *other.shortest}
        return Knowledge(
            charges=_union(self.charges, other.charges),
            multiplicities=_union(self.multiplicities, other.multiplicities),
            span=None if self.span is None or other.span is None else independent((*self.span, *other.span)),
            shortest={
                pair: min(found.shortest[pair] for found in (self, other) if pair in found.shortest)
                for pair in sorted(pairs)
            },
            n_systems=self.n_systems + other.n_systems,
            sizes=(min(self.sizes[0], other.sizes[0]), max(self.sizes[1], other.sizes[1])),
            learned=other.learned,
        )

    def shared(self, other: Knowledge) -> Knowledge:
        """Knowledge that two networks of one ensemble have in common."""
        rows: tuple[dict[str, int], ...] | None = self.span if other.span is None else other.span
        if self.span is not None and other.span is not None:
            rows = independent(row for row in (*self.span, *other.span) if self.spans(row) and other.spans(row))
        return Knowledge(
            charges=tuple(charge for charge in self.charges if charge in other.charges),
            multiplicities=tuple(each for each in self.multiplicities if each in other.multiplicities),
            span=rows,
            shortest={
                pair: max(distance, other.shortest[pair])
                for pair, distance in self.shortest.items()
                if pair in other.shortest
            },
            n_systems=min(self.n_systems, other.n_systems),
            sizes=(max(self.sizes[0], other.sizes[0]), min(self.sizes[1], other.sizes[1])),
            learned=None
            if self.learned is None or other.learned is None
            else tuple(name for name in self.learned if name in other.learned),
        )


def independent(compositions: Iterable[Mapping[str, int]]) -> tuple[dict[str, int], ...]:
    """The first compositions of which all others are sums and differences.

    Parameters
    ----------
    compositions : atoms by element.

    Returns
    -------
    at most as many as there are elements
    """
    rows = list(compositions)
    elements = sorted({symbol for row in rows for symbol in row})
    kept: list[Mapping[str, int]] = []
    matrix = np.zeros((0, len(elements)))
    for row in rows:
        more = np.vstack([matrix, [row.get(symbol, 0) for symbol in elements]])
        if np.linalg.matrix_rank(more) > len(matrix):
            kept.append(row)
            matrix = more
        if len(kept) == len(elements):
            break
    return tuple({symbol: count for symbol, count in row.items() if count} for row in kept)


def formula_of(composition: Mapping[str, int]) -> str:
    """Composition as people write it: "CO2"."""
    return "".join(symbol + (str(count) if count > 1 else "") for symbol, count in composition.items())


def too_wide(energy_std: float, n_atoms: int) -> bool:
    """Whether the networks of an ensemble disagree more on an energy than they do on structures that they know.

    Parameters
    ----------
    energy_std : eV, standard deviation of the total energy.

    Returns
    -------
    True when it exceeds :data:`SPREAD` times the square root of the number of atoms, as errors of atoms that know
    nothing of each other add up
    """
    return energy_std > SPREAD * float(np.sqrt(n_atoms))


def _union(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted({*one, *other}))
