"""What is left to be diagonalized, and what is removed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from molcalc.analysis.contact_transformation import fermi_resonances, with_partners
from molcalc.analysis.quartic_field import QuarticField
from tests.helpers.anharmonic_fields import random_field


def coupled(wavenumbers: list[float], constants: dict[tuple[int, int, int], float]) -> QuarticField:
    """Field with some cubic constants."""
    n = len(wavenumbers)
    cubic = np.zeros((n, n, n))
    for (i, j, k), value in constants.items():
        for place in ((i, j, k), (i, k, j), (j, i, k), (j, k, i), (k, i, j), (k, j, i)):
            cubic[place] = value
    return replace(random_field([1000.0] * n, 0.0), wavenumbers=np.array(wavenumbers), cubic=cubic)


@pytest.mark.parametrize(("constant", "found"), [(99.0, 0), (102.0, 1)])
def test_an_overtone_is_in_resonance_when_two_states_would_be_missed_by_one_wavenumber(
    constant: float, found: int
) -> None:
    """φ⁴/256Δ³ = 1 cm⁻¹ at 100.8 cm⁻¹ for Δ = 74 cm⁻¹."""
    gap = (100.8**4 / 256) ** (1 / 3)
    assert len(fermi_resonances(coupled([1000.0, 2000.0 - gap], {(1, 0, 0): constant}))) == found


@pytest.mark.parametrize(("constant", "found"), [(99.0, 0), (102.0, 1)])
def test_a_combination_has_a_limit_of_its_own(constant: float, found: int) -> None:
    gap = (100.8**4 / 64) ** (1 / 3)
    resonances = fermi_resonances(coupled([1000.0, 1500.0, 2500.0 + gap], {(2, 0, 1): constant}))
    assert [(one.upper, one.lower) for one in resonances] == [(2, (0, 1))] * found


def test_distant_modes_are_in_no_resonance_however_coupled() -> None:
    assert not fermi_resonances(coupled([1000.0, 1790.0], {(1, 0, 0): 900.0}))


def test_degenerate_modes_are_in_resonance_together() -> None:
    """The criterion alone would take one and leave the other."""
    field = coupled([700.0, 700.0, 1374.0], {(2, 0, 0): 60.0, (2, 1, 1): 39.0})
    assert {one.lower for one in fermi_resonances(field)} == {(0, 0), (1, 1)}


def test_states_of_a_polyad_are_found_with_each_other() -> None:
    (resonance,) = fermi_resonances(coupled([1000.0, 2000.0], {(1, 0, 0): 100.0}))
    assert set(with_partners([(1, 1)], [resonance])) == {(1, 1), (0, 0, 1), (0, 0, 0, 0)}
    assert with_partners([(0,)], [resonance]) == [(0,)]
