"""What engines get of a structure, and what is refused before they start."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_stress
from ase.constraints import FixAtoms

from molcalc.calculators.base import MolCalculator
from molcalc.engines.engine_structure import EngineStructure, engine_package
from molcalc.errors import AtomsTooCloseError, CellError, InputError, MissingPackageError, UnsupportedElementError
from molcalc.io.checkpoint import Checkpoint
from tests.helpers.calculators import periodic_calculator, tiny_calculator

CELL = np.array([[6.0, 0.0, 0.0], [1.0, 6.5, 0.0], [-0.5, 0.4, 7.0]])


@pytest.fixture(scope="module")
def calc(closed_shell: Checkpoint) -> MolCalculator:
    return tiny_calculator(closed_shell)


@pytest.fixture(scope="module")
def periodic(closed_shell: Checkpoint) -> MolCalculator:
    return periodic_calculator(closed_shell)


def water(**options: object) -> Atoms:
    atoms = molecule("H2O", **options)
    atoms.rattle(0.05, seed=3)
    return atoms


def test_results_are_those_of_ase_alone_and_together(calc: MolCalculator) -> None:
    structure, shifted = EngineStructure(calc, molecule("H2O")), water()
    alone = structure.result(shifted.positions, np.zeros((3, 3)))
    together = structure.results([molecule("H2O").positions, shifted.positions], [np.zeros((3, 3))] * 2)
    shifted.calc = calc
    for result in (alone, together[1]):
        assert result.energy == pytest.approx(shifted.get_potential_energy(), rel=1e-10)
        assert result.forces == pytest.approx(shifted.get_forces(), abs=1e-8)


def test_the_virial_of_a_box_is_minus_its_strain_derivative(periodic: MolCalculator) -> None:
    atoms = water(cell=CELL, pbc=True)
    result = EngineStructure(periodic, molecule("H2O", cell=np.eye(3) * 9, pbc=True)).result(atoms.positions, CELL)
    atoms.calc = periodic
    expected = -calculate_numerical_stress(atoms, voigt=False) * atoms.get_volume()
    assert result.virial == pytest.approx(expected, abs=1e-5)


def test_the_virial_of_a_molecule_is_minus_its_strain_derivative(calc: MolCalculator) -> None:
    structure, step = EngineStructure(calc, molecule("H2O")), 1e-4
    positions = water().positions
    result = structure.result(positions, np.zeros((3, 3)))
    ends = [structure.result(positions * (1 + sign * step), np.zeros((3, 3))).energy for sign in (1, -1)]
    assert np.trace(result.virial) == pytest.approx(-(ends[0] - ends[1]) / (2 * step), abs=1e-5)


def test_charge_stays_while_atoms_move(calc: MolCalculator) -> None:
    atoms = molecule("OH")
    atoms.info["charge"] = -1
    result = EngineStructure(calc, atoms).result(atoms.positions, np.zeros((3, 3)))
    atoms.calc = calc
    assert result.energy == pytest.approx(atoms.get_potential_energy(), rel=1e-10)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda atoms: atoms.set_constraint(FixAtoms([0])), InputError, "FixAtoms, which engines do not read"),
        (lambda atoms: atoms.set_pbc((True, True, False)), CellError, r"pbc=\[True, True, False\]"),
        (lambda atoms: atoms.set_atomic_numbers([92, 1, 1]), UnsupportedElementError, "U"),
        (lambda atoms: atoms.positions.__setitem__(1, atoms.positions[0]), AtomsTooCloseError, "atoms"),
    ],
    ids=["constraint", "slab", "element", "collision"],
)
def test_structures_that_cannot_be_moved_are_refused(
    calc: MolCalculator, change: object, error: type[Exception], words: str
) -> None:
    atoms = molecule("H2O", vacuum=4.0)
    change(atoms)  # type: ignore[operator]
    with pytest.raises(error, match=words):
        EngineStructure(calc, atoms)


def test_other_calculators_and_lists_are_refused(calc: MolCalculator) -> None:
    with pytest.raises(InputError, match="is a EMT; expected a calculator of molcalc"):
        EngineStructure(EMT(), molecule("H2O"))
    with pytest.raises(InputError, match=r"is a list; expected ase.Atoms"):
        EngineStructure(calc, [molecule("H2O")])


def test_another_number_of_atoms_is_refused(calc: MolCalculator) -> None:
    with pytest.raises(InputError, match="the engine has 4 atoms, the structure 3"):
        EngineStructure(calc, molecule("H2O")).result(np.zeros((4, 3)), np.zeros((3, 3)))


def test_another_order_of_atoms_is_seen_by_its_masses_and_isotopes_are_none(calc: MolCalculator) -> None:
    structure = EngineStructure(calc, molecule("H2O"))
    structure.check_masses(np.array([15.999, 2.014, 1.008]))
    with pytest.raises(InputError, match="atom 0 is O, but has a mass of 1.008 u in the engine, that of H"):
        structure.check_masses(np.array([1.008, 15.999, 1.008]))


def test_an_engine_that_is_not_installed_is_named_with_its_cure() -> None:
    with pytest.raises(MissingPackageError, match="pip install an-engine"):
        engine_package("no_such_engine", "an-engine")
