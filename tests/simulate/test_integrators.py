"""Integrators of molecular dynamics, one step in two halves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms, FixBondLengths
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.nose_hoover_chain import NoseHooverChainNVT
from ase.md.verlet import VelocityVerlet

from molcalc.errors import ConfigError
from molcalc.simulate.ensembles import DynamicsSettings, degrees_of_freedom, generator, set_velocities
from molcalc.simulate.integrators import Integrator, NoseHoover, integrator


class Springs(Calculator):
    """Harmonic springs between all pairs of atoms, which conserve momentum and angular momentum."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, atoms: Atoms) -> None:
        super().__init__()
        self.lengths = atoms.get_all_distances()

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = tuple(all_changes)
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        vectors = self.atoms.positions[:, None] - self.atoms.positions[None]
        distances = np.linalg.norm(vectors, axis=-1)
        stretch = distances - self.lengths
        slopes = np.divide(stretch, distances, out=np.zeros_like(stretch), where=distances > 0)
        self.results = {
            "energy": float((10.0 * stretch**2).sum() / 2),
            "forces": -20.0 * (slopes[..., None] * vectors).sum(axis=1),
        }


def settings(**changes: Any) -> DynamicsSettings:
    return DynamicsSettings(**{"seed": 1, **changes})


def moving(name: str = "CH3OH", constraint: Any = None) -> Atoms:
    """Molecule of springs with velocities."""
    atoms = molecule(name)
    atoms.calc = Springs(atoms)
    if constraint:
        atoms.set_constraint(constraint)
    set_velocities(atoms, settings())
    return atoms


def take_steps(dynamics: Integrator, chosen: DynamicsSettings, n_steps: int) -> list[float]:
    """Kinetic energy after each step."""
    atoms, kinetic = dynamics.atoms, []
    forces = atoms.get_forces(md=True)
    for step in range(n_steps):
        dynamics.begin(forces, generator(chosen, step + 1))
        forces = atoms.get_forces(md=True)
        dynamics.finish(forces)
        kinetic.append(atoms.get_kinetic_energy())
    return kinetic


def by_ase(atoms: Atoms, chosen: DynamicsSettings, n_freedom: int, n_steps: int) -> None:
    """The same steps with the integrators of ASE."""
    timestep, relaxation = chosen.timestep * units.fs, units.fs / chosen.friction
    if chosen.thermostat is None:
        dynamics: Any = VelocityVerlet(atoms, timestep)
    elif chosen.thermostat == "langevin":
        dynamics = Langevin(atoms, timestep, temperature_K=chosen.temperature, friction=1 / relaxation, fixcm=False)
    elif chosen.thermostat == "bussi":
        dynamics = Bussi(atoms, timestep, chosen.temperature, relaxation)
        dynamics.ndof = n_freedom
        dynamics.target_kinetic_energy = 0.5 * n_freedom * units.kB * chosen.temperature
    else:
        dynamics = NoseHooverChainNVT(atoms, timestep, chosen.temperature, relaxation)
    for step in range(n_steps):
        dynamics.rng = generator(chosen, step + 1)
        dynamics.step()


@pytest.mark.parametrize("constraint", [None, FixAtoms([0]), FixBondLengths([[0, 1]])], ids=["free", "atom", "bond"])
@pytest.mark.parametrize("ensemble", ["nve", "langevin", "bussi"])
def test_steps_are_those_of_ase_to_the_last_bit(ensemble: str, constraint: Any) -> None:
    chosen = settings(ensemble=ensemble, friction=0.05)
    ours, theirs = moving(constraint=constraint), moving(constraint=constraint)
    n_freedom = degrees_of_freedom(ours, chosen)
    take_steps(integrator(ours, chosen, n_freedom), chosen, 30)
    by_ase(theirs, chosen, n_freedom, 30)
    assert np.array_equal(ours.positions, theirs.positions)
    assert np.array_equal(ours.get_momenta(), theirs.get_momenta())


def test_a_nose_hoover_chain_is_that_of_ase_where_all_degrees_of_freedom_count() -> None:
    chosen = settings(ensemble="nose-hoover", friction=0.05)
    ours, theirs = moving(), moving()
    take_steps(integrator(ours, chosen, 3 * len(ours)), chosen, 200)
    by_ase(theirs, chosen, 3 * len(ours), 200)
    assert ours.positions == pytest.approx(theirs.positions, abs=1e-9)
    assert ours.get_momenta() == pytest.approx(theirs.get_momenta(), abs=1e-9)


def test_a_nose_hoover_chain_conserves_its_energy_and_goes_on_from_its_state() -> None:
    chosen = settings(ensemble="nose-hoover", friction=0.05, timestep=0.2)
    atoms = moving()
    n_freedom = degrees_of_freedom(atoms, chosen)
    whole = integrator(atoms, chosen, n_freedom)
    assert isinstance(whole, NoseHoover)
    before = whole.conserved_energy(atoms.get_potential_energy())
    take_steps(whole, chosen, 100)
    half = atoms.copy()
    half.calc = atoms.calc
    parts = integrator(half, chosen, n_freedom, whole.state())
    take_steps(whole, chosen, 100)
    take_steps(parts, chosen, 100)
    assert np.array_equal(half.positions, atoms.positions)
    assert whole.conserved_energy(atoms.get_potential_energy()) == pytest.approx(before, abs=1e-3)


@pytest.mark.parametrize("thermostat", ["langevin", "bussi", "nose-hoover"])
def test_a_thermostat_keeps_the_temperature_of_a_small_molecule(thermostat: str) -> None:
    atoms = molecule("H2O")
    chosen = settings(ensemble=thermostat, temperature=400.0, timestep=1.0, friction=0.2)
    n_freedom = degrees_of_freedom(atoms, chosen)
    set_velocities(atoms, chosen)
    atoms.calc = Springs(atoms)
    kinetic = take_steps(integrator(atoms, chosen, n_freedom), chosen, 2000)
    kelvins = 2.0 * np.array(kinetic[200:]) / (n_freedom * units.kB)
    # Counting nine degrees of freedom where there are three would give 1200 K.
    assert np.mean(kelvins) == pytest.approx(400.0, rel=0.2)
    # The kinetic energy of n degrees of freedom has a relative variance of 2/n.
    assert np.std(kelvins) == pytest.approx(400.0 * np.sqrt(2 / n_freedom), rel=0.2)


@pytest.mark.parametrize(("ensemble", "atoms", "n_freedom", "message"), [
    ("bussi", Atoms("H2", [[0, 0, 0], [0, 0, 0.8]]), 1, "the bussi thermostat .*initial kinetic energy is zero"),
    ("nose-hoover", Atoms("H"), 0, "the nose-hoover thermostat needs something that moves"),
], ids=["bussi", "nose-hoover"])  # fmt: skip
def test_a_thermostat_needs_something_to_act_on(ensemble: str, atoms: Atoms, n_freedom: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        integrator(atoms, settings(ensemble=ensemble), n_freedom)
