"""
A molecular crystal, relaxed and at constant pressure
=====================================================

Urea: atoms and cell are relaxed, then the crystal breathes at 300 K. The network was trained on molecules only: the
cell shows how far that carries. Experiment: neutron diffraction at 12 K (Swaminathan, Craven, McMullan, Acta Cryst. B
40, 300 (1984)).
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ase import units
from ase.filters import FrechetCellFilter
from ase.io import read
from ase.md.nose_hoover_chain import MTKNPT
from ase.optimize import BFGS

from molcalc import AIMNet2

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=2000, help="of molecular dynamics, 0.5 fs each")
parser.add_argument("--repeat", type=int, default=2, help="cells in each direction for it")
args = parser.parse_args()

urea = read(Path(__file__).parent / "data" / "urea.cif")
row = "{:10}  a {:.3f} Å  c {:.3f} Å  density {:.3f} g/cm³"
mass = urea.get_masses().sum() / (units.kg / 1000 / (units.m / 100) ** 3)

# %%
# Electrostatics is an Ewald sum, dispersion a sum over periodic images: one energy, whose stress is exact.

print(row.format("experiment", *urea.cell.lengths()[1:], mass / urea.get_volume()))
urea.calc = AIMNet2("wb97m-d3", member=0, coulomb="ewald")
BFGS(FrechetCellFilter(urea), logfile=None).run(fmax=0.005, steps=200)
print(row.format("relaxed", *urea.cell.lengths()[1:], mass / urea.get_volume()))
print(f"largest stress {np.abs(urea.get_stress()).max() / units.GPa:.4f} GPa")

# %%
# The relaxed crystal is 11 % too dense. BFGS keeps the symmetry of the start; from a start without symmetry this
# network finds a cell 0.06 eV per molecule lower, with a and b 0.05 Å apart: check before you trust it. Now at 300 K
# and no pressure, on this page 400 steps, from twice the kinetic energy, half of which turns into potential energy.

cells = urea.repeat(args.repeat)
cells.calc = urea.calc
random = np.random.default_rng(1).standard_normal((len(cells), 3))
cells.set_momenta(random * np.sqrt(600 * units.kB * cells.get_masses()[:, None]))
dynamics = MTKNPT(cells, 0.5 * units.fs, 300, pressure_au=0.0, tdamp=50 * units.fs, pdamp=500 * units.fs)
values = np.array([(cells.get_temperature(), *cells.cell.lengths() / args.repeat) for _ in dynamics.irun(args.steps)])
temperature, a, b, c = values[len(values) // 2 :].mean(axis=0)
print(f"second half of {args.steps} steps: mean temperature {temperature:.0f} K")
print(row.format("300 K", (a + b) / 2, c, mass / (a * b * c)))

figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
axis.plot(0.5e-3 * np.arange(len(values)), values[:, 1:], label=["a", "b", "c"])
axis.set(xlabel="time (ps)", ylabel="lattice constant (Å)")
axis.legend()
