"""States of harmonic oscillators, and coordinates and momenta between them."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import Float64
from scipy.sparse import csr_array

Quanta = tuple[int, ...]
"""Quanta of a state: the number of its mode for each, ascending; () is the ground state, (0, 2, 2) has three quanta."""


@dataclass(frozen=True)
class OscillatorStates:
    """Some states, and all others that a few quanta lead to.

    Attributes
    ----------
    states : those that were asked for, then those that one quantum leads to, then two, then three.
    ends : number of states within 0, 1, 2 and 3 quanta.
    coordinates : of each mode, (ends[2], ends[3]) dimensionless coordinate q between states; rows within two quanta.
    momenta : of each mode, as ``coordinates``, the momentum conjugate to q divided by the imaginary unit, which is
        real and antisymmetric.
    """

    states: tuple[Quanta, ...]
    ends: tuple[int, int, int, int]
    coordinates: tuple[csr_array, ...]
    momenta: tuple[csr_array, ...]

    @classmethod
    def around(cls, chosen: Iterable[Quanta], n_modes: int) -> OscillatorStates:
        """States and their neighbors.

        Parameters
        ----------
        chosen : states, each once.
        n_modes : of all oscillators.

        Returns
        -------
        states within three quanta of the chosen ones
        """
        states = list(chosen)
        index = {state: k for k, state in enumerate(states)}
        ends = [len(states)]
        row: list[list[int]] = [[] for _ in range(n_modes)]
        column: list[list[int]] = [[] for _ in range(n_modes)]
        value: list[list[float]] = [[] for _ in range(n_modes)]

        def connect(k: int, mode: int, other: Quanta, size: float) -> None:
            if other not in index:
                index[other] = len(states)
                states.append(other)
            row[mode].append(k)
            column[mode].append(index[other])
            value[mode].append(size)

        start = 0
        for _ in range(3):
            for k in range(start, ends[-1]):
                state = states[k]
                for mode in range(n_modes):
                    quanta = state.count(mode)
                    connect(k, mode, raised(state, mode), np.sqrt(0.5 * (quanta + 1)))
                    if quanta:
                        connect(k, mode, lowered(state, mode), -np.sqrt(0.5 * quanta))
            start = ends[-1]
            ends.append(len(states))
        shape = (ends[2], ends[3])
        signed = [csr_array((value[m], (row[m], column[m])), shape=shape) for m in range(n_modes)]
        return cls(
            tuple(states), (ends[0], ends[1], ends[2], ends[3]),
            tuple(abs(one) for one in signed), tuple(-one for one in signed),
        )  # fmt: skip

    @property
    def chosen(self) -> tuple[Quanta, ...]:
        """States that were asked for."""
        return self.states[: self.ends[0]]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Modes of the products of two coordinates, each pair once."""
        return list(combinations_with_replacement(range(len(self.coordinates)), 2))

    def energies(self, quanta: Float64[np.ndarray, " n_modes"]) -> Float64[np.ndarray, " n_states"]:
        """Energies of all states above the lowest.

        Parameters
        ----------
        quanta : energy of one quantum of each mode.

        Returns
        -------
        (n_states,) in their unit
        """
        return np.array([sum(quanta[mode] for mode in state) for state in self.states], dtype=np.float64)

    def products(
        self, first: Sequence[csr_array], second: Sequence[csr_array], pairs: Sequence[tuple[int, int]]
    ) -> OperatorProducts:
        """Products of two operators, for each pair of modes.

        Parameters
        ----------
        first, second : ``coordinates`` or ``momenta``.
        pairs : modes of the first and of the second operator.

        Returns
        -------
        their elements between chosen states and those within two quanta
        """
        chosen, near, far, _ = self.ends
        left = [one[:chosen, :near] for one in first]
        right = [one[:near, :far] for one in second]
        flat = [(left[i] @ right[j]).tocoo() for i, j in pairs]
        places = np.concatenate(
            [np.empty(0, dtype=int), *(one.coords[0].astype(int) * far + one.coords[1] for one in flat)]
        )
        values = np.concatenate([np.empty(0), *(one.data for one in flat)])
        known, element = np.unique(places, return_inverse=True)
        pair = np.repeat(np.arange(len(flat)), [one.nnz for one in flat])
        elements = csr_array((values, (element, pair)), shape=(len(known), len(flat)))
        starts = np.searchsorted(known, far * np.arange(chosen + 1))
        return OperatorProducts(elements, known % far, starts, (chosen, far))


@dataclass(frozen=True)
class OperatorProducts:
    """Matrix elements of several operators, which are zero at the same places for the most part.

    Attributes
    ----------
    elements : (n_elements, n_operators) values at the places where any of them is not zero.
    columns : (n_elements,) columns of these places, row by row.
    starts : (n_rows + 1,) where the places of each row begin.
    shape : of the matrix of one operator.
    """

    elements: csr_array
    columns: np.ndarray
    starts: np.ndarray
    shape: tuple[int, int]

    def combined(self, sizes: Sequence[float] | np.ndarray) -> csr_array:
        """Sum of the operators.

        Parameters
        ----------
        sizes : factor of each.

        Returns
        -------
        matrix elements
        """
        values = self.elements @ np.asarray(sizes, dtype=np.float64)
        total = csr_array((values, self.columns, self.starts), shape=self.shape, copy=True)
        total.eliminate_zeros()  # in the arrays themselves
        return total


def raised(state: Quanta, *modes: int) -> Quanta:
    """The state with one more quantum of each mode."""
    quanta = list(state)
    for mode in modes:
        insort(quanta, mode)
    return tuple(quanta)


def lowered(state: Quanta, *modes: int) -> Quanta:
    """The state with one quantum less of each mode, each of which it has."""
    quanta = list(state)
    for mode in modes:
        quanta.remove(mode)
    return tuple(quanta)
