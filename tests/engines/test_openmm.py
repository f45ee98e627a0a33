"""OpenMM computes what ASE does, for molecules and boxes."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from molcalc.calculators.base import MolCalculator
from molcalc.errors import CellError
from molcalc.io.checkpoint import Checkpoint
from tests.helpers.calculators import periodic_calculator, tiny_calculator

openmm = pytest.importorskip("openmm")
from molcalc.engines import openmm as engine  # noqa: E402

TOLERANCE = 1e-8
CELL = np.array([[6.0, 0.0, 0.0], [1.0, 6.5, 0.0], [-0.5, 0.4, 7.0]])


def state_of(system: openmm.System, positions: np.ndarray, box: np.ndarray | None = None) -> openmm.State:
    platform = openmm.Platform.getPlatform("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.0005), platform)
    if box is not None:
        context.setPeriodicBoxVectors(*(openmm.Vec3(*vector) for vector in box / engine.NM))
    context.setPositions(positions / engine.NM)
    return context.getState(energy=True, forces=True)


def agrees(state: openmm.State, atoms: Atoms) -> None:
    energy = state.getPotentialEnergy().value_in_unit(openmm.unit.kilojoule_per_mole) * engine.KJ_PER_MOL
    forces = state.getForces(asNumpy=True).value_in_unit(openmm.unit.kilojoule_per_mole / openmm.unit.angstrom)
    assert energy == pytest.approx(atoms.get_potential_energy(), rel=TOLERANCE)
    assert np.asarray(forces) * engine.KJ_PER_MOL == pytest.approx(
        atoms.get_forces(), abs=TOLERANCE * np.abs(atoms.get_forces()).max()
    )


@pytest.fixture(scope="module")
def calc(closed_shell: Checkpoint) -> MolCalculator:
    return tiny_calculator(closed_shell)


def test_energy_and_forces_of_a_molecule_are_those_of_ase(calc: MolCalculator) -> None:
    atoms = molecule("CH3OH")
    state = state_of(engine.system(calc, atoms), atoms.positions)
    atoms.calc = calc
    agrees(state, atoms)


def test_a_box_follows_the_vectors_of_the_context(closed_shell: Checkpoint) -> None:
    calc, atoms = periodic_calculator(closed_shell), molecule("H2O", cell=CELL, pbc=True)
    system = engine.system(calc, atoms)
    atoms.calc = calc
    agrees(state_of(system, atoms.positions), atoms)
    atoms.set_cell(CELL * 0.95)
    agrees(state_of(system, atoms.positions, CELL * 0.95), atoms)


def test_a_part_of_a_system_has_forces_of_its_own(calc: MolCalculator) -> None:
    atoms = molecule("H2O")
    system, force = openmm.System(), engine.force(calc, atoms)
    for mass in (40.0, *atoms.get_masses()):
        system.addParticle(mass)
    force.setParticles([1, 2, 3])
    system.addForce(force)
    forces = state_of(system, np.vstack([[9.0, 9.0, 9.0], atoms.positions])).getForces(asNumpy=True)
    assert not np.asarray(forces._value)[0].any()


def test_a_particle_too_many_ends_with_both_numbers(calc: MolCalculator) -> None:
    system = engine.system(calc, molecule("H2O"))
    system.addParticle(1.0)
    with pytest.raises(openmm.OpenMMException, match="the engine has 4 atoms, the structure 3"):
        state_of(system, np.arange(12.0).reshape(4, 3))


def test_a_cell_that_openmm_does_not_take_is_refused_with_its_cure(closed_shell: Checkpoint) -> None:
    atoms = molecule("H2O", cell=CELL[[1, 0, 2]], pbc=True)
    with pytest.raises(CellError, match=r"parallel to x\. Turn the structure"):
        engine.system(periodic_calculator(closed_shell), atoms)


def test_a_serialized_system_computes_the_same(calc: MolCalculator) -> None:
    atoms = molecule("H2O")
    text = openmm.XmlSerializer.serialize(engine.system(calc, atoms))
    atoms.calc = calc
    agrees(state_of(openmm.XmlSerializer.deserialize(text), atoms.positions), atoms)
