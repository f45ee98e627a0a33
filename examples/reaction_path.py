"""Proton transfer in malonaldehyde: the reaction path and its barrier, by a nudged elastic band.

The proton moves from one oxygen to the other, and single and double bonds change places, so that the product is the
mirror image of the reactant. All images share one calculator. Coupled cluster calculations put the barrier at
4.1 kcal/mol (Wang, Braams, Bowman, Carter, Tew, J. Chem. Phys. 128, 224314 (2008)).
"""

import argparse
from pathlib import Path

import numpy as np
from ase import units
from ase.io import read, write
from ase.mep import NEB
from ase.optimize import BFGS

from molcalc import AIMNet2

HERE = Path(__file__).parent
MIRRORED = [4, 3, 2, 1, 0, 7, 6, 5, 8]  # the atom that takes the place of each

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--images", type=int, default=5, help="between the ends")
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--output", type=Path, default=HERE / "output", help="folder")
args = parser.parse_args()
args.output.mkdir(parents=True, exist_ok=True)

calculator = AIMNet2("wb97m-d3")
reactant = read(HERE / "data" / "malonaldehyde.xyz")
reactant.calc = calculator
BFGS(reactant, logfile=None).run(fmax=0.01, steps=args.steps)
product = reactant.copy()
product.positions = reactant.positions[MIRRORED] * [-1, 1, 1]

images = [reactant, *(reactant.copy() for _ in range(args.images)), product]
for image in images:
    image.calc = calculator
band = NEB(images, climb=True, allow_shared_calculator=True, method="improvedtangent")
band.interpolate(method="idpp")
with BFGS(band, logfile=None) as optimizer:
    converged = optimizer.run(fmax=0.03, steps=args.steps)

energies = np.array([result["energy"] for result in calculator.evaluate(images, ["energy"])])
print(f"{'converged' if converged else 'not converged'} after {optimizer.nsteps} steps")
print("image  O-H/Å  H-O/Å  energy/eV")
for k, (image, energy) in enumerate(zip(images, energies - energies[0])):
    print(f"{k:5d}  {image.get_distance(8, 4):5.3f}  {image.get_distance(8, 0):5.3f}  {energy:9.4f}")
barrier = energies.max() - energies[0]
print(f"barrier {barrier:.3f} eV = {barrier / (units.kcal / units.mol):.2f} kcal/mol")
print(f"reaction energy {energies[-1] - energies[0]:.4f} eV")

target = args.output / "malonaldehyde_path.xyz"
write(target, images, format="extxyz")
print(f"path: {target}")
