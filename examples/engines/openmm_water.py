"""
OpenMM
======

A water molecule in OpenMM: energy as in ASE, and one picosecond at constant energy."""

import argparse

import numpy as np
import openmm
from ase import units
from ase.build import molecule
from openmm import unit

import molcalc
from molcalc.engines import openmm as engine

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=4000, help="of 0.25 fs")
args = parser.parse_args()

atoms = molecule("H2O")
calc = molcalc.AIMNet2("small-species", fidelity="pbe0", dtype="float64")
atoms = molcalc.relax([atoms], calc, fmax=0.01, progress=False)[0]

system = engine.system(calc, atoms)  # or, for one of your own: system.addForce(engine.force(calc, atoms))
integrator = openmm.VerletIntegrator(0.25 * unit.femtosecond)
context = openmm.Context(system, integrator, openmm.Platform.getPlatform("Reference"))  # double precision
context.setPositions(atoms.positions * unit.angstrom)


def total() -> float:
    """Total energy in eV."""
    state = context.getState(energy=True)
    energy = state.getPotentialEnergy() + state.getKineticEnergy()
    return energy.value_in_unit(unit.kilojoule_per_mole) * units.kJ / units.mol


print(f"energy {total():.8f} eV, in ASE {atoms.get_potential_energy():.8f} eV")
context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
time, energies = [], []
for step in range(0, args.steps, 10):
    integrator.step(10)
    time.append(2.5e-3 * (step / 10 + 1))
    energies.append(total() / len(atoms))
drift = np.polyfit(time, energies, 1)[0]
print(f"fluctuation {1e3 * np.std(energies):.1e} meV/atom, drift {1e3 * drift:.1e} meV/atom/ps")
