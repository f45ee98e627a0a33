"""
A reaction path
===============

Proton transfer in malonaldehyde by a nudged elastic band. The proton moves from one oxygen to the other, and single
and double bonds change places, so that the product is the mirror image of the reactant.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import units
from ase.io import read, write
from ase.mep import NEB, NEBTools
from ase.optimize import BFGS

from molcalc import AIMNet2, relax
from molcalc.analysis import draw_molecule

HERE = Path(__file__).parent
parser = argparse.ArgumentParser()
parser.add_argument("--images", type=int, default=5, help="between the ends")
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--output", type=Path, default=HERE / "output", help="folder")
args = parser.parse_args()
args.output.mkdir(parents=True, exist_ok=True)

# %%
# All images share one calculator: nothing is remembered from one to the next.

calc = AIMNet2("wb97m-d3")
(reactant,) = relax([read(HERE / "data" / "malonaldehyde.xyz")], calc, fmax=0.01)
product = reactant.copy()
product.positions = reactant.positions[[4, 3, 2, 1, 0, 7, 6, 5, 8]] * [-1, 1, 1]
images = [reactant, *(reactant.copy() for _ in range(args.images)), product]
for image in images:
    image.calc = calc
band = NEB(images, climb=True, allow_shared_calculator=True, method="improvedtangent")
band.interpolate(method="idpp")
optimizer = BFGS(band, logfile=None)
print("converged" if optimizer.run(fmax=0.03, steps=args.steps) else "not converged", f"after {optimizer.nsteps} steps")
figure = draw_molecule(images[len(images) // 2])

# %%
# Coupled clusters put the barrier at 4.1 kcal/mol (Wang et al., J. Chem. Phys. 128, 224314 (2008)).

energies = np.array([result["energy"] for result in calc.evaluate(images, ["energy"])])
print("image  O-H/Å  H-O/Å  energy/eV")
for k, (image, energy) in enumerate(zip(images, energies - energies[0])):
    print(f"{k:5d}  {image.get_distance(8, 4):5.3f}  {image.get_distance(8, 0):5.3f}  {energy:9.4f}")
barrier = energies.max() - energies[0]
print(f"barrier {barrier:.3f} eV = {barrier / (units.kcal / units.mol):.2f} kcal/mol")
print(f"reaction energy {energies[-1] - energies[0]:.4f} eV")
write(args.output / "malonaldehyde_path.xyz", images, format="extxyz")
figure = NEBTools(images).plot_band()
