r"""Contact transformation of anharmonic vibrations: what couples distant states is removed, resonances stay.

The Hamiltonian of Watson without rotation is harmonic, plus cubic terms (first order), plus quartic terms and
:math:`\sum_α B_α π_α^2` (second order) of the vibrational angular momenta
:math:`π_α = \sum_{ij} ζ^α_{ij} \sqrt{ω_j/ω_i} q_i p_j`. A transformation :math:`e^{-G} H e^G`, :math:`G = G_1 + G_2`,
removes couplings of distant states in first and second order; sums over intermediate states are taken numerically, over
all that cubic terms lead to. Energies are wavenumbers in cm⁻¹. What is not removed, but diagonalized:

- cubic terms of a Fermi resonance, :math:`ω_i ≈ ω_j + ω_k`: where Δ, the difference of the frequencies, is at most
  :data:`FERMI`, and perturbation theory would miss the energies of the two-state problem by more than :data:`MARTIN`,
  which is :math:`φ_{ijk}^4 / 64 Δ^3`, for j = k :math:`φ_{ijj}^4 / 256 Δ^3`;
- effective couplings of second order (Darling-Dennison, splitting of degenerate states) that are at least
  :data:`MIXING` times as large as the distance of two states.

References
----------
V. Barone, J. Chem. Phys. 122, 014108 (2005), doi:10.1063/1.1824881.
J. Bloino, V. Barone, J. Chem. Phys. 136, 124108 (2012), doi:10.1063/1.3695210.
J. M. L. Martin, T. J. Lee, P. R. Taylor, J.-P. François, J. Chem. Phys. 103, 2589 (1995), doi:10.1063/1.469681: the
criterion for resonances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import Float64
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from molcalc.analysis.oscillator_states import OscillatorStates, Quanta, lowered, raised
from molcalc.analysis.quartic_field import DEGENERATE, DipoleSeries, QuarticField

MARTIN = 1.0
"""cm⁻¹ that perturbation theory may miss."""
FERMI = 200.0
"""cm⁻¹ between modes in resonance at most."""
MIXING = 0.1
"""Ratio of coupling and distance from which states are diagonalized."""
WEAKEST_COUPLING = 0.02
"""cm⁻¹ of a coupling; weaker ones are what numbers leave of a symmetry."""


@dataclass(frozen=True)
class FermiResonance:
    """A mode with the frequency of an overtone or combination, and the cubic constant that couples them.

    Attributes
    ----------
    upper : mode i.
    lower : modes j and k, which may be one.
    constant : φ_ijk, cm⁻¹.
    gap : ω_j + ω_k − ω_i, cm⁻¹.
    """

    upper: int
    lower: tuple[int, int]
    constant: float
    gap: float

    @property
    def is_strong(self) -> bool:
        """Whether perturbation theory would miss the energies of the two states."""
        j, k = self.lower
        return self.constant**4 / (256.0 if j == k else 64.0) > MARTIN * abs(self.gap) ** 3


def fermi_resonances(field: QuarticField) -> list[FermiResonance]:
    """Resonances of one with two quanta, by the criterion of Martin.

    Returns
    -------
    resonances, the strongest mixing first
    """
    omega = field.wavenumbers
    near = [
        FermiResonance(i, (j, k), float(field.cubic[i, j, k]), float(omega[j] + omega[k] - omega[i]))
        for j, k in combinations_with_replacement(range(len(omega)), 2)
        for i in range(len(omega))
        if i not in (j, k) and abs(omega[j] + omega[k] - omega[i]) <= FERMI
    ]
    strong = np.array([omega[[each.upper, *each.lower]] for each in near if each.is_strong]).reshape(-1, 3)
    # Partners that symmetry makes equal are in resonance together: the criterion alone could tell them apart.
    found = [
        each
        for each in near
        if abs(each.constant) > WEAKEST_COUPLING
        and (np.abs(strong - omega[[each.upper, *each.lower]]) < DEGENERATE).all(axis=1).any()
    ]
    return sorted(found, key=lambda one: abs(one.gap / one.constant))


def with_partners(states: list[Quanta], resonances: list[FermiResonance]) -> list[Quanta]:
    """States with all that Fermi resonances couple them to."""
    found = dict.fromkeys(states)
    waiting = list(states)
    while waiting:
        state = waiting.pop()
        for one in (partner for each in resonances for partner in _partners(state, each)):
            if one not in found:
                found[one] = None
                waiting.append(one)
    return list(found)


def _partners(state: Quanta, resonance: FermiResonance) -> list[Quanta]:
    """States that the cubic term of a resonance leads to by its resonant part."""
    i, (j, k) = resonance.upper, resonance.lower
    found = []
    if i in state:
        found.append(raised(lowered(state, i), j, k))
    if state.count(j) >= 1 + (j == k) and k in state:
        found.append(raised(lowered(state, j, k), i))
    return found


class ContactTransformation:
    """Transformation of the Hamiltonian of some states, and the effective Hamiltonian that it leaves.

    Rows of matrices are the chosen states; columns are those as well, or all states that are near.

    Parameters
    ----------
    field : force field.
    around : the chosen states, closed under the resonances, and what is near.
    resonances : whose cubic terms are not removed.

    Attributes
    ----------
    unmixed : (n_chosen,) cm⁻¹ above the harmonic zero point, before resonances are diagonalized.
    """

    def __init__(self, field: QuarticField, around: OscillatorStates, resonances: Sequence[FermiResonance]) -> None:
        self._around, self._n = around, len(around.chosen)
        self._squares = around.products(around.coordinates, around.coordinates, around.pairs)
        energies = around.energies(field.wavenumbers)
        cubic = self._cubic_terms(field)
        self._fermi = self._resonant_part(cubic, resonances)
        removed = cubic - self._fermi
        removed.eliminate_zeros()
        row, column = removed.tocoo().coords
        self._first = csr_array((removed.data / (energies[column] - energies[row]), (row, column)), shape=cubic.shape)
        twice = (removed @ self._first.T).toarray()
        second = self._second_order_terms(field) - 0.5 * (twice + twice.T)
        self.unmixed = energies[: self._n] + second.diagonal()
        steps = _steps(energies[: self._n])
        near = np.abs(second) >= MIXING * np.minimum(np.abs(steps), np.abs(_steps(self.unmixed)))
        np.fill_diagonal(near, True)
        self._kept = np.where(near & (np.abs(second) > WEAKEST_COUPLING), second, 0.0)
        crossed = (self._fermi @ self._first.T).toarray()
        self._second = np.where(near, 0.0, second - crossed - crossed.T) / np.where(near, 1.0, steps)

    def _cubic_terms(self, field: QuarticField) -> csr_array:
        """(n, all) elements of the cubic terms between chosen states and those within three quanta."""
        total = csr_array((self._n, len(self._around.states)))
        for constants, coordinate in zip(field.cubic, self._around.coordinates):
            sizes = [(1.0 if i == j else 2.0) * constants[i, j] / 6.0 for i, j in self._around.pairs]
            total = total + self._squares.combined(sizes) @ coordinate
        return total

    def _resonant_part(self, cubic: csr_array, resonances: Sequence[FermiResonance]) -> csr_array:
        """Elements of the cubic terms that are left to be diagonalized."""
        index = {state: k for k, state in enumerate(self._around.chosen)}
        places = {
            (k, index[partner])
            for k, state in enumerate(self._around.chosen)
            for resonance in resonances
            for partner in _partners(state, resonance)
        }
        rows, columns = np.array(sorted(places), dtype=int).reshape(-1, 2).T
        return csr_array((np.ones(len(rows)), (rows, columns)), shape=cubic.shape).multiply(cubic).tocsr()

    def _second_order_terms(self, field: QuarticField) -> Float64[np.ndarray, "n n"]:
        """(n, n) elements of quartic and Coriolis terms."""
        around, total = self._around, np.zeros((self._n, self._n))
        first, second = np.array(around.pairs).T
        weights = np.where(first == second, 1.0, 2.0)
        for k, (i, j) in enumerate(around.pairs):
            sizes = weights[k] * weights * field.quartic[i, j, first, second] / 24.0
            square = self._squares.combined(np.arange(len(weights)) == k)
            total += (self._squares.combined(sizes) @ square.T).toarray()
        roots = np.sqrt(field.wavenumbers)
        ordered = [(i, j) for i in range(len(roots)) for j in range(len(roots)) if i != j]
        turning = around.products(around.coordinates, around.momenta, ordered)
        for zeta, constant in zip(field.coriolis, field.rotational):
            momentum = turning.combined([zeta[i, j] * roots[j] / roots[i] for i, j in ordered])
            total += constant * (momentum @ momentum.T).toarray()
        return total

    def diagonalized(self) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, "n n"]]:
        """Energies of the mixed states, and columns of coefficients, each at the place of the state it has most of.

        Returns
        -------
        energies : (n_chosen,) cm⁻¹ above the harmonic zero point.
        mixtures : (n_chosen, n_chosen).
        """
        coupled = self._kept + self._fermi[:, : self._n].toarray()
        coupled[np.diag_indices(self._n)] = self.unmixed
        n_groups, group = connected_components(csr_array(coupled), directed=False)
        energies, mixtures = np.empty(self._n), np.zeros((self._n, self._n))
        for k in range(n_groups):
            members = np.flatnonzero(group == k)
            values, vectors = np.linalg.eigh(coupled[np.ix_(members, members)])
            places, order = linear_sum_assignment(-(vectors**2))
            energies[members[places]] = values[order]
            mixtures[np.ix_(members, members[places])] = vectors[:, order]
        return energies, mixtures

    def dipoles(self, dipole: DipoleSeries) -> Float64[np.ndarray, "3 n"]:
        """Transition dipoles of the ground state to states before they mix.

        Returns
        -------
        (3, n_chosen) e·Å: of fundamentals in zeroth and second order, of overtones and combinations of two modes in
        first; those of three quanta, which begin in second order, are zero
        """
        series = zip(dipole.first, dipole.second, dipole.third)
        return np.array([self._dipole(*component) for component in series])

    def _dipole(self, first: np.ndarray, second: np.ndarray, third: np.ndarray) -> Float64[np.ndarray, " n"]:
        r"""(n,) of one component.

        With the dipole in parts M of zeroth to second order, :math:`M_1 + M_2 + [M_1, G_1]`, and of fundamentals
        :math:`M_3 + [M_2, G_1] + [M_1, G_2] + \frac12 [[M_1, G_1], G_1]` too.
        """
        n, far = self._n, self._around.ends[2]
        step, change = self._first[:, :far], self._first[:, :n].toarray()
        ground = step[[0]]
        m1 = sum(value * one[:, :far] for value, one in zip(first, self._around.coordinates))
        m2 = self._squares.combined([(0.5 if i == j else 1.0) * second[i, j] for i, j in self._around.pairs])
        linear, square = m1[:n, :n].toarray(), m2[[0], :n].toarray()[0]
        found = linear[0] + square + linear[0] @ change - (ground @ m1[:n].T).toarray()[0]
        twice = -(step @ step.T).toarray()
        higher = square @ change - (ground @ m2.T).toarray()[0]
        higher += linear[0] @ self._second - self._second[0] @ linear
        higher += 0.5 * (linear[0] @ twice + twice[0] @ linear) + (ground @ m1 @ step.T).toarray()[0]
        fundamental = np.array([len(state) == 1 for state in self._around.chosen])
        found[fundamental] += higher[fundamental] + third.sum(axis=1) / np.sqrt(32.0)
        return found


def _steps(energies: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n n"]:
    """(n, n) from the energy of a row to that of a column."""
    return energies[None, :] - energies[:, None]
