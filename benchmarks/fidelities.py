"""What a second, cheap level of theory is worth: errors at the good level on molecules that no training has seen.

    python benchmarks/fidelities.py [--output runs/fidelities] [--points 50 100 200 400 846] [--steps 1200]
                                    [--methods high both everywhere delta sequential published]

Every run takes the same number of steps of 512 atoms (the published weights a third of it); the network is that of the
published models:

high             the good level alone, from random weights
both             both levels in one model
everywhere       both levels, the cheap one also for the molecules of the test, which is what cheap data are for
delta            both levels, the good one as a correction to the cheap one
sequential       two thirds of the steps on the cheap level, then the good one from these weights
published        the good level alone, from the published wb97m-d3

A run that is in the output folder is read, not repeated. Writes ``results.json`` and ``curves.png``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from ase.db import connect

from molcalc.train import convert, fit

DATA = Path(__file__).parents[1] / "examples" / "data" / "small_species"
KCAL = 0.0433641
SEVERAL = {"embeddings": "shared", "charge_heads": True}
STEPS_PER_EPOCH = 50
RATE, TUNING_RATE = 1e-3, 1e-4
METHODS = ("high", "both", "everywhere", "delta", "sequential", "published")


class Study:
    """Runs of one study, each in a folder of its own."""

    def __init__(self, output: Path, steps: int, threads: int, seed: int) -> None:
        self.output, self.steps, self.threads, self.seed = output, steps, threads, seed
        output.mkdir(parents=True, exist_ok=True)
        self.low = self._converted("low", "train")
        self.high = self._converted("high", "train")
        self.held_out = {"pbe0": str(self._converted("high", "valid"))}

    def _converted(self, level: str, part: str) -> Path:
        target = self.output / f"{level}_{part}.db"
        if not target.exists():
            convert(DATA / f"multi_{level}_{part}.h5", target)
        return target

    def points(self, n_points: int) -> Path:
        """A database of so many systems of the good level."""
        with connect(self.high) as whole:
            if n_points >= len(whole):
                return self.high
            target = self.output / f"high_{n_points}.db"
            if not target.exists():
                chosen = np.random.default_rng(self.seed).permutation(len(whole))[:n_points]
                with connect(target) as part:
                    for row in whole.select(include_data=True):
                        if row.id - 1 in chosen:
                            part.write(row)
                    part.metadata = whole.metadata
            return target

    def run(self, method: str, n_points: int) -> dict[str, float]:
        """Errors in meV and meV/Å of one method."""
        high = {"pbe0": str(self.points(n_points))}
        both: dict[str, Any] = {**high, "gfn2": str(self.low)}
        equal = {"fidelity_weights": {"pbe0": 1.0, "gfn2": 1.0}}
        several: dict[str, Any] = {"arguments": SEVERAL, **equal}
        if method == "high":
            return self._errors(f"{method}_{n_points}", high, {})
        if method == "both":
            return self._errors(f"{method}_{n_points}", both, several)
        if method == "everywhere":
            cheap = [str(self.low), str(self._converted("low", "valid"))]
            return self._errors(f"{method}_{n_points}", {**high, "gfn2": cheap}, several)
        if method == "delta":
            return self._errors(f"{method}_{n_points}", both, {**several, "fidelities": {"pbe0": {"base": "gfn2"}}})
        if method == "sequential":
            first = self.steps * 2 // 3
            low = {"gfn2": str(self.low)}
            self._errors("low", low, {"steps": first, "valid": low})
            second = {"init": str(self.output / "low"), "steps": self.steps - first, "learning_rate": TUNING_RATE}
            return self._errors(f"{method}_{n_points}", high, second)
        tuned = {"init": "wb97m-d3", "steps": self.steps // 3, "learning_rate": TUNING_RATE}
        return self._errors(f"{method}_{n_points}", high, tuned)

    def _errors(self, name: str, data: dict[str, Any], options: dict[str, Any]) -> dict[str, float]:
        """Train, or read what a run ended with; the held-out molecules choose nothing."""
        folder = self.output / name
        options = {"steps": self.steps, "valid": self.held_out, **options}
        if not (folder / "report.html").exists():
            epochs = max(1, options.pop("steps") // STEPS_PER_EPOCH)
            fit(data, "aimnet2", output=folder, test=0, batches_per_epoch=STEPS_PER_EPOCH,
                epochs=epochs, seed=self.seed, threads=self.threads, plots=False, progress=False,
                **{"learning_rate": RATE, "allow_overlap": True, **options})  # fmt: skip
        last = json.loads((folder / "history.jsonl").read_text().splitlines()[-1])
        key = "pbe0_" if "pbe0_energy_mae" in last else ""
        return {"energy": 1e3 * last[f"{key}energy_mae"], "forces": 1e3 * last[f"{key}forces_mae"]}


def draw(results: dict[str, dict[str, dict[str, float]]], target: Path) -> None:
    """Learning curves of all methods."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    for axis, (quantity, unit) in zip(axes, (("energy", "meV"), ("forces", "meV/Å"))):
        for method, found in results.items():
            points = sorted(int(n) for n in found)
            axis.loglog(points, [found[str(n)][quantity] for n in points], "o-", label=method)
            axis.set_xticks(points, [str(n) for n in points])
        axis.minorticks_off()
        axis.set_xlabel("systems at PBE0")
        axis.set_ylabel(f"mean absolute error of {quantity} ({unit})")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right", frameon=False)
    figure.suptitle("Seven molecules that no training has seen, at PBE0")
    figure.savefig(target, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("runs/fidelities"))
    parser.add_argument("--points", type=int, nargs="+", default=[50, 100, 200, 400, 846])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    study = Study(options.output, options.steps, options.threads, options.seed)
    target = options.output / "results.json"
    results = json.loads(target.read_text()) if target.exists() else {}
    for n_points in options.points:
        for method in options.methods:
            found = study.run(method, n_points)
            results.setdefault(method, {})[str(n_points)] = found
            target.write_text(json.dumps(results, indent=1))
            print(f"{n_points:5d} {method:15s} energy {found['energy']:8.1f} meV ({found['energy'] / KCAL / 1e3:5.2f} "
                  f"kcal/mol)  forces {found['forces']:7.1f} meV/Å", flush=True)  # fmt: skip
    draw(results, options.output / "curves.png")


if __name__ == "__main__":
    main()
