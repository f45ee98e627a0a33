"""Ideal-gas thermochemistry."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule

from molcalc.calculators.normal_modes import NormalModes
from molcalc.calculators.thermochemistry import rotational_symmetry, thermochemistry
from molcalc.errors import ConfigError, InputError


def modes_of(name: str, wavenumbers: list[float], kind: str) -> NormalModes:
    """Modes of known wavenumbers."""
    atoms = molecule(name)
    if name == "N2":
        atoms.set_distance(0, 1, 1.0977)  # as measured
    return NormalModes(atoms, np.array(wavenumbers), np.zeros((len(wavenumbers), len(atoms), 3)), None, kind)


def test_nitrogen_has_the_entropy_of_the_tables() -> None:
    found = thermochemistry(modes_of("N2", [2358.6], "linear"), energy=-1.0)
    # NIST-JANAF: S°(298.15 K, 1 bar) 191.61 J/mol/K and H° − H°(0 K) 8.670 kJ/mol.
    entropy = thermochemistry(modes_of("N2", [2358.6], "linear"), -1.0, pressure=1e5).entropy
    assert entropy * units.mol / units.J == pytest.approx(191.6, abs=0.2)
    assert found.zero_point_energy == pytest.approx(0.5 * 2358.6 * units.invcm)
    thermal = found.enthalpy - found.energy - found.zero_point_energy
    assert thermal * units.mol / units.kJ == pytest.approx(8.67, abs=0.01)
    assert found.gibbs_energy == pytest.approx(found.enthalpy - 298.15 * found.entropy)
    assert found.symmetry_number == 2


def test_symmetry_and_spin_change_the_entropy() -> None:
    water = modes_of("H2O", [1595.0, 3657.0, 3756.0], "nonlinear")
    plain = thermochemistry(water, 0.0, symmetry_number=1)
    assert plain.entropy - thermochemistry(water, 0.0).entropy == pytest.approx(units.kB * np.log(2))
    assert thermochemistry(water, 0.0, multiplicity=3, symmetry_number=1).entropy - plain.entropy == pytest.approx(
        units.kB * np.log(3)
    )


def test_soft_vibrations_may_be_raised() -> None:
    soft = modes_of("H2O", [10.0, 3657.0, 3756.0], "nonlinear")
    raised = thermochemistry(soft, 0.0, lowest=100.0)
    assert raised.entropy < thermochemistry(soft, 0.0).entropy
    assert raised.zero_point_energy == pytest.approx(0.5 * (100 + 3657 + 3756) * units.invcm)


def test_what_is_no_minimum_of_a_free_molecule_is_refused() -> None:
    with pytest.raises(InputError, match="500i cm⁻¹: this is no minimum"):
        thermochemistry(modes_of("H2O", [-500.0, 3657.0, 3756.0], "nonlinear"), 0.0)
    with pytest.raises(InputError, match="periodic"):
        thermochemistry(modes_of("H2O", [1595.0], "periodic"), 0.0)
    water = modes_of("H2O", [1595.0, 3657.0, 3756.0], "nonlinear")
    for wrong in ({"temperature": 1e-300}, {"temperature": 1e300}, {"pressure": 1e-320}, {"symmetry_number": 0}):
        with pytest.raises(ConfigError):
            thermochemistry(water, 0.0, **wrong)


@pytest.mark.parametrize(
    ("name", "number"),
    [("H2O", 2), ("CH4", 12), ("C6H6", 12), ("NH3", 3), ("CO2", 2), ("HCN", 1), ("CH3OH", 1), ("C2H4", 4), ("C2H6", 6),
     ("BF3", 6), ("cyclobutane", 4), ("C3H4_D2d", 4), ("H2O2", 2), ("isobutane", 3), ("C60", 60), ("H", 1)],
)  # fmt: skip
def test_rotations_of_a_molecule_are_counted_however_it_lies(name: str, number: int) -> None:
    atoms = molecule(name)
    atoms.rotate(77.0, (1, 2, 3))
    atoms.positions += [3.0, -1.0, 2.0]
    assert rotational_symmetry(atoms) == number


def test_isotopes_lower_the_symmetry() -> None:
    methane: Atoms = molecule("CH4")
    masses = methane.get_masses()
    masses[1] = 2.014
    methane.set_masses(masses)
    assert rotational_symmetry(methane) == 3
    benzene: Atoms = molecule("C6H6")  # two opposite ones leave the center where it is
    masses = benzene.get_masses()
    masses[[6, 9]] = 2.014
    benzene.set_masses(masses)
    assert benzene.get_distance(6, 9) > 4.9
    assert rotational_symmetry(benzene) == 4
