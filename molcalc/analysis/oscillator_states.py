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
    ) -> csr_array:
        """Products of two operators, one row for each pair of modes.

        Parameters
        ----------
        first, second : ``coordinates`` or ``momenta``.
        pairs : modes of the first and of the second operator.

        Returns
        -------
        (n_pairs, ends[0] · ends[2]) matrix elements between chosen states and those within two quanta, row by row
        """
        chosen, near, far, _ = self.ends
        left = [one[:chosen, :near] for one in first]
        right = [one[:near, :far] for one in second]
        if not pairs:
            return csr_array((0, chosen * far))
        flat = [(left[i] @ right[j]).reshape((1, chosen * far)).tocoo() for i, j in pairs]
        rows = np.repeat(np.arange(len(flat)), [one.nnz for one in flat])
        columns = np.concatenate([one.coords[1] for one in flat])
        values = np.concatenate([one.data for one in flat])
        return csr_array((values, (rows, columns)), shape=(len(pairs), chosen * far))

    def combined(self, products: csr_array, sizes: Sequence[float]) -> csr_array:
        """Sum of products of operators.

        Parameters
        ----------
        products : as :meth:`products` gives them.
        sizes : factor of each.

        Returns
        -------
        (ends[0], ends[2]) matrix elements
        """
        total = csr_array(np.array([sizes], dtype=np.float64)) @ products
        return total.reshape((self.ends[0], self.ends[2])).tocsr()


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
