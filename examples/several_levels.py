"""One model of two levels of theory: self-atomic energies, training, export, and dynamics with the result.

GFN2-xTB for thousands of geometries of 60 small molecules and ions, PBE0 for hundreds of them. Training takes minutes.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from ase import units
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from molcalc import AIMNet2
from molcalc.export import export
from molcalc.train import fit
from molcalc.train.data import open_dataset
from molcalc.train.start.reference_energies import fit_by_fidelity

DATA = Path(__file__).parent / "data" / "small_species"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=60, help="of training")
parser.add_argument("--batches", type=int, help="in an epoch (default: as many as the data fill)")
parser.add_argument("--steps", type=int, default=1000, help="of 0.5 fs at 400 K")
parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="folder")
args = parser.parse_args()

levels = {"pbe0": str(DATA / "multi_high_train.h5"), "gfn2": str(DATA / "multi_low_train.h5")}
for name, found in fit_by_fidelity(open_dataset(levels)).items():
    atoms = ", ".join(f"Z={z} {energy:.2f}" for z, energy in found.energies.items())
    print(f"{name}: self-atomic energies {atoms} eV; they leave {found.residual:.2f} eV unexplained")

result = fit(
    levels, "aimnet2", output=args.output / "two_levels", epochs=args.epochs, batches_per_epoch=args.batches,
    fidelities={"pbe0": {"functional": "pbe0", "dispersion": "d3bj:pbe0"}, "gfn2": {"dispersion_in_labels": True}},
    arguments={"embeddings": "shared", "charge_heads": True}, fidelity_weights={"pbe0": 1.0, "gfn2": 1.0},
    split_by="molecule", test={"pbe0": str(DATA / "multi_high_valid.h5")},
)  # fmt: skip
errors = result.metrics["test"]
print(f"molecules never seen, at PBE0: {errors['energy']['mae']:.3f} eV, {errors['forces']['mae']:.3f} eV/Å")

ethanol = molecule("CH3CH2OH")
ethanol.calc = AIMNet2(args.output / "two_levels", fidelity="pbe0")
for name, values in ethanol.calc.compare_fidelities(ethanol).items():
    print(f"{name}: energy {values['energy']:.4f} eV, charge of oxygen {values['charges'][2]:.3f} e")

thermalize_momenta(ethanol, temperature_K=400, rng=np.random.default_rng(0))
rng = np.random.default_rng(1)
dynamics = Langevin(ethanol, 0.5 * units.fs, temperature_K=400, friction=0.02 / units.fs, fixcm=False, rng=rng)
dynamics.run(args.steps)
print(f"after {args.steps} steps: {ethanol.get_temperature():.0f} K, O-H {ethanol.get_distance(2, 3):.3f} Å")

program = export(args.output / "two_levels", args.output / "pbe0.jpt", fidelity="pbe0", force=True).path
inputs = {"coord": torch.tensor(ethanol.positions), "numbers": torch.tensor(ethanol.numbers)}
energy = float(torch.jit.load(program)({**inputs, "charge": torch.zeros(1)})["energy"])
print(f"{program}: {energy:.6f} eV; the calculator {ethanol.get_potential_energy():.6f} eV")
