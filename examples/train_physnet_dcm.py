"""Train PhysNet-DCM on CO2 at PBE0/def2-TZVP, then relax, vibrate and move the molecule with it.

The database holds 832 geometries with energy, forces, dipole and electrostatic potential. Training takes some minutes.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ase import Atoms, units
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from molcalc import PhysNetDCM
from molcalc.train import fit

HERE = Path(__file__).parent
BOND, WAVENUMBERS = 1.15681, np.array([687.4, 687.4, 1394.4, 2454.4])  # PBE0/def2-TZVP: Å and cm⁻¹

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, help="passes over the data (default: as recommended)")
parser.add_argument("--steps", type=int, default=4000, help="of 0.5 fs without thermostat")
parser.add_argument("--model", type=Path, help="finished run to use; without it a new one is trained")
parser.add_argument("--output", type=Path, default=HERE / "output", help="folder")
args = parser.parse_args()
args.output.mkdir(parents=True, exist_ok=True)
if args.model is None:
    args.model = args.output / "co2"
    length = {"epochs": args.epochs} if args.epochs else {}
    errors = fit(HERE / "data" / "co2_pbe0.db", output=args.model, **length).metrics["test"]
    for name, unit in {"energy": "eV", "forces": "eV/Å", "dipole": "e·Å", "esp": "V"}.items():
        print(f"{name:8}test error {errors[name]['mae']:.5f} (MAE), {errors[name]['rmse']:.5f} {unit} (RMSE)")

atoms = Atoms("COO", [[0, 0, 0], [0.1, 0.1, 1.25], [-0.1, 0.1, -1.15]])
atoms.calc = PhysNetDCM(args.model, dtype="float64")
BFGS(atoms, logfile=None).run(fmax=1e-4, steps=200)
bonds, angle = atoms.get_distances(0, [1, 2]), atoms.get_angle(1, 0, 2)
print(f"\nbonds {bonds[0]:.5f} and {bonds[1]:.5f} Å (PBE0 {BOND}), angle {angle:.2f}°")
found = atoms.calc.get_vibrations(atoms).get_frequencies()[5:]
print("wavenumbers", *(f"{w.real - w.imag:.1f}" for w in found), "cm⁻¹, PBE0", *WAVENUMBERS)

thermalize_momenta(atoms, temperature_K=600.0, rng=np.random.default_rng(0))
dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
total = np.array([atoms.get_total_energy() for _ in dynamics.irun(args.steps)])
time, change = 0.5e-3 * np.arange(len(total)), 1e3 * (total - total[0])
drift = np.polyfit(time, change, 1)[0] / len(atoms)
print(f"NVE for {time[-1]:.1f} ps: fluctuation {change.std():.3f} meV, drift {drift:.1e} meV/atom/ps")

figure, (left, right) = plt.subplots(ncols=2, figsize=(9, 3.5), layout="constrained")
left.vlines(WAVENUMBERS, 0, 1, "0.7", lw=6, label="PBE0")
left.vlines(found.real, 0, 1, "C3", label="PhysNet-DCM")
left.set(xlabel="wavenumber (cm⁻¹)", yticks=[], ylim=(0, 1.2))
left.legend()
right.plot(time, change, lw=0.5)
right.set(xlabel="time (ps)", ylabel="total energy − start (meV)")
figure.savefig(args.output / "co2.png", dpi=150)
print(f"picture: {args.output / 'co2.png'}")
