"""D4 as a calculator of its own, and inside AIMNet2."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.mixing import SumCalculator

from molcalc.calculators import D4, AIMNet2
from molcalc.dispersion.parameters import D4Parameters, d4_parameters
from molcalc.errors import CellError, ChargeError, ConfigError, UnsupportedElementError
from molcalc.io.checkpoint import Checkpoint
from molcalc.testing import check_calculator
from molcalc.units import BOHR, HARTREE
from tests.helpers.networks import tiny_checkpoint
from tests.helpers.structures import rattled

interface = pytest.importorskip("dftd4.interface")


@pytest.mark.parametrize("atm", [False, True])
def test_energy_and_forces_are_those_of_the_dftd4_package(atm: bool) -> None:
    atoms = rattled("CH3CONH2", seed=1)
    atoms.calc = D4("pbe0", atm=atm)
    model = interface.DispersionModel(atoms.numbers, atoms.positions / BOHR)
    expected = model.get_dispersion(interface.DampingParam(method="pbe0", atm=atm), grad=True)
    assert abs(atoms.get_potential_energy() / HARTREE - expected["energy"]) < 1e-12
    assert np.abs(atoms.get_forces() * BOHR / HARTREE + expected["gradient"]).max() < 1e-12


@pytest.mark.parametrize("charge", [-1, 0, 1])
def test_forces_of_ions_match_finite_differences(charge: int) -> None:
    atoms = rattled("CH3OH", seed=1)
    atoms.info["charge"] = charge
    atoms.calc = D4("b3lyp")
    error = np.abs(calculate_numerical_forces(atoms, eps=1e-4) - atoms.get_forces()).max()
    assert error < 1e-6 * np.abs(atoms.get_forces()).max()


def test_the_charge_comes_from_the_structure_or_the_argument_and_is_never_remembered() -> None:
    atoms = molecule("NH3")
    atoms.calc = D4("pbe0")
    neutral = atoms.get_potential_energy()
    atoms.info["charge"] = 1
    cation = atoms.get_potential_energy()
    assert cation > neutral
    assert D4("pbe0", charge=1).get_potential_energy(molecule("NH3")) == cation
    del atoms.info["charge"]
    assert atoms.get_potential_energy() == neutral
    with pytest.raises(ChargeError):
        D4("pbe0", charge=1).get_potential_energy(Atoms("H", info={"charge": 0}))


def test_stress_of_a_crystal_matches_finite_strain() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    atoms.positions[0] += [0.1, 0.05, -0.08]
    atoms.set_cell(atoms.cell.array + [[0, 0.1, 0], [0, 0, 0.2], [0.1, 0, 0]], scale_atoms=True)
    atoms.calc = D4("pbe", cutoff=15.0, atm_cutoff=8.0, switch_width=2.0)
    assert np.abs(calculate_numerical_stress(atoms, eps=1e-4) - atoms.get_stress()).max() < 1e-8


def test_added_to_another_calculator() -> None:
    atoms, options = bulk("Cu", cubic=True), {"cutoff": 15.0, "atm_cutoff": 8.0}
    atoms.calc = SumCalculator([EMT(), D4("pbe", **options)])  # type: ignore[arg-type]
    parts = [EMT(), D4("pbe", **options)]  # type: ignore[arg-type]
    assert atoms.get_potential_energy() == pytest.approx(sum(p.get_potential_energy(atoms) for p in parts), abs=1e-10)
    assert np.allclose(atoms.get_stress(), sum(p.get_stress(atoms) for p in parts))


def test_parameters_may_be_given() -> None:
    given = D4(parameters=d4_parameters("wb97m")).get_potential_energy(molecule("C2H6"))
    assert given == D4("wb97m").get_potential_energy(molecule("C2H6"))


def test_many_structures_at_once_equal_one_after_another() -> None:
    images = [rattled("CH3OH", seed=1), molecule("OH"), molecule("H")]
    images[1].info["charge"] = -1
    calc = D4("pbe0")
    for image, result in zip(images, calc.evaluate(images)):
        assert result["energy"] == pytest.approx(calc.get_potential_energy(image), abs=1e-13)
        assert np.allclose(result["forces"], calc.get_forces(image), atol=1e-13)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either"),
        ({"functional": "pbe0", "parameters": D4Parameters(1.0, 1.0, 0.4, 4.0)}, "either"),
        ({"functional": "pbbe0"}, "near matches: pbe0"),
        ({"functional": "pbe0", "atm_cutoff": -1.0}, "atm_cutoff=-1.0"),
        ({"functional": "pbe0", "cutoff": "20"}, "cutoff='20'"),
        ({"parameters": D4Parameters(1.0, 1.0, 0.4, 4.0), "atm": False}, "s9=0"),
    ],
    ids=str,
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        D4(**options)  # type: ignore[arg-type]


def test_element_without_data_and_slabs_are_refused() -> None:
    with pytest.raises(UnsupportedElementError, match=r"Rf \(Z=104\)"):
        D4("pbe").get_potential_energy(Atoms("Rf"))
    slab = bulk("NaCl", "rocksalt", 5.64, cubic=True)
    slab.pbc = [True, True, False]
    with pytest.raises(CellError, match="three periodic directions"):
        D4("pbe").get_potential_energy(slab)


def test_public_kit_finds_nothing_wrong() -> None:
    smooth = {"cutoff": 12.0, "atm_cutoff": 8.0, "switch_width": 2.0}
    report = check_calculator(lambda: D4("pbe0", **smooth), quiet=True, memory_steps=100)  # type: ignore[arg-type]
    assert report.ok, report.failures


# Inside a model


def declaring(**changes: object) -> Checkpoint:
    checkpoint = tiny_checkpoint()
    fidelity = replace(checkpoint.config.fidelities[0], **changes)  # type: ignore[arg-type]
    return Checkpoint(replace(checkpoint.config, fidelities=(fidelity,)), checkpoint.weights)


@pytest.mark.parametrize(("name", "charge"), [("CH3OH", 0), ("OH", -1)])
def test_a_model_that_declares_d4_adds_exactly_d4(name: str, charge: int) -> None:
    atoms = rattled(name, seed=1)
    atoms.info["charge"] = charge
    whole = AIMNet2(declaring(dispersion="d4:pbe0"), dtype="float64")
    bare = AIMNet2(declaring(dispersion="d4:pbe0"), dtype="float64", dispersion=None)
    chosen = AIMNet2(declaring(dispersion="d3bj:pbe0"), dtype="float64", dispersion="d4:pbe0")
    expected = D4("pbe0").get_potential_energy(atoms)
    assert whole.get_potential_energy(atoms) - bare.get_potential_energy(atoms) == pytest.approx(expected, abs=1e-10)
    assert np.allclose(whole.get_forces(atoms) - bare.get_forces(atoms), D4("pbe0").get_forces(atoms), atol=1e-10)
    assert chosen.get_potential_energy(atoms) == whole.get_potential_energy(atoms)
    assert whole.todict()["dispersion"] == "d4:pbe0"


def test_hessian_of_a_model_with_d4_matches_finite_differences() -> None:
    atoms = rattled("H2O", seed=1)
    calc = AIMNet2(declaring(dispersion="d4:pbe0"), dtype="float64")
    matrix = calc.get_hessian(atoms)
    sides = []
    for step in (1e-4, -1e-4):
        moved = atoms.copy()
        moved.positions[1, 2] += step
        sides.append(calc.get_forces(moved))
    assert np.allclose(matrix[1, 2], -(sides[0] - sides[1]) / 2e-4, atol=1e-5)


def test_d4_is_not_added_to_labels_that_contain_dispersion() -> None:
    with pytest.raises(ConfigError, match="count it twice"):
        AIMNet2(declaring(dispersion_in_labels=True), dispersion="d4:pbe0")


def test_legacy_arithmetic_with_d4_is_refused() -> None:
    with pytest.raises(ConfigError, match="legacy=True reproduces models with D3"):
        AIMNet2(tiny_checkpoint(), dispersion="d4:pbe0", legacy=True)
