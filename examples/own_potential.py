"""
A potential of your own, from dynamics to report
================================================

Formaldehyde moves by a published model, which stands for a method of yours that is too slow for long runs. PhysNet with
distributed charges learns its energies, forces, dipoles and potentials, is judged, and moves the molecule itself.
"""

import argparse
from pathlib import Path

from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import read

from molcalc import AIMNet2, fit, md, relax
from molcalc.analysis import draw_dynamics, esp_surface

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=300, help="passes over the data, as recommended")
parser.add_argument("--steps", type=int, default=1000, help="of 0.5 fs, in each run of dynamics")
parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="folder")
args = parser.parse_args()
args.output.mkdir(parents=True, exist_ok=True)

# %%
# Four runs at 600 K, side by side. Each gets a database: labels in the calculator, potentials (V) in ``data``.

slow = AIMNet2("wb97m-d3-multipoles", member=0)
runs, free = [args.output / f"run_{k}.traj" for k in range(4)], args.output / "free.traj"
md([molecule("H2CO")] * 4, slow, args.steps, temperature=600, friction=0.02, seed=0, trajectory=runs, force=True)
for run in runs:
    frames = [frame.copy() for frame in read(run, "1:")]
    with connect(run.with_suffix(".db"), append=False) as database:
        for frame, labels in zip(frames, slow.evaluate(frames, ["energy", "forces", "dipole"])):
            surface = esp_surface(frame, slow, scale=1.6, density=2.0)
            frame.calc = SinglePointCalculator(frame, **labels)
            database.write(frame, data={"esp": surface.potential, "esp_points": surface.points})

# %%
# Neighbors in time are nearly alike: ``split="block"`` keeps the end of each run for the test. The result is a folder
# with the model and ``report.html``. On this page 40 epochs. One composition makes a model of formaldehyde alone.

data = f"{args.output}/run_*.db"
result = fit(data, "physnet-dcm", output=args.output / "own", split="block", epochs=args.epochs, progress=False)
for name, unit in {"energy": "eV", "forces": "eV/Å", "dipole": "e·Å", "esp": "V"}.items():
    print(f"{name:8}mean absolute error of the test part {result.metrics['test'][name]['mae']:.5f} {unit}")
parity = Path(result.output) / "plots" / "parity_test.png"

# %%
# Beside what it learned from. Then at constant energy, no hotter than its data: at 1200 K hydrogen atoms collided.

for name, calc in {"slow": slow, "own": result.calculator()}.items():
    (atoms,) = relax([molecule("H2CO")], calc, fmax=1e-3)
    modes = calc.get_vibrations(atoms).get_frequencies()[6:].real.round(1)
    print(f"{name:5}C-O {atoms.get_distance(0, 1):.4f} Å, modes", *modes, "cm⁻¹")
md(atoms, calc, args.steps, ensemble="nve", temperature=600, seed=0, trajectory=free, force=True)
figure = draw_dynamics(read(free, ":"))
