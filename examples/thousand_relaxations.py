"""
A thousand relaxations, here and on a cluster
=============================================

A list of molecules in, a database out: all move side by side, a bad one stops no other, and what was interrupted goes
on. The molecules are the closed-shell ones of the G2 set that comes with ASE, each distorted ten times; on this page
once.
"""

import argparse
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
from ase.build import molecule
from ase.collections import g2
from ase.db import connect

from molcalc import AIMNet2, relax

parser = argparse.ArgumentParser()
parser.add_argument("--copies", type=int, default=10, help="of each molecule")
parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="folder")
args = parser.parse_args()
args.output.mkdir(parents=True, exist_ok=True)

# %%
# Some of them hold elements that the published networks do not know, such as lithium: they come back with the reason.

names = [name for name in g2.names if not molecule(name).get_initial_magnetic_moments().any()]
images = [molecule(name) for name in names for _ in range(args.copies)]
for seed, atoms in enumerate(images):
    atoms.rattle(0.1, seed=seed)

start, database = perf_counter(), args.output / "minima.db"
minima = relax(images, AIMNet2("wb97m-d3", member=0), fmax=0.02, database=database, restart=True)
failed = [atoms for atoms in minima if "error" in atoms.info]
print(f"{len(images)} structures in {perf_counter() - start:.0f} s, {len(failed)} not relaxed, such as:")
print(failed[0].get_chemical_formula(), "–", failed[0].info["error"])

# %%
# The database fills as structures end; the same call goes on with it (``restart=True``), and ``executor=4`` shares the
# structures between four processes.

steps = [row.steps for row in connect(database).select("converged=True")]
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.hist(steps, bins=range(0, max(steps) + 2))
axis.set(xlabel="steps until the largest force is below 0.02 eV/Å", ylabel="structures")

# %%
# On a cluster an array of jobs takes a share each, and goes on where it stopped when it is sent again:
#
# .. literalinclude:: /../examples/slurm_array.sh
#    :language: bash
#
# ``molcalc.relax(..., executor=Client(...))`` lets workers of Dask share them instead.
