"""Potentials of molecules that no training has seen, from heads on the published AIMNet2; makes those of the package.

    python benchmarks/potential_heads.py DATA --output runs/heads [--heads multipoles 4-charges …] [--members 0 1 2 3]
                                         [--epochs 24] [--scratch-epochs 12]

DATA is a folder with multi_esp/multi_esp_{train,valid}.h5 and molecules/molecules_{train,valid}.h5: geometries, dipoles
and potentials at points around them, split by species. One head is trained on every network of the published ensemble,
whose weights stay as they are. ``--heads from-scratch`` trains PhysNet-DCM from random weights on the same potentials
and dipoles. Runs that are in the output folder are read, not repeated.

Writes ``results.md`` (errors on the species of the valid parts) and, where all four members were trained, a folder
``wb97m-d3-NAME`` with the heads alone.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase import Atoms

from molcalc import AIMNet2, PhysNetDCM
from molcalc.calculators.base import MolCalculator
from molcalc.errors import ExtrapolationWarning
from molcalc.io import checkpoint
from molcalc.io.checkpoint import Checkpoint
from molcalc.train import fit

TRUNK = "wb97m-d3"
SETS = ("molecules", "multi_esp")
KCAL = 23.0605  # kcal/mol/e of 1 V
HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    "multipoles": ("aimnet2-dcm", {"n_dcm": 1, "multipoles": True}),
    "4-charges": ("aimnet2-dcm", {"n_dcm": 4}),
    "3-charges": ("aimnet2-dcm", {"n_dcm": 3}),
    "2-charges": ("aimnet2-dcm", {"n_dcm": 2}),
    "1-charge": ("aimnet2-dcm", {"n_dcm": 1}),
    "plain": ("aimnet2-noneq-dcm", {"n_dcm": 4}),
    "from-scratch": ("physnet-dcm", {"n_dcm": 4}),
}
PACKED = {"multipoles": f"{TRUNK}-multipoles", "4-charges": f"{TRUNK}-dcm"}
"""Heads of the package, by their names there."""


@dataclass(frozen=True)
class Reference:
    """A molecule with its potential (V) at points (Å) and its dipole (e·Å)."""

    atoms: Atoms
    points: np.ndarray
    potential: np.ndarray
    dipole: np.ndarray


def references(data: Path, name: str, part: str) -> Iterator[Reference]:
    """Rows of one file."""
    with h5py.File(_file(data, name, part)) as file:
        for group in file.values():
            for row in zip(*(group[key][()] for key in ("numbers", "coord", "charge", "esp_points", "esp", "dipole"))):
                numbers, positions, charge, points, potential, dipole = row
                atoms = Atoms(numbers, positions, info={"charge": int(charge)})
                yield Reference(atoms, points.astype(float), potential.astype(float), dipole.astype(float))


def _file(data: Path, name: str, part: str) -> Path:
    return data / name / f"{name}_{part}.h5"


def trained(data: Path, folder: Path, head: str, member: int, epochs: int) -> float:
    """Train a head, or a network from random weights, unless it is there; processor time in s."""
    if (folder / "report.md").exists():
        return 0.0
    train, valid = ([str(_file(data, name, part)) for name in SETS] for part in ("train", "valid"))
    kind, arguments = HEADS[head]
    files: dict[str, Any] = {"data": {TRUNK: train}, "valid": {TRUNK: valid}, "init": TRUNK, "init_member": member}
    if head == "from-scratch":  # it learns what heads do
        files = {"data": train, "valid": valid, "loss": {"weights": {"energy": 0.0, "forces": 0.0}}}
    started = time.process_time()
    fit(
        model=kind, output=folder, test=0, seed=member, arguments=arguments, epochs=epochs, threads=1, progress=False,
        plots=False, **files,
    )  # fmt: skip
    return time.process_time() - started


def errors(calc: MolCalculator, rows: Sequence[Reference], source: str = "auto") -> list[float]:
    """RMSE of potentials of all, neutral molecules and ions, kcal/mol/e; MAE of dipoles, e·Å."""
    found = calc.evaluate([row.atoms for row in rows], ("dipole", "charges"))
    squares = np.array([
        ((calc.get_esp(row.points, row.atoms, source) - row.potential) ** 2).mean() for row in rows
    ])  # fmt: skip
    ions = np.array([row.atoms.info["charge"] != 0 for row in rows])
    parts = [KCAL * float(np.sqrt(squares[chosen].mean())) for chosen in (np.ones_like(ions), ~ions, ions)]
    dipoles = np.abs([values["dipole"] - row.dipole for values, row in zip(found, rows)])
    return [*parts, float(dipoles.mean())]


def packed(runs: Sequence[Path], target: Path) -> None:
    """Write the heads of several runs as one ensemble, without the weights below them."""
    models = [checkpoint.load(run) for run in runs]
    weights = {
        name.replace("members.0.", f"members.{k}."): value.float()
        for k, model in enumerate(models)
        for name, value in model.weights.items()
        if name.startswith("members.0.head.")
    }
    checkpoint.save(target, Checkpoint(replace(models[0].config, n_members=len(models)), weights))


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, default=Path("runs/heads"))
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=list(HEADS))
    parser.add_argument("--members", nargs="+", type=int, default=[0, 1, 2, 3])
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--scratch-epochs", type=int, default=12, help="of PhysNet-DCM; 12 take as long as one head")
    args = parser.parse_args()
    rows = {name: list(references(args.data, name, "valid")) for name in SETS}
    lines = [
        "| | " + " | ".join(f"{name}: all, neutral, ions; dipole" for name in SETS) + " | seconds |",
        "|---" * (len(SETS) + 2) + "|",
    ]

    def tell(name: str, calc: MolCalculator, seconds: float = 0.0, source: str = "auto") -> None:
        cells = ["{:.3f}, {:.3f}, {:.3f}; {:.4f}".format(*errors(calc, rows[each], source)) for each in SETS]
        lines.append(f"| {name} | {' | '.join(cells)} | {seconds:.0f} |")
        print(lines[-1], flush=True)
        (args.output / "results.md").write_text("\n".join(lines) + "\n")

    args.output.mkdir(parents=True, exist_ok=True)
    tell("published charges", AIMNet2(TRUNK))
    if "from-scratch" in args.heads:
        run = args.output / "from-scratch"
        warnings.simplefilter("ignore", ExtrapolationWarning)  # it knows no energies, which nobody asks for
        seconds = trained(args.data, run, "from-scratch", 0, args.scratch_epochs)
        tell("PhysNet-DCM from random weights", PhysNetDCM(run), seconds, "distributed")
    for head in [head for head in args.heads if head != "from-scratch"]:
        runs, total = [args.output / f"{head}-{member}" for member in args.members], 0.0
        for run, member in zip(runs, args.members):
            seconds = trained(args.data, run, head, member, args.epochs)
            tell(f"{head}, member {member}", AIMNet2(run), seconds, "distributed")
            total += seconds
        if len(runs) > 1:
            tell(f"{head}, mean of {len(runs)}", AIMNet2(runs), total, "distributed")
        if head in PACKED and len(runs) == 4:
            packed(runs, args.output / PACKED[head])


if __name__ == "__main__":
    main()
