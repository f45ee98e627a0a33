"""Time of one MD step (energy and forces through ASE) with AIMNet2, beside the package aimnet.

    python benchmarks/aimnet2_step.py [--threads 1] [--repeat 15] [--member 0]

Both calculators hold the same network (one member of the published ensemble, Coulomb and D3 included), run in one
process and take turns on the same fresh geometries. Medians in ms; the ratio is the median over pairs of calls.
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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from molcalc import AIMNet2
from molcalc.pretrained.catalog import PUBLISHED, find_file
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--member", type=int, default=0)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    ours = AIMNet2("wb97m-d3", member=options.member)
    peer = None if options.no_peer else peer_calculator(options.member)
    rng = np.random.default_rng(1)
    print(f"{'threads':>7} {'atoms':>6} {'molcalc ms':>11} {'aimnet ms':>10} {'ratio':>6}  |ΔF| eV/Å")
    for threads in options.threads:
        torch.set_num_threads(threads)
        for n_atoms in options.sizes:
            atoms = water_cluster(n_atoms)
            start, times, difference = atoms.positions.copy(), [], 0.0
            for k in range(options.repeat + 3):
                positions = start + rng.normal(scale=0.02, size=start.shape)
                mine = step(atoms, ours, positions)
                theirs = np.nan
                if peer is not None:
                    forces = atoms.get_forces()
                    theirs = step(atoms, peer, positions)
                    difference = max(difference, float(np.abs(forces - atoms.get_forces()).max()))
                if k >= 3:
                    times.append((mine, theirs))
            mine, theirs = np.median(times, axis=0)
            ratio = np.median([b / a for a, b in times])
            print(f"{threads:7d} {n_atoms:6d} {mine:11.2f} {theirs:10.2f} {ratio:6.2f}  {difference:.1e}", flush=True)


if __name__ == "__main__":
    main()
