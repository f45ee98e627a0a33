"""Both heads of PhysNet-DCM and the four optimizers side by side, trained equally long on CO2.

    python benchmarks/dcm_heads_and_optimizers.py [--epochs 200] [--runs runs/heads] [--data co2.db] [--threads 1]
                                                  [--picture docs/static/optimizers.svg]

Every run has the recommended options of its model and the recommended learning rate of its optimizer. Runs that are
finished in the folder are read, the others are trained. Errors are those of the averaged weights on the validation
part (a tenth of the data), at the end of the run: nothing is chosen by them. The charges of the plain head do not turn
with the molecule, so that its potential has an error that no training removes; "turned" is the same with every
molecule turned at random in every step.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from molcalc.train import fit
from molcalc.train.optimize.optimizers import OPTIMIZER_CONFIGS
from molcalc.units import KCAL_PER_MOL

DATA = Path(__file__).parent.parent / "examples" / "data" / "co2_pbe0.db"
HEADS = {"physnet-dcm": "equivariant", "noneq-dcm": "plain"}
SHOWN = {"forces_mae": ("forces MAE (meV/Å)", 1e3), "esp_rmse": ("potential RMSE (mV)", 1e3)}


def histories(options: argparse.Namespace) -> dict[tuple[str, str], tuple[float, list[dict[str, Any]]]]:
    """Learning rate and validations of every run, by head and optimizer."""
    wanted = [(kind, optimizer, False) for kind in HEADS for optimizer in OPTIMIZER_CONFIGS]
    wanted.append(("noneq-dcm", "muon", True))
    found = {}
    for kind, optimizer, turned in wanted:
        label = f"{optimizer}, turned" if turned else optimizer
        folder = options.runs / f"{kind}_{label.replace(', ', '_')}_{options.epochs}"
        if not (folder / "report.md").exists():
            fit(
                options.data, kind, output=folder, resume=(folder / "last").exists(), epochs=options.epochs,
                optimizer=optimizer, rotation_augmentation=turned, threads=options.threads, plots=False,
                progress=False,
            )  # fmt: skip
        rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        rate = max(row["learning_rate"] for row in rows)
        found[HEADS[kind], label] = rate, rows
    return found


def print_table(found: dict[tuple[str, str], tuple[float, list[dict[str, Any]]]]) -> None:
    """Errors at the end of every run."""
    print(f"{'head':12s} {'optimizer':15s} {'rate':>7s} {'energy':>8s} {'forces':>8s} {'dipole':>8s} {'ESP':>14s} time")
    print(f"{'':12s} {'':15s} {'':>7s} {'meV':>8s} {'meV/Å':>8s} {'me·Å':>8s} {'mV  kcal/mol/e':>14s} {'s':>4s}")
    for (head, label), (rate, rows) in found.items():
        last = rows[-1]
        energy, forces, dipole = (1e3 * last[f"{name}_mae"] for name in ("energy", "forces", "dipole"))
        print(
            f"{head:12s} {label:15s} {rate:7.1e} {energy:8.2f} {forces:8.2f} {dipole:8.3f} "
            f"{1e3 * last['esp_rmse']:6.2f} {last['esp_rmse'] / KCAL_PER_MOL:7.3f} {last['seconds']:4.0f}"
        )


def draw(found: dict[tuple[str, str], tuple[float, list[dict[str, Any]]]], target: Path) -> None:
    """Errors of forces and potential along every run."""
    figure, axes = plt.subplots(
        len(HEADS), len(SHOWN), figsize=(9, 6.5), sharex=True, sharey="col", layout="constrained"
    )
    colors = {name: f"C{k}" for k, name in enumerate(OPTIMIZER_CONFIGS)}
    for (head, label), (_, rows) in found.items():
        own = axes[list(HEADS.values()).index(head)]
        for axis, (key, (title, factor)) in zip(own, SHOWN.items()):
            name, _, turned = label.partition(", ")
            axis.semilogy(
                [row["epoch"] for row in rows], [factor * row[key] for row in rows],
                color=colors[name], ls="--" if turned else "-", lw=1.2, label=label,
            )  # fmt: skip
            axis.set(ylabel=title, title=f"{head} head")
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    for row in axes:
        row[0].legend(fontsize=8)
    figure.savefig(target, dpi=150, metadata={"Date": None} if target.suffix == ".svg" else None)
    print(f"picture: {target}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=Path, default=Path("runs/heads"), help="folder of the runs")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--picture", type=Path, help="default: heads_and_optimizers.png in the folder of the runs")
    options = parser.parse_args()
    found = histories(options)
    print_table(found)
    draw(found, options.picture or options.runs / "heads_and_optimizers.png")


if __name__ == "__main__":
    main()
