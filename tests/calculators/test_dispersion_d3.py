"""D3 as a calculator of its own."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_stress
from ase.calculators.mixing import SumCalculator
from ase.units import Bohr, Hartree
from dftd3.interface import DispersionModel, RationalDampingParam

from molcalc.calculators import D3
from molcalc.dispersion.parameters import D3Parameters
from molcalc.errors import ConfigError, UnsupportedElementError
from molcalc.testing import check_calculator
from molcalc.units import BOHR, HARTREE
from tests.helpers.structures import rattled


@pytest.mark.parametrize("backend", ["auto", "torch", "dftd3"])
@pytest.mark.parametrize("atm", [False, True])
def test_energy_and_forces_are_those_of_the_dftd3_package(backend: str, atm: bool) -> None:
    atoms = rattled("C6H6", seed=1)
    atoms.calc = D3("pbe0", backend=backend, atm=atm)
    model = DispersionModel(atoms.numbers, atoms.positions / Bohr)
    expected = model.get_dispersion(RationalDampingParam(method="pbe0", atm=atm), grad=True)
    assert abs(atoms.get_potential_energy() / Hartree - expected["energy"]) < 1e-9
    assert np.abs(atoms.get_forces() * Bohr / Hartree + expected["gradient"]).max() < 1e-9


@pytest.mark.parametrize("backend", ["torch", "dftd3"])
def test_stress_of_a_crystal_matches_finite_strain(backend: str) -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    atoms.positions[0] += [0.1, 0.05, -0.08]
    atoms.set_cell(atoms.cell.array + [[0, 0.1, 0], [0, 0, 0.2], [0.1, 0, 0]], scale_atoms=True)
    atoms.calc = D3("pbe", backend=backend)
    assert np.abs(calculate_numerical_stress(atoms, eps=1e-5) - atoms.get_stress()).max() < 1e-7


@pytest.mark.parametrize("backend", ["torch", "dftd3"])
def test_cutoffs_are_those_of_the_dftd3_package(backend: str) -> None:
    """In Å here, in Bohr there; every one of the three matters."""
    atoms = bulk("C", "diamond", a=3.57)
    lengths = {"cutoff": 22.0, "cn_cutoff": 4.0, "atm_cutoff": 13.0}
    calc = D3("pbe0", atm=True, backend=backend, **{name: x * BOHR for name, x in lengths.items()})
    model = DispersionModel(atoms.numbers, atoms.positions / BOHR, atoms.cell.array / BOHR, atoms.pbc)
    model.set_realspace_cutoff(disp2=22.0, cn=4.0, disp3=13.0)
    expected = float(model.get_dispersion(RationalDampingParam(method="pbe0", atm=True), grad=False)["energy"])
    assert calc.get_potential_energy(atoms) / HARTREE == pytest.approx(expected, abs=1e-11)
    for name in lengths:
        longer = {**lengths, name: lengths[name] + 8.0}
        other = D3("pbe0", atm=True, backend=backend, **{key: x * BOHR for key, x in longer.items()})
        assert abs(other.get_potential_energy(atoms) / HARTREE - expected) > 1e-10, name


def test_added_to_another_calculator() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.calc = SumCalculator([EMT(), D3("pbe")])
    total = atoms.get_potential_energy()
    parts = [EMT().get_potential_energy(atoms), D3("pbe").get_potential_energy(atoms)]
    assert total == pytest.approx(sum(parts), abs=1e-10)
    assert np.allclose(atoms.get_stress(), EMT().get_stress(atoms) + D3("pbe").get_stress(atoms))


def test_single_atom_has_no_dispersion() -> None:
    atoms = Atoms("Xe", calculator=D3("pbe0"))
    assert atoms.get_potential_energy() == 0.0
    assert not atoms.get_forces().any()


def test_parameters_may_be_given() -> None:
    named = D3("wb97m").get_potential_energy(molecule("C2H6"))
    given = D3(parameters=D3Parameters(s6=1.0, s8=0.3908, a1=0.566, a2=3.128)).get_potential_energy(molecule("C2H6"))
    assert named == given


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either"),
        ({"functional": "pbe0", "parameters": D3Parameters(s6=1.0, s8=1.0, a1=0.4, a2=4.0)}, "either"),
        ({"functional": "pbbe0"}, "pbe0"),
        ({"functional": "pbe0", "backend": "fortran"}, "fortran"),
        ({"functional": "pbe0", "cutoff": 0.0}, "cutoff=0.0"),
        ({"functional": "pbe0", "cn_cutoff": "20"}, "cn_cutoff='20' Å must be a positive number"),
        ({"functional": "pbe0", "switch_width": "2"}, "switch_width='2'"),
        ({"functional": "pbe0", "atm": True, "atm_cutoff": -1.0}, "atm_cutoff=-1.0"),
        ({"functional": "pbe0", "atm_cutoff": 8.0}, "without three-body term: add atm=True"),
        ({"parameters": D3Parameters(s6=1.0, s8=1.0, a1=0.4, a2=4.0), "atm": True}, "s9=0"),
    ],
    ids=str,
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        D3(**options)  # type: ignore[arg-type]


def test_element_without_reference_data_is_refused() -> None:
    with pytest.raises(UnsupportedElementError, match=r"Am \(Z=95\)"):
        D3("pbe").get_potential_energy(Atoms("Am"))


def test_public_kit_finds_nothing_wrong() -> None:
    smooth = {"cutoff": 12.0, "cn_cutoff": 10.0, "switch_width": 2.0}
    report = check_calculator(lambda: D3("pbe0", **smooth), quiet=True, memory_steps=200)
    assert report.ok, report.failures
