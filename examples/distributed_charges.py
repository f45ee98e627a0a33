"""
Distributed charges, equivariant or not
=======================================

Two networks put several point charges around each atom of CO2, to describe its potential. In one of them the charges
turn with the molecule; the other one has to learn it.
"""

import argparse
from pathlib import Path

from ase import Atoms

from molcalc import fit
from molcalc.analysis import draw_equivariance, equivariance_errors
from molcalc.analysis.motions import Motion

HERE = Path(__file__).parent
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=100, help="of each training")
parser.add_argument("--output", type=Path, default=HERE / "output", help="folder")
args = parser.parse_args()

# %%
# The same data, options and seed for both; on this page 6 epochs, which make neither a good model.

calculators = {}
for kind in ("physnet-dcm", "noneq-dcm"):
    run = args.output / f"{kind}_co2"
    result = fit(HERE / "data" / "co2_pbe0.db", kind, output=run, epochs=args.epochs, seed=0, progress=False)
    errors = {name: result.metrics["test"][name]["mae"] for name in ("energy", "forces", "dipole", "esp")}
    print(f"{kind}: " + ", ".join(f"{name} {value:.4f}" for name, value in errors.items()), "(eV, eV/Å, e·Å, V)")
    calculators[kind] = result.calculator()

# %%
# The molecule is turned, mirrored and moved, and its atoms are exchanged: what should follow, does it?

bent = Atoms("COO", [[0, 0, 0], [1.20, 0.10, 0], [-1.12, 0.30, 0]])
for kind, calc in calculators.items():
    errors = equivariance_errors(bent, calc, motions=5)
    for name in ("energy", "forces", "dipole", "dcm_dipole", "esp"):
        print(f"{kind:12} rotation, {name:10} largest error {errors.of('rotation', name).largest:.1e}")

# %%
# Energies, forces and the dipole of the charges on the atoms follow in both. The distributed charges of the plain head,
# their dipole and their potential do not: the most that it can do is to learn it.

figure = draw_equivariance(bent, calculators, Motion.rotation(90, "z"), Motion.translation((5, 3, -2)))
