"""Weights of conformers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase.units import kB

from molcalc.conformers.ranked import boltzmann_weights


def test_weights_are_those_of_a_hand_computation() -> None:
    """Butane: one anti, two gauche 0.9 kcal/mol above it, at 298.15 K, where kT is 0.5925 kcal/mol."""
    share = math.exp(-0.9 / 0.5925)
    gauche = 0.9 * 0.0433641
    found = boltzmann_weights([-4314.4, -4314.4 + gauche, -4314.4 + gauche], [1, 1, 1], 298.15)
    assert found == pytest.approx(np.array([1.0, share, share]) / (1 + 2 * share), abs=1e-4)
    merged = boltzmann_weights([-4314.4, -4314.4 + gauche], [1, 2], 298.15)
    assert merged == pytest.approx([found[0], 2 * found[1]], abs=1e-12)


def test_weights_add_up_to_one_however_large_energies_are() -> None:
    for temperature in (1.0, 300.0, 1e6):
        found = boltzmann_weights([-1e6, -1e6 + kB * 300.0, 5e5], [1, 2, 1], temperature)
        assert found.sum() == pytest.approx(1.0, abs=1e-12)
        assert np.isfinite(found).all()
    assert boltzmann_weights([3.0], [1], 10.0) == pytest.approx([1.0])
