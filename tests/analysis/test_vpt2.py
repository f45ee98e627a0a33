"""Vibrational perturbation theory of second order against exact solutions and its textbook formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from molcalc.analysis.quartic_field import QuarticField
from molcalc.analysis.vpt2 import Level, perturbed_vibrations
from tests.helpers.anharmonic_fields import exact_levels, random_field

ORDER = 8.0
"""Factor by which errors of fourth order fall, at least, where perturbations fall to a half: 16 in the limit."""


def nearest(level: Level, energies: np.ndarray) -> int:
    """The exact state of a level."""
    return int(np.abs(energies - energies[0] - level.wavenumber).argmin())


@pytest.mark.parametrize(
    "wavenumbers", [[1000.0, 1430.0, 3011.0], [1000.0, 1000.0, 2711.0]], ids=["distant", "degenerate"]
)
def test_energies_and_intensities_are_right_to_their_order(wavenumbers: list[float]) -> None:
    energy_errors, strong, weak = [], [], []
    for scale in (0.4, 0.2):
        field = random_field(wavenumbers, scale)
        found, (energies, intensities) = perturbed_vibrations(field), exact_levels(field)
        levels = [found.level(*state) for state in ((0,), (1,), (2,), (0, 0), (0, 1), (1, 1))]
        states = [nearest(one, energies) for one in levels]
        missed = [one.wavenumber - (energies[k] - energies[0]) for one, k in zip(levels, states)]
        energy_errors.append(np.abs([found.zero_point - energies[0], *missed]).max())
        # How neighbors share what they have is right to second order, as how they mix; together they have it to fourth.
        shares = [(sum(levels[k].intensity for k in group), intensities[[states[k] for k in group]].sum())
                  for group in ((0, 1), (2,), (3, 4, 5))]  # fmt: skip
        *fundamental, overtone = [abs(one / exact - 1) for one, exact in shares]
        strong.append(max(fundamental))
        weak.append(overtone)
    assert energy_errors[1] < energy_errors[0] / ORDER
    assert energy_errors[1] < 0.02
    assert strong[1] < strong[0] / ORDER
    assert weak[1] < weak[0] / 3  # the first order of overtones is followed by the third
    assert weak[1] < 0.02


def test_a_fermi_resonance_is_found_and_diagonalized() -> None:
    field = random_field([1000.0, 2005.0], 0.3, seed=1)
    found, (energies, intensities) = perturbed_vibrations(field), exact_levels(field, 16)
    (resonance,) = found.resonances
    assert (resonance.upper, resonance.lower, resonance.gap) == (1, (0, 0), pytest.approx(-5.0))
    assert resonance.constant == field.cubic[1, 0, 0]
    for state in ((1,), (0, 0), (0, 1), (1, 1)):  # the last two mix with states of three and four quanta
        level = found.level(*state)
        assert level.weight < 0.99
        exact = nearest(level, energies)
        assert level.wavenumber == pytest.approx(energies[exact] - energies[0], abs=0.5)
        if len(state) == 1 or state == (0, 0):
            assert level.intensity == pytest.approx(intensities[exact], rel=0.02)
    assert found.level(1).unmixed != pytest.approx(found.level(1).wavenumber, abs=3.0)


def textbook_constants(field: QuarticField) -> np.ndarray:
    """Anharmonic constants of an asymmetric top; Mills (1972), Barone (2005), eqs. 8 and 9."""
    omega, phi, n = field.wavenumbers, field.cubic, len(field.wavenumbers)
    found = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            if i == j:
                sums = [
                    phi[i, i, k] ** 2 * (8 * omega[i] ** 2 - 3 * omega[k] ** 2)
                    / (omega[k] * (4 * omega[i] ** 2 - omega[k] ** 2)) for k in range(n)
                ]  # fmt: skip
                found[i, i] = (field.quartic[i, i, i, i] - sum(sums)) / 16
                continue
            total = field.quartic[i, i, j, j]
            for k in range(n):
                total -= phi[i, i, k] * phi[j, j, k] / omega[k]
                product = (
                    (omega[i] + omega[j] + omega[k]) * (omega[i] + omega[j] - omega[k])
                    * (omega[i] - omega[j] + omega[k]) * (omega[i] - omega[j] - omega[k])
                )  # fmt: skip
                total += 2 * phi[i, j, k] ** 2 * omega[k] * (omega[i] ** 2 + omega[j] ** 2 - omega[k] ** 2) / product
            turning = (field.rotational * field.coriolis[:, i, j] ** 2).sum()
            found[i, j] = total / 4 + turning * (omega[i] / omega[j] + omega[j] / omega[i])
    return found


def test_constants_are_those_of_the_textbook() -> None:
    field = random_field([1000.0, 1430.0, 3011.0], 0.5)
    found = perturbed_vibrations(field)
    assert not found.resonances
    assert found.constants == pytest.approx(textbook_constants(field), rel=1e-9)


def test_a_molecule_that_is_not_linear_has_the_term_of_watson() -> None:
    field = random_field([1000.0, 1430.0, 3011.0], 0.5)
    bent = perturbed_vibrations(replace(field, linear=False))
    assert bent.zero_point == pytest.approx(perturbed_vibrations(field).zero_point - field.rotational.sum() / 4)


def test_without_a_dipole_there_are_energies_alone() -> None:
    field = random_field([1000.0, 1430.0], 0.5)
    found, dark = perturbed_vibrations(field), perturbed_vibrations(replace(field, dipole=None))
    assert dark.level(1).intensity is None
    assert dark.level(1).wavenumber == found.level(1).wavenumber
    assert found.lines.shape == (5, 2)
