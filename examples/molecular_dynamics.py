"""Molecular dynamics of ethanol: heat it with a thermostat, then watch the total energy without one.

The drift of the total energy shows that the forces are the exact gradient of the energy.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import units
from ase.build import molecule
from ase.io import Trajectory
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from molcalc import AIMNet2

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=2000, help="of 0.5 fs, in each of the two parts")
parser.add_argument("--temperature", type=float, default=300.0, help="K")
parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="folder")
args = parser.parse_args()
args.output.mkdir(parents=True, exist_ok=True)

atoms = molecule("CH3CH2OH")
atoms.calc = AIMNet2("wb97m-d3", member=0, dtype="float64")
BFGS(atoms, logfile=None).run(fmax=0.01, steps=50)


def run(name: str, dynamics: VelocityVerlet | Langevin) -> np.ndarray:
    """Take the steps; returns temperature and total energy of each."""
    values = []
    with Trajectory(args.output / f"ethanol_{name}.traj", "w", atoms) as trajectory:
        dynamics.attach(trajectory.write, interval=10)
        for _ in dynamics.irun(args.steps):
            values.append((atoms.get_temperature(), atoms.get_total_energy()))
    print(f"{name}: {args.steps} steps, frames in {trajectory.filename}")
    return np.array(values)


rng = np.random.default_rng(1)
thermostat = Langevin(
    atoms, 0.5 * units.fs, temperature_K=args.temperature, friction=0.02 / units.fs, fixcm=False, rng=rng
)
heated = run("nvt", thermostat)
print(f"  mean temperature of the second half {heated[len(heated) // 2 :, 0].mean():.0f} K\n")

free = run("nve", VelocityVerlet(atoms, 0.5 * units.fs))
time = 0.5e-3 * np.arange(len(free))
drift = np.polyfit(time, free[:, 1], 1)[0] / len(atoms)
print(f"  mean temperature {free[:, 0].mean():.0f} K, total energy {free[0, 1]:.6f} eV")
print(f"  fluctuation {free[:, 1].std() / len(atoms):.1e} eV/atom, drift {drift:.1e} eV/atom/ps")
