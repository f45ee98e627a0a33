"""
Relax a molecule
================

Aspirin starts from a geometry that was embedded from its SMILES; any file that ASE reads will do.
"""

import argparse
from pathlib import Path

import numpy as np
from ase.io import read, write
from ase.optimize import BFGS

from molcalc import AIMNet2
from molcalc.analysis import draw_charges

HERE = Path(__file__).parent

parser = argparse.ArgumentParser()
parser.add_argument("file", nargs="?", type=Path, default=HERE / "data" / "aspirin.xyz")
parser.add_argument("--fmax", type=float, default=0.01, help="largest force, eV/Å")
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--output", type=Path, default=HERE / "output", help="folder")
args = parser.parse_args()
args.output.mkdir(parents=True, exist_ok=True)

# %%
# A calculator like any other of ASE
# ----------------------------------
# The published AIMNet2 is four networks trained on ωB97M-D3: their mean is the result, their standard deviation a hint
# of how far to trust it. The forces are the exact gradient of the mean.

atoms = read(args.file)
atoms.calc = AIMNet2("wb97m-d3")
start = atoms.get_potential_energy()
with BFGS(atoms, trajectory=args.output / f"{args.file.stem}.traj") as optimizer:
    converged = optimizer.run(fmax=args.fmax, steps=args.steps)

# %%
# ``molcalc.relax([atoms], calc)`` needs a quarter to a half of these steps: it starts from a model of the second
# derivatives.

energy = atoms.get_potential_energy()
print("converged" if converged else "not converged", f"after {optimizer.nsteps} steps")
print(f"energy {energy:.6f} ± {atoms.calc.extras['energy_std']:.4f} eV, {energy - start:.4f} eV below the start")
print(f"dipole moment {np.linalg.norm(atoms.get_dipole_moment()):.4f} e·Å")

# %%
# Charges come with the energy, in the same pass.

for k, (symbol, charge) in enumerate(zip(atoms.symbols, atoms.get_charges())):
    print(f"{k:4d} {symbol:2} {charge:10.4f}")
figure = draw_charges(atoms)

# %%
# The file has energy, forces and charges beside the positions.

write(args.output / f"{args.file.stem}_relaxed.xyz", atoms, format="extxyz")
