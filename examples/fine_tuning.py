"""The published AIMNet2 weights, moved to another level of theory by some hundred calculations.

PBE0/def2-SVP for 60 small molecules and ions; seven others are kept for the test. Takes minutes.
"""

import argparse
from pathlib import Path

from molcalc.train import evaluate, fit

DATA = Path(__file__).parent / "data" / "small_species"
KCAL_PER_MOL = 0.0433641  # eV

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=40, help="of training")
parser.add_argument("--batches", type=int, help="in an epoch (default: as many as the data fill)")
parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="folder")
args = parser.parse_args()

train, test = ({"pbe0": str(DATA / f"multi_high_{part}.h5")} for part in ("train", "valid"))
result = fit(
    train, "aimnet2", init="wb97m-d3", output=args.output / "tuned", epochs=args.epochs, batches_per_epoch=args.batches,
    learning_rate=1e-4, split_by="molecule", test=test,
)  # fmt: skip
for name, error in result.metrics["test"].items():
    print(f"{name:8} of molecules never seen: mean absolute error {error['mae']:.4f}, of {error['n']} values")
energy = result.metrics["test"]["energy"]["mae"]
print(f"energy: {energy / KCAL_PER_MOL:.2f} kcal/mol")
again = evaluate(test, args.output / "tuned")["energy"]["mae"]
print(f"the model in {args.output / 'tuned'} gives the same: {again / KCAL_PER_MOL:.2f} kcal/mol")
