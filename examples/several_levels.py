"""
One model of two levels of theory
=================================

GFN2-xTB for thousands of geometries of 60 small molecules and ions, PBE0/def2-SVP for hundreds of them: one network
learns both, and the many cheap labels help the few good ones. Training takes minutes.
"""

import argparse
from pathlib import Path

import torch
from ase.build import molecule

from molcalc import AIMNet2
from molcalc.export import export
from molcalc.train import fit
from molcalc.train.data import open_dataset
from molcalc.train.start.reference_energies import fit_by_fidelity

DATA = Path(__file__).parent / "data" / "small_species"
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=60, help="of training")
parser.add_argument("--batches", type=int, help="in an epoch (default: as many as the data fill)")
parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="folder")
args = parser.parse_args()

# %%
# Energies of the two differ by thousands of eV, which free atoms explain: their energies are fitted for each level.

levels = {"pbe0": str(DATA / "multi_high_train.h5"), "gfn2": str(DATA / "multi_low_train.h5")}
for name, found in fit_by_fidelity(open_dataset(levels)).items():
    print(f"{name}: {', '.join(f'Z={z} {energy:.2f}' for z, energy in found.energies.items())} eV")
    print(f"   {found.residual:.2f} eV unexplained")

# %%
# On this page 5 epochs of 40 batches. Only the last layers differ; labels that one level lacks are masked there.

result = fit(
    levels, "aimnet2", output=args.output / "two_levels", epochs=args.epochs, batches_per_epoch=args.batches,
    fidelities={"pbe0": {"functional": "pbe0", "dispersion": "d3bj:pbe0"}, "gfn2": {"dispersion_in_labels": True}},
    arguments={"embeddings": "shared", "charge_heads": True}, fidelity_weights={"pbe0": 1.0, "gfn2": 1.0},
    split_by="molecule", test={"pbe0": str(DATA / "multi_high_valid.h5")}, progress=False,
)  # fmt: skip
errors = result.metrics["test"]
print(f"molecules never seen, at PBE0: {errors['energy']['mae']:.3f} eV, {errors['forces']['mae']:.3f} eV/Å")
picture = Path(result.output) / "plots" / "learning_curves.png"

# %%
# A calculator is at one level; it compares all of them, and is exported for programs that know nothing of this
# package.

ethanol = molecule("CH3CH2OH")
ethanol.calc = AIMNet2(result.output, fidelity="pbe0")
for name, values in ethanol.calc.compare_fidelities(ethanol).items():
    print(f"{name}: energy {values['energy']:.4f} eV, charge of oxygen {values['charges'][2]:.3f} e")
program = export(result.output, args.output / "pbe0.jpt", fidelity="pbe0", force=True).path
inputs = {"coord": torch.tensor(ethanol.positions), "numbers": torch.tensor(ethanol.numbers), "charge": torch.zeros(1)}
print(f"pbe0.jpt: {torch.jit.load(program)(inputs)['energy'].item():.6f} eV; {ethanol.get_potential_energy():.6f} here")
