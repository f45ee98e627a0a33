"""
A transition state and the way down from it
===========================================

Sella climbs to the transition state of the proton transfer in malonaldehyde, with exact second derivatives, and follows
the reaction coordinate to both sides. Needs ``pip install sella``.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ase.io import read
from sella import IRC, Sella

from molcalc import AIMNet2, relax
from molcalc.analysis import draw_molecule
from molcalc.calculators.normal_modes import NormalModes

# %%
# The product is the mirror image of the reactant, with atoms exchanged: half way between them is a good start.

KCAL_PER_MOL = 0.0433641  # eV
calc = AIMNet2("wb97m-d3", member=0, dtype="float64")
(reactant,) = relax([read(Path(__file__).parent / "data" / "malonaldehyde.xyz")], calc, fmax=1e-3)
middle = reactant.copy()
middle.positions = (reactant.positions + reactant.positions[[4, 3, 2, 1, 0, 7, 6, 5, 8]] * [-1, 1, 1]) / 2
middle.calc = calc


def hessian(atoms):
    return calc.get_hessian(atoms).reshape(3 * len(atoms), -1)  # eV/Å²


search = Sella(middle, order=1, hessian_function=hessian, diag_every_n=1, logfile=None)
search.run(fmax=1e-3, steps=50)
print(f"after {search.nsteps} steps: O-H {middle.get_distance(4, 8):.3f} and {middle.get_distance(0, 8):.3f} Å")
print(
    "imaginary vibrations:", *(f"{value:.0f}i cm⁻¹" for value in NormalModes.of(calc.get_vibrations(middle)).imaginary)
)
print(f"barrier {(middle.get_potential_energy() - reactant.get_potential_energy()) / KCAL_PER_MOL:.2f} kcal/mol")
figure = draw_molecule(middle)

# %%
# Coupled clusters have 4.1 kcal/mol (Wang et al., J. Chem. Phys. 128, 224314 (2008)). One imaginary vibration makes it
# a transition state, and the steepest way down in mass-weighted coordinates tells between which minima.

ways = []
for direction in ("forward", "reverse"):
    atoms = middle.copy()
    atoms.calc = calc
    steps = IRC(atoms, hessian_function=hessian, logfile=None).irun(fmax=0.01, steps=30, direction=direction)
    ways.append([(atoms.get_distance(4, 8) - atoms.get_distance(0, 8), atoms.get_potential_energy()) for _ in steps])
difference, energy = np.array(ways[0][::-1] + ways[1]).T
energy = (energy - reactant.get_potential_energy()) / KCAL_PER_MOL
print(f"both ends are minima: {energy[0]:.3f} and {energy[-1]:.3f} kcal/mol")
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
axis.plot(difference, energy, ".-")
axis.set(xlabel="difference of the two O-H distances (Å)", ylabel="energy (kcal/mol)")
