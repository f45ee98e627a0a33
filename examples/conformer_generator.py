"""
A generator of conformers
=========================

A variational autoencoder learns the shapes of H2O2 from frames that no calculator has seen, and proposes others, which
are relaxed. The two minima are mirror images: distances between atoms do not tell them apart.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from peroxide_frames import peroxides

from molcalc import AIMNet2, relax
from molcalc.conformers import ConformerVAE

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="folder")
args = parser.parse_args()


def torsions(images):
    """H-O-O-H in degrees, −180 to 180."""
    return np.array([(atoms.get_dihedral(2, 0, 1, 3) + 180.0) % 360.0 - 180.0 for atoms in images])


# %%
# 1000 frames with torsions of ±115 ± 15°; in earnest the file of a trajectory. ``hand="torsion"``, the default, makes
# the loss tell mirror images apart.

frames = peroxides(1000)
generator = ConformerVAE.for_molecule(frames[0], latent_dim=4, n_features=32, sigma=0.03)
result = generator.fit(frames, output=args.output / "peroxides", epochs=args.epochs, seed=0, progress=False)
print("held out:", ", ".join(f"{name} {value:.3f}" for name, value in result.metrics["valid"].items()))
decoded = generator.decode(generator.encode(frames[:200])[0])
same = np.mean(np.sign(torsions(decoded)) == np.sign(torsions(frames[:200])))
print(f"torsions decoded with the right sign: {100 * same:.0f} %")

# %%
# Samples are proposals, no Boltzmann sample: they are relaxed with a potential, all at once. Measured: ±112°.

samples = generator.sample(200, seed=0)
minima = relax(samples, AIMNet2("wb97m-d3", member=0), fmax=0.01)
angles = torsions(minima)
for sign in (-1, 1):
    there = angles[np.sign(angles) == sign]
    print(f"{len(there):4d} samples relax to {there.mean():7.1f} ± {there.std():.1f}°")

figure, axis = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
for images, label in ((frames, "frames"), (samples, "samples"), (minima, "relaxed samples")):
    axis.hist(torsions(images), bins=np.arange(-180, 181, 6), density=True, histtype="step", label=label)
axis.set(xlabel="torsion H-O-O-H (degrees)", ylabel="density (1/degree)", xticks=range(-180, 181, 60), ylim=(0, 0.04))
axis.legend()
