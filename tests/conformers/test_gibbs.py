"""Gibbs energies of conformers: what soft and imaginary vibrations count."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import invcm, kB

from molcalc.conformers.gibbs import LOWEST, SaddlePointError, thermochemistry_of

CONDITIONS = {"multiplicity": 1, "temperature": 298.15, "pressure": 1e5}
HYDROGEN = 575.1 / 16.02177
"""eV/Å², force constant of H2: 4401 cm⁻¹ (Huber, Herzberg 1979)."""


def hydrogen(share: float) -> tuple[Atoms, Any]:
    """H2 with its energy, and what knows a share of its second derivatives."""
    atoms = molecule("H2")
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    axis = (atoms.positions[1] - atoms.positions[0]) / atoms.get_distance(0, 1)
    block = share * HYDROGEN * np.outer(axis, axis)
    hessian = np.array([[block, -block], [-block, block]]).transpose(0, 2, 1, 3)
    return atoms, SimpleNamespace(get_hessian=lambda structure: hessian)


def test_energy_vibration_and_symmetry_are_those_of_the_structure() -> None:
    found = thermochemistry_of(*hydrogen(1.0), **CONDITIONS)
    assert found.zero_point_energy == pytest.approx(0.5 * 4401 * invcm, abs=1e-4)
    assert found.symmetry_number == 2
    # 130.68 J/(mol·K) at 298.15 K and 1 bar (CODATA); the rotor is quantized, which costs 1 J/(mol·K).
    assert found.entropy / 0.01036427e-3 == pytest.approx(130.68, abs=1.5)
    assert found.gibbs_energy == pytest.approx(
        -1.0 + found.zero_point_energy + 3.5 * kB * 298.15 - 298.15 * found.entropy, abs=1e-5
    )


def test_an_imaginary_vibration_is_no_minimum_and_a_tiny_one_counts_as_soft() -> None:
    with pytest.raises(SaddlePointError, match=r"a vibration of 4401i cm⁻¹: this is no minimum"):
        thermochemistry_of(*hydrogen(-1.0), **CONDITIONS)
    for share in (-1e-4, 1e-5):  # 44i and 14 cm⁻¹
        found = thermochemistry_of(*hydrogen(share), **CONDITIONS)
        assert found.zero_point_energy == pytest.approx(0.5 * LOWEST * invcm, abs=1e-9)
