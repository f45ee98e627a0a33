"""Interaction energies of the S22 dimers, evaluated together in one call.

Hydrogen bonds, dispersion and mixed cases against CCSD(T) at the basis set limit (Takatani et al., J. Chem. Phys. 132,
144104 (2010)), which comes with ASE.
"""

import argparse

import numpy as np
from ase import units
from ase.data.s22 import create_s22_system, get_interaction_energy_s22, get_number_of_dimer_atoms, s22

from molcalc import AIMNet2

KCAL = units.kcal / units.mol

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--dimers", type=int, default=len(s22), help="how many of the 22")
parser.add_argument("--model", default="wb97m-d3")
args = parser.parse_args()

names = s22[: args.dimers]
images = []
for name in names:
    dimer = create_s22_system(name)
    n_first = get_number_of_dimer_atoms(name)[0]
    images += [dimer, dimer[:n_first], dimer[n_first:]]

results = AIMNet2(args.model).evaluate(images, ["energy"])
energies = np.array([result["energy"] for result in results]).reshape(-1, 3)
interaction = (energies[:, 0] - energies[:, 1] - energies[:, 2]) / KCAL
reference = np.array([get_interaction_energy_s22(name) for name in names]) / KCAL

print(f"{'dimer':32}  {args.model:>10}  {'CCSD(T)':>8}  {'error':>6}   kcal/mol")
for name, value, exact in zip(names, interaction, reference):
    print(f"{name:32}  {value:10.2f}  {exact:8.2f}  {value - exact:6.2f}")
print(f"mean absolute error {np.abs(interaction - reference).mean():.2f} kcal/mol")
