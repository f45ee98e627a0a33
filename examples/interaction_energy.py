"""
Interaction energies of pairs of molecules
==========================================

The S22 dimers, hydrogen bonds, dispersion and mixed cases, against CCSD(T) at the basis set limit (Takatani et al., J.
Chem. Phys. 132, 144104 (2010)), which comes with ASE.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from ase import units
from ase.data.s22 import create_s22_system, get_interaction_energy_s22, get_number_of_dimer_atoms, s22

from molcalc import AIMNet2

KCAL = units.kcal / units.mol
parser = argparse.ArgumentParser()
parser.add_argument("--dimers", type=int, default=len(s22), help="how many of the 22")
parser.add_argument("--model", default="wb97m-d3")
args = parser.parse_args()

# %%
# A dimer and its two molecules are three structures; all 66 are evaluated in one call.

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

print(f"{'dimer':36}  {args.model:>10}  {'CCSD(T)':>8}  {'error':>6}   kcal/mol")
for name, value, exact in zip(names, interaction, reference):
    print(f"{name:36}  {value:10.2f}  {exact:8.2f}  {value - exact:6.2f}")
print(f"mean absolute error {np.abs(interaction - reference).mean():.2f} kcal/mol")

# %%

figure, axis = plt.subplots(figsize=(4.5, 4.2), layout="constrained")
axis.axline((0, 0), slope=1, color="0.7")
axis.plot(reference, interaction, "o")
axis.set(xlabel="CCSD(T) (kcal/mol)", ylabel=f"{args.model} (kcal/mol)", title="interaction energies")
