"""Energy conservation and memory of NVE dynamics with the published AIMNet2.

    python benchmarks/dynamics.py [--picoseconds 5] [--precision both|float64|float32]

Caffeine (24 atoms) at 300 K: drift of the total energy in double precision at 0.5 fs, ratio of the energy error at 0.5
and 0.25 fs (4 for a second-order integrator with exact forces), growth of memory. Two stacked caffeines (48 atoms, more
than run in double precision anyway): drift with large matrix products in float32.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from ase import units
from ase.io import read
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from tqdm import tqdm

from molcalc import AIMNet2

MOLECULE = Path(__file__).parents[1] / "examples" / "data" / "caffeine.xyz"


def trajectory(calculator: AIMNet2, start, timestep: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Total energy in eV and resident memory in MB after every step."""
    atoms = start.copy()
    atoms.calc = calculator
    process, energies, memory = psutil.Process(), [], []
    dynamics = VelocityVerlet(atoms, timestep * units.fs)
    progress = tqdm(total=steps, mininterval=5)

    def record() -> None:
        energies.append(atoms.get_total_energy())
        memory.append(process.memory_info().rss / 1e6)
        progress.update()

    dynamics.attach(record)
    dynamics.run(steps)
    progress.close()
    return np.array(energies), np.array(memory)


def drift(energies: np.ndarray, timestep: float, n_atoms: int) -> float:
    """Slope of the total energy in eV/atom/ps."""
    times = np.arange(len(energies)) * timestep / 1000
    return float(np.polyfit(times, energies, 1)[0] / n_atoms)


def prepared(molecule, calculator: AIMNet2):
    """A relaxed structure with velocities of 300 K once half of the energy has become potential."""
    molecule.calc = calculator
    BFGS(molecule, logfile=None).run(fmax=0.01, steps=300)
    thermalize_momenta(molecule, 600.0, rng=np.random.default_rng(0))
    Stationary(molecule)
    ZeroRotation(molecule)
    return molecule


def report(name: str, energies: np.ndarray, memory: np.ndarray, n_atoms: int, seconds: float) -> None:
    """One line of figures."""
    steps = len(energies) - 1
    print(f"{name} {n_atoms} atoms, 0.5 fs, {steps} steps: drift {drift(energies, 0.5, n_atoms):+.2e} eV/atom/ps, "
          f"σ(E) {energies.std():.2e} eV, memory {memory[200:].max() - memory[200]:+.2f} MB after step 200, "
          f"{1e3 * seconds / steps:.1f} ms/step")  # fmt: skip


def double_precision(steps: int) -> None:
    """Drift, memory and order of the integrator."""
    calculator = AIMNet2("wb97m-d3", member=0, dtype="float64")
    start = prepared(read(MOLECULE), calculator)
    clock = time.perf_counter()
    energies, memory = trajectory(calculator, start, 0.5, steps)
    report("float64", energies, memory, len(start), time.perf_counter() - clock)
    short = min(steps, 2000)
    fine, _ = trajectory(calculator, start, 0.25, 2 * short)
    print(f"error ratio 0.5 : 0.25 fs over {short / 2000:.1f} ps: {energies[:short].std() / fine.std():.2f}")


def single_precision(steps: int) -> None:
    """Drift and memory."""
    calculator = AIMNet2("wb97m-d3", member=0)
    pair = read(MOLECULE)
    other = pair.copy()
    other.positions += 3.6 * np.linalg.svd(pair.positions - pair.positions.mean(axis=0))[2][2]  # along its normal
    start = prepared(pair + other, calculator)
    clock = time.perf_counter()
    energies, memory = trajectory(calculator, start, 0.5, steps)
    report("float32", energies, memory, len(start), time.perf_counter() - clock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--picoseconds", type=float, default=5.0)
    parser.add_argument("--precision", choices=("both", "float64", "float32"), default="both")
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps = int(options.picoseconds * 2000)
    if options.precision != "float32":
        double_precision(steps)
    if options.precision != "float64":
        single_precision(steps)


if __name__ == "__main__":
    main()
