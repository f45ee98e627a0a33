"""Energy conservation and memory of NVE dynamics with the published AIMNet2.

    python benchmarks/dynamics.py [--picoseconds 5]

Caffeine (24 atoms) at 300 K: drift of the total energy in double precision at 0.5 fs, ratio of the energy error at 0.5
and 0.25 fs (4 for a second-order integrator with exact forces), drift with a float32 network, growth of memory.
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

from molcalc.calculators import AIMNet2

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--picoseconds", type=float, default=5.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    double = AIMNet2("wb97m-d3", member=0, dtype="float64")
    start = read(MOLECULE)
    start.calc = double
    BFGS(start, logfile=None).run(fmax=0.01, steps=200)
    thermalize_momenta(start, 600.0, rng=np.random.default_rng(0))  # half goes to potential energy
    Stationary(start)
    ZeroRotation(start)
    steps = int(options.picoseconds * 2000)
    clock = time.perf_counter()
    energies, memory = trajectory(double, start, 0.5, steps)
    print(f"float64 0.5 fs {steps} steps: drift {drift(energies, 0.5, len(start)):+.2e} eV/atom/ps, "
          f"σ(E) {energies.std():.2e} eV, {1e3 * (time.perf_counter() - clock) / steps:.1f} ms/step")  # fmt: skip
    print(f"memory: {memory[200:].max() - memory[200]:+.2f} MB from step 200 to the end")
    short = min(steps, 2000)
    fine, _ = trajectory(double, start, 0.25, 2 * short)
    print(f"error ratio 0.5 : 0.25 fs over {short / 2000:.1f} ps: {energies[:short].std() / fine.std():.2f}")
    single = AIMNet2("wb97m-d3", member=0)
    energies, memory = trajectory(single, start, 0.5, steps)
    print(f"float32 0.5 fs {steps} steps: drift {drift(energies, 0.5, len(start)):+.2e} eV/atom/ps, "
          f"σ(E) {energies.std():.2e} eV; memory {memory[200:].max() - memory[200]:+.2f} MB")  # fmt: skip


if __name__ == "__main__":
    main()
