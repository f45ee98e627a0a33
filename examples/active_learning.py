"""
Active learning: a committee asks for the labels that it lacks
==============================================================

Three networks learn formaldehyde at 300 K and are sent to 1500 K. Structures about which they disagree are labelled
and learned. Labels are those of the published AIMNet2 here; in earnest they are calculations of yours.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read

from molcalc import AIMNet2, PhysNetDCM, fit, md, relax

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=60, help="of each training")
parser.add_argument("--steps", type=int, default=1000, help="of dynamics, 0.5 fs each")
parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="folder")
args = parser.parse_args()
args.output.mkdir(parents=True, exist_ok=True)
reference = AIMNet2("wb97m-d3", member=0)
relaxed = relax([molecule("H2CO")], reference)


def frames_of(calc, kelvin, name):
    """Frames of dynamics, one each 5 fs, with the results of the calculator."""
    path = args.output / f"{name}.traj"
    md(relaxed, calc, args.steps, temperature=kelvin, friction=0.02, seed=0, trajectory=path, force=True)
    return read(path, ":")[1:]


# %%
# On this page 40 epochs and 600 steps. Labels for a start, and those of the test: hot dynamics of the reference
# itself. Of what the committee meets on its way at 1500 K the quarter in which its forces differ most is labelled.

data, test = frames_of(reference, 300, "start"), frames_of(reference, 1500, "test")
figure, axis = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
for turn in range(3):
    runs = [args.output / f"round_{turn}_network_{seed}" for seed in range(3)]
    for seed, run in enumerate(runs):
        fit(data, "physnet-dcm", output=run, epochs=args.epochs, seed=seed, test=test, plots=False, progress=False)
    committee = PhysNetDCM(runs)
    found = np.array([result["forces"] for result in committee.evaluate(test)])
    error = np.abs(found - [atoms.get_forces() for atoms in test]).mean()
    frames = frames_of(committee, 1500, f"round_{turn}")
    doubt = np.array([result["forces_std"].max() for result in committee.evaluate(frames, ["forces_std"])])
    print(f"{len(data)} labels: error of forces at 1500 K {error:.3f} eV/Å, disagreement {np.median(doubt):.3f} eV/Å")
    axis.semilogy(5e-3 * np.arange(len(doubt)), doubt, label=f"{len(data)} labels")
    chosen = [frames[k].copy() for k in np.argsort(doubt)[-len(frames) // 4 :]]
    for atoms, labels in zip(chosen, reference.evaluate(chosen)):
        atoms.calc = SinglePointCalculator(atoms, **labels)
    data += chosen
axis.set(xlabel="time (ps)", ylabel="disagreement of forces (eV/Å)")
axis.legend()
