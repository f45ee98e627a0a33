"""
Dynamics of a molecule
======================

Ethanol is heated with a thermostat, then left alone: the drift of the total energy shows that the forces are the exact
gradient of the energy.
"""

import argparse
from pathlib import Path

import numpy as np
from ase.build import molecule
from ase.io import read

from molcalc import AIMNet2, md, relax
from molcalc.analysis import draw_dynamics

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=2000, help="of 0.5 fs, in each of the two parts")
parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="folder")
args = parser.parse_args()
args.output.mkdir(parents=True, exist_ok=True)
heating, free = args.output / "ethanol_nvt.traj", args.output / "ethanol_nve.traj"

# %%
# On this page 1000 steps. ``molcalc.md`` takes one molecule or a thousand, which it moves side by side; the
# integrators are those of ASE. A run that was interrupted goes on with ``restart=True``.

calc = AIMNet2("wb97m-d3", member=0, dtype="float64")
atoms = relax([molecule("CH3CH2OH")], calc, fmax=0.01)
heated = md(atoms, calc, args.steps, ensemble="langevin", temperature=300, friction=0.02, seed=1, trajectory=heating,
            force=True)  # fmt: skip
temperatures = [frame.get_temperature() for frame in read(heating, ":")]
print(
    f"with the thermostat: mean temperature of the second half {np.mean(temperatures[len(temperatures) // 2 :]):.0f} K"
)

# %%
# The velocities are kept, and the thermostat is taken away.

md(heated, calc, args.steps, ensemble="nve", keep_velocities=True, trajectory=free, force=True)
frames = read(free, ":")
times = np.array([frame.info["time_fs"] / 1000 for frame in frames])
total = np.array([frame.get_total_energy() for frame in frames]) / len(frames[0])
print(f"without: mean temperature {np.mean([frame.get_temperature() for frame in frames]):.0f} K")
print(f"fluctuation {total.std():.1e} eV/atom, drift {np.polyfit(times, total, 1)[0]:.1e} eV/atom/ps")
figure = draw_dynamics(frames)
