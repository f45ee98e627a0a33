"""Harmonic oscillators."""

from __future__ import annotations

import numpy as np
import pytest

from molcalc.analysis.oscillator_states import OscillatorStates, lowered, raised


def test_states_follow_by_the_quanta_that_lead_to_them() -> None:
    found = OscillatorStates.around([(), (0,), (1, 1)], 2)
    assert found.chosen == ((), (0,), (1, 1))
    distances = [min(sum(abs(s.count(m) - c.count(m)) for m in range(2)) for c in found.chosen) for s in found.states]
    assert [sum(d <= k for d in distances) for k in range(4)] == list(found.ends)
    assert distances == sorted(distances)
    assert found.energies(np.array([3.0, 5.0]))[:3].tolist() == [0.0, 3.0, 10.0]
    assert raised((1,), 0) == (0, 1)
    assert lowered((0, 1, 1), 1, 0) == (1,)


def test_coordinate_and_momentum_do_not_commute() -> None:
    found = OscillatorStates.around([(), (0, 1)], 2)
    n, near = found.ends[0], found.ends[1]
    for mode in range(2):
        q, p = found.coordinates[mode], found.momenta[mode]
        commutator = (q[:n, :near] @ p[:near, :n] - p[:n, :near] @ q[:near, :n]).toarray()
        assert commutator == pytest.approx(np.eye(n))  # [q, p] = i, and p is divided by i
        kinetic_and_potential = 0.5 * (q[:n, :near] @ q[:near, :n] - p[:n, :near] @ p[:near, :n]).toarray()
        quanta = [state.count(mode) for state in found.chosen]
        assert np.diag(kinetic_and_potential) == pytest.approx(np.array(quanta) + 0.5)


def test_sums_of_products_are_those_of_their_elements() -> None:
    found = OscillatorStates.around([(), (0,), (1, 1)], 2)
    n, near, far, _ = found.ends
    products = found.products(found.coordinates, found.coordinates, found.pairs)
    expected = sum(
        size * found.coordinates[i][:n, :near] @ found.coordinates[j][:near, :far]
        for size, (i, j) in zip((2.0, -1.0, 0.5), found.pairs)
    )
    assert products.combined([2.0, -1.0, 0.5]).toarray() == pytest.approx(expected.toarray())
