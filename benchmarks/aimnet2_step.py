"""Time of one MD step (energy and forces through ASE) with AIMNet2: compiled, in torch, and by the package aimnet.

    python benchmarks/aimnet2_step.py [--threads 1] [--repeat 15] [--member 0] [--ensemble] [--no-peer]

All hold the same network (one member of the published ensemble, Coulomb and D3 included; --ensemble adds a column for
all four), run in one process and take turns on the same fresh geometries. Medians in ms, the fastest call in brackets;
ratios to the compiled step are medians over pairs of calls. Products are those of the perceptrons of one network alone,
forward and back.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from molcalc import AIMNet2
from molcalc.pretrained.catalog import PUBLISHED, find_file
from molcalc.steps import TorchStep
from tests.helpers.peers import write_v2_file

SIZES = (3, 30, 81, 192, 648)


def water_cluster(n_atoms: int, seed: int = 0) -> Atoms:
    """Water molecules on a jittered grid at the density of the liquid."""
    rng = np.random.default_rng(seed)
    water, n_molecules = molecule("H2O"), n_atoms // 3
    edge = int(np.ceil(n_molecules ** (1 / 3)))
    sites = np.array([(i, j, k) for i in range(edge) for j in range(edge) for k in range(edge)])
    sites = sites[np.argsort(np.linalg.norm(sites - (edge - 1) / 2, axis=1), kind="stable")[:n_molecules]]
    cluster = Atoms()
    for site in sites:
        copy = water.copy()
        copy.rotate(rng.uniform(0, 360), rng.normal(size=3))
        copy.translate(site * 3.1 + rng.uniform(-0.1, 0.1, 3))
        cluster += copy
    return cluster


def peer_calculator(member: int):
    """aimnet's ASE calculator with the same weights."""
    from aimnet.calculators import AIMNet2ASE, AIMNet2Calculator

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "member.pt"
        write_v2_file(find_file(PUBLISHED["wb97m-d3"].file), member, path)
        return AIMNet2ASE(AIMNet2Calculator(str(path)))


def step(atoms: Atoms, calculator, positions: np.ndarray) -> float:
    """Milliseconds for energy and forces of a fresh geometry."""
    atoms.calc = calculator
    atoms.positions = positions
    start = time.perf_counter()
    atoms.get_potential_energy()
    atoms.get_forces()
    return 1e3 * (time.perf_counter() - start)


def products(calculator: AIMNet2, n_atoms: int) -> float:
    """Fastest of some runs through the matrix products of one step, in ms."""
    layers = [layer for layer in calculator.potential.networks[0].passes.modules() if isinstance(layer, nn.Linear)]
    inputs = [torch.ones(n_atoms, layer.in_features, dtype=layer.weight.dtype) for layer in layers]
    outputs = [torch.ones(n_atoms, layer.out_features, dtype=layer.weight.dtype) for layer in layers]
    times = []
    with torch.no_grad():
        for _ in range(20):
            start = time.perf_counter()
            for layer, x, y in zip(layers, inputs, outputs):
                torch.addmm(layer.bias, x, layer.weight.t(), out=y)
            for layer, x, y in zip(layers, inputs, outputs):
                torch.mm(y, layer.weight, out=x)
            times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def in_torch(calculator: AIMNet2) -> AIMNet2:
    """The same calculator without its compiled step."""
    copied = calculator.clone()
    copied.predictor._step = TorchStep(calculator.potential)
    return copied


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--member", type=int, default=0)
    parser.add_argument("--ensemble", action="store_true", help="four networks beside one, in place of aimnet")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    ours = AIMNet2("wb97m-d3", member=options.member)
    columns = {"compiled": ours, "torch": in_torch(ours)}
    if options.ensemble:
        columns["ensemble"] = AIMNet2("wb97m-d3")
    elif not options.no_peer:
        columns["aimnet"] = peer_calculator(options.member)
    rng = np.random.default_rng(1)
    titles = "".join(f"{name:>18}" for name in columns) + "".join(f"{name + ' /':>11}" for name in list(columns)[1:])
    print(f"{'threads':>7} {'atoms':>6} {'products':>9}{titles}  |ΔF| eV/Å")
    for threads in options.threads:
        torch.set_num_threads(threads)
        for n_atoms in options.sizes:
            atoms = water_cluster(n_atoms)
            start, times, difference = atoms.positions.copy(), [], 0.0
            for k in range(options.repeat + 3):
                positions = start + rng.normal(scale=0.02, size=start.shape)
                row, forces = [], []
                for calculator in columns.values():
                    row.append(step(atoms, calculator, positions))
                    forces.append(atoms.get_forces())
                difference = max(difference, *(float(np.abs(f - forces[0]).max()) for f in forces[1:]))
                if k >= 3:
                    times.append(row)
            table = np.array(times)
            cells = "".join(f"{np.median(t):9.2f} ({t.min():6.2f})" for t in table.T)
            ratios = "".join(f"{np.median(t / table[:, 0]):11.2f}" for t in table.T[1:])
            print(
                f"{threads:7d} {n_atoms:6d} {products(ours, n_atoms):9.2f}{cells}{ratios}  {difference:.1e}", flush=True
            )


if __name__ == "__main__":
    main()
