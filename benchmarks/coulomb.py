"""Time of the Coulomb terms: energy with gradients by positions, charges and (crystals) cell.

    python benchmarks/coulomb.py [--threads 1] [--repeat 7] [--largest 10000]

Medians in ms over fresh geometries. Molecules: all pairs ("simple"). Crystals: Ewald and, where nvalchemi-toolkit-ops
is installed, particle-mesh Ewald, at the same accuracy; the exponent p of cost = n^p is that between neighboring sizes.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from molcalc.batch import AtomicBatch, from_atoms
from molcalc.electrostatics.coulomb import EwaldCoulomb, PMECoulomb, SimpleCoulomb
from molcalc.energy_term import EnergyTerm
from molcalc.errors import ConfigError

MOLECULES = (3, 24, 81, 192, 648)
CRYSTALS = (125, 1000, 3375, 10648)
DENSITY = 0.1
"""Atoms per Å³, as in liquid water."""
ACCURACY = 1e-6


def jittered_grid(n_atoms: int, periodic: bool) -> Atoms:
    """Atoms near the points of a cubic grid, at the density of a liquid."""
    edge = math.ceil(n_atoms ** (1 / 3))
    spacing = DENSITY ** (-1 / 3)
    sites = np.stack(np.meshgrid(*[np.arange(edge)] * 3), axis=-1).reshape(-1, 3)[:n_atoms]
    positions = sites * spacing + np.random.default_rng(0).normal(0, 0.25, (n_atoms, 3))
    return Atoms(f"H{n_atoms}", positions, cell=[edge * spacing] * 3, pbc=periodic)


def neutral_charges(n_atoms: int) -> torch.Tensor:
    charges = torch.tensor(np.random.default_rng(1).normal(0, 0.4, n_atoms))
    return charges - charges.mean()


def gradient(term: EnergyTerm, batch: AtomicBatch, charges: torch.Tensor) -> Callable[[], None]:
    """A call that moves the atoms a little and computes energy and gradients."""
    rng = np.random.default_rng(2)
    charges = charges.requires_grad_()

    def call() -> None:
        moved = batch.positions + torch.tensor(rng.normal(0, 0.01, (batch.n_atoms, 3)))
        here = replace(batch, positions=moved.requires_grad_(), cell=batch.cell.clone().requires_grad_(batch.periodic))
        leaves = [here.positions, charges] + ([here.cell] if batch.periodic else [])
        torch.autograd.grad(term(here, {"charges": charges}).sum(), leaves)

    return call


def median_ms(call: Callable[[], None], repeat: int) -> float:
    call()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--largest", type=int, default=max(CRYSTALS), help="largest crystal")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print("simple, molecules")
    for n_atoms in MOLECULES:
        batch = from_atoms(jittered_grid(n_atoms, False), cutoff=1.0, pair_cutoff=math.inf)
        repeat = args.repeat * (20 if n_atoms < 200 else 3)
        milliseconds = median_ms(gradient(SimpleCoulomb(), batch, neutral_charges(n_atoms)), repeat)
        print(f"{n_atoms:7d} atoms {batch.pair_index.shape[1]:8d} pairs {milliseconds:9.3f} ms")
    for name, build in (("Ewald", EwaldCoulomb), ("particle-mesh Ewald", PMECoulomb)):
        try:
            term = build(ACCURACY)
        except ConfigError as error:
            print(f"{name}: left out ({error})")
            continue
        print(f"{name}, crystals, accuracy {ACCURACY:g}")
        before = None
        for n_atoms in (n for n in CRYSTALS if n <= args.largest):
            batch = from_atoms(jittered_grid(n_atoms, True), cutoff=1.0)
            milliseconds = median_ms(gradient(term, batch, neutral_charges(n_atoms)), args.repeat)
            exponent = (
                ""
                if before is None
                else f"  p = {math.log(milliseconds / before[1]) / math.log(n_atoms / before[0]):.2f}"
            )
            print(f"{n_atoms:7d} charges {milliseconds:9.1f} ms{exponent}", flush=True)
            before = n_atoms, milliseconds


if __name__ == "__main__":
    main()
