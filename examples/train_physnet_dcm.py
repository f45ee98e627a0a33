"""
A potential of your own, from data to report and dynamics
=========================================================

PhysNet with distributed charges learns CO2 from 832 calculations at PBE0/def2-TZVP, up to 7 eV above the minimum:
energies, forces, dipoles and electrostatic potentials. Then it relaxes, vibrates and moves the molecule.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read

from molcalc import PhysNetDCM, md, relax
from molcalc.analysis import draw_dynamics
from molcalc.train import fit

HERE = Path(__file__).parent
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, help="passes over the data (default: as recommended, 300)")
parser.add_argument("--steps", type=int, default=4000, help="of 0.5 fs without thermostat")
parser.add_argument("--output", type=Path, default=HERE / "output", help="folder")
args = parser.parse_args()

# %%
# Options that are not given have recommended values. The run is a folder: the model, ``report.html`` with errors and
# pictures, and what is needed to go on (``resume=True``). On this page 30 epochs; 300, as recommended, take ten
# minutes.

options = {"epochs": args.epochs} if args.epochs else {}
result = fit(HERE / "data" / "co2_pbe0.db", "physnet-dcm", output=args.output / "co2", progress=False, **options)
for name, unit in {"energy": "eV", "forces": "eV/Å", "dipole": "e·Å", "esp": "V"}.items():
    errors = result.metrics["test"][name]
    print(f"{name:8}test error {errors['mae']:.5f} (MAE), {errors['rmse']:.5f} {unit} (RMSE)")
parity = Path(result.output) / "plots" / "parity_test.png"

# %%
# A calculator like any other. Bond length and frequencies at PBE0/def2-TZVP are 1.15681 Å and 687.4, 1394.4 and 2454.4
# cm⁻¹.

calc = PhysNetDCM(result.output, dtype="float64")
start = Atoms("COO", [[0, 0, 0], [0.1, 0.1, 1.25], [-0.1, 0.1, -1.15]])
(atoms,) = relax([start], calc, fmax=1e-4)
bonds, angle = atoms.get_distances(0, [1, 2]), atoms.get_angle(1, 0, 2)
print(f"bonds {bonds[0]:.5f} and {bonds[1]:.5f} Å, angle {angle:.2f}°")
found = calc.get_vibrations(atoms).get_frequencies()[5:]
print("wavenumbers", *(f"{value.real - value.imag:.1f}" for value in found), "cm⁻¹")

# %%
# At constant energy the total energy shows that the forces are the gradient of the energy.

path = args.output / "co2.traj"
md([atoms], calc, args.steps, ensemble="nve", temperature=600, seed=0, trajectory=path, force=True)
frames = read(path, ":")
total = np.array([frame.get_total_energy() for frame in frames])
print(f"fluctuation {1e3 * total.std():.3f} meV in {5e-4 * args.steps:.1f} ps")
figure = draw_dynamics(frames)
