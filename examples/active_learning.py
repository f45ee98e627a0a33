"""
Active learning: a committee asks for the labels that it lacks
==============================================================

Three published networks learn another level of theory from ten simple molecules, and move 34 hot ones. Those about
which they disagree most are labelled and learned; beside them, as many that are drawn by lot. Molecules, dynamics and
labels are those of ``hot_molecules.py`` beside this script.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from hot_molecules import LEVEL, NAMES, RELAXED, SIMPLE, hot, judged, labelled

from molcalc import AIMNet2, fit

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=15, help="of each training")
parser.add_argument("--seed", type=int, default=0, help="of dynamics and lots")
parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="folder")
args = parser.parse_args()


def committee(data, name):
    """Networks of two functionals, whose last layers are tuned to the data."""
    runs = [args.output / f"{name}_{k}" for k in range(3)]
    for run, init, member in zip(runs, ("wb97m-d3", "wb97m-d3", "b973c-d3"), (0, 1, 0)):
        fit({"pbe0": data}, "aimnet2", init=init, init_member=member, output=run, epochs=args.epochs, batch_size=8,
            learning_rate=5e-4, groups=[{"pattern": "^embedding|^conv|^passes.[01]", "freeze": True}], test=0,
            plots=False, progress=False)  # fmt: skip
    return AIMNet2(runs, on_extrapolation="ignore")


# %%
# On this page 10 epochs. Two frames of each molecule are the test, two of each simple one the first labels. Networks of
# one functional lack the same: how they disagree says less of their errors than how those of two do, drawn below.

test, start = labelled(hot(RELAXED, LEVEL, 1000)), labelled(hot(RELAXED[:SIMPLE], LEVEL, args.seed))
calc, lots = committee(start, "first"), np.random.default_rng(args.seed)
error, doubt = judged(calc, test)
print(f"{len(start)} labels: error {error.mean():.3f} eV/Å, mean of all molecules")
data, course = {"disagreement": start, "lot": start}, {"disagreement": [error.mean()], "lot": [error.mean()]}
for turn in (1, 2):
    frames = hot(RELAXED, calc, args.seed + turn)
    for way, score in {"lot": lots.random(len(NAMES)), "disagreement": judged(calc, frames)[1]}.items():
        chosen = np.argsort(score)[-4:]
        data[way] = data[way] + labelled([frames[k] for k in (*chosen, *(chosen + len(NAMES)))])
        calc = committee(data[way], f"{way}_{turn}")
        course[way].append(judged(calc, test)[0].mean())
        print(f"{len(data[way])} labels by {way}: {course[way][-1]:.3f} eV/Å; new frames: {', '.join(NAMES[chosen])}")

figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained")
left.plot(doubt, error, "o")
left.set(xlabel="disagreement (eV/Å)", ylabel="error (eV/Å)")
right.plot(len(start) + 8 * np.arange(3), np.transpose([*course.values()]), "o-", label=[*course])
right.set(xlabel="labels", ylabel="error (eV/Å)")
right.legend(loc="upper right")
