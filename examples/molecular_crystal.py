"""A urea crystal: relax atoms and cell, then let it breathe at constant pressure and temperature.

Electrostatics is summed by Ewald's method and dispersion over periodic images, both within one energy whose stress is
exact. The network was trained on molecules only: the cell shows how far that carries. Experiment: neutron diffraction
at 12 K (Swaminathan, Craven, McMullan, Acta Cryst. B 40, 300 (1984)).
"""

import argparse
from pathlib import Path

import numpy as np
from ase import units
from ase.filters import FrechetCellFilter
from ase.io import read
from ase.md.nose_hoover_chain import MTKNPT
from ase.optimize import BFGS

from molcalc import AIMNet2

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=2000, help="of molecular dynamics, 0.5 fs each")
parser.add_argument("--repeat", type=int, default=2, help="cells in each direction for it")
parser.add_argument("--temperature", type=float, default=300.0, help="K")
parser.add_argument("--coulomb", default="ewald", choices=("ewald", "dsf"))
args = parser.parse_args()

urea = read(Path(__file__).parent / "data" / "urea.cif")
n_molecules = urea.symbols.count("C")
GRAM_PER_CM3 = units.kg / 1000 / (units.m / 100) ** 3


def describe(title: str, a: float, c: float) -> None:
    """Print lattice constants and density of two molecules in a tetragonal cell."""
    density = urea.get_masses().sum() / (a * a * c) / GRAM_PER_CM3
    print(f"{title:10}  a {a:.3f} Å  c {c:.3f} Å  density {density:.3f} g/cm³")


describe("experiment", *urea.cell.lengths()[1:])
urea.calc = AIMNet2("wb97m-d3", member=0, coulomb=args.coulomb)
optimizer = BFGS(FrechetCellFilter(urea), logfile=None)
converged = optimizer.run(fmax=0.005, steps=200)
describe("relaxed", *urea.cell.lengths()[1:])
print(f"  {'converged' if converged else 'not converged'} after {optimizer.nsteps} steps")
print(f"  energy {urea.get_potential_energy() / n_molecules:.5f} eV per molecule")
print(f"  largest stress {np.abs(urea.get_stress()).max() / units.GPa:.4f} GPa")

cells = urea.repeat(args.repeat)
cells.calc = urea.calc
spread = np.sqrt(2 * units.kB * args.temperature / cells.get_masses())  # half of it will turn into potential energy
cells.set_velocities(spread[:, None] * np.random.default_rng(1).normal(size=(len(cells), 3)))
dynamics = MTKNPT(cells, 0.5 * units.fs, args.temperature, pressure_au=0.0, tdamp=50 * units.fs, pdamp=500 * units.fs)
values = [
    (cells.get_temperature(), -cells.get_stress(include_ideal_gas=True)[:3].mean() / units.GPa, *cells.cell.lengths())
    for _ in dynamics.irun(args.steps)
]
temperature, pressure, *lengths = np.mean(values[len(values) // 2 :], axis=0)
describe(f"{args.temperature:.0f} K", (lengths[0] + lengths[1]) / 2 / args.repeat, lengths[2] / args.repeat)
print(f"  {args.steps} steps; second half: mean temperature {temperature:.0f} K, mean pressure {pressure:.2f} GPa")
