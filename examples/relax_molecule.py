"""Relax a molecule from a file, print steps, energy and charges, and write the relaxed structure.

Aspirin starts from a geometry that was embedded from its SMILES; any file that ASE reads will do.
"""

import argparse
from pathlib import Path

import numpy as np
from ase.io import read, write
from ase.optimize import BFGS

from molcalc import AIMNet2

HERE = Path(__file__).parent

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("file", nargs="?", type=Path, default=HERE / "data" / "aspirin.xyz")
parser.add_argument("--fmax", type=float, default=0.01, help="largest force, eV/Å")
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--output", type=Path, default=HERE / "output", help="folder")
args = parser.parse_args()
args.output.mkdir(parents=True, exist_ok=True)

atoms = read(args.file)
atoms.calc = AIMNet2("wb97m-d3")
start = atoms.get_potential_energy()
print(f"{args.file.stem}: {atoms.get_chemical_formula()}, {len(atoms)} atoms, published AIMNet2 ensemble (ωB97M-D3)\n")

with BFGS(atoms, trajectory=args.output / f"{args.file.stem}.traj") as optimizer:
    converged = optimizer.run(fmax=args.fmax, steps=args.steps)

energy = atoms.get_potential_energy()
fmax = np.linalg.norm(atoms.get_forces(), axis=1).max()
print(
    f"\n{'converged' if converged else 'not converged'} after {optimizer.nsteps} steps, largest force {fmax:.4f} eV/Å"
)
print(f"energy {energy:.6f} ± {atoms.calc.extras['energy_std']:.4f} eV, {energy - start:.4f} eV below the start")
print(f"dipole moment {np.linalg.norm(atoms.get_dipole_moment()):.4f} e·Å\n")
print("atom     charge/e")
for k, (symbol, charge) in enumerate(zip(atoms.symbols, atoms.get_charges())):
    print(f"{k:4d} {symbol:2} {charge:10.4f}")

target = args.output / f"{args.file.stem}_relaxed.xyz"
write(target, atoms, format="extxyz")
print(f"\nrelaxed structure with energy, forces and charges: {target}")
