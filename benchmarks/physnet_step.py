"""Time of one training step of PhysNet-DCM on CO2: loss of energy, forces, dipole and potential, and its gradient.

    python benchmarks/physnet_step.py [--batches 1 25 100] [--points 512] [--no-coulomb] [--profile]

Milliseconds per sample on one thread, the fastest of all calls (other programs on the machine only add to it).
"forward" is the network, "forces" adds the first gradient (kept differentiable), "loss" the potential at all points,
"step" the gradient of the loss by all weights. The compiled JAX trainer with as many parameters as ``reference`` takes
7.6 / 1.08 / 1.47 ms (equivariant head) and 4.9 / 0.36 / 0.18 ms (plain head) at batch 1 / 25 / 100.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from ase import Atoms

from molcalc.batch import AtomicBatch, collate, from_atoms
from molcalc.derivatives import evaluate
from molcalc.electrostatics.coulomb import PhysNetCoulomb
from molcalc.energy_term import EnergyTerm
from molcalc.potential import Potential
from molcalc.registry import MODELS

ELEMENTS = (6, 8)


def make_batch(n_systems: int, n_points: int, cutoff: float, seed: int = 0) -> AtomicBatch:
    """Bent and stretched CO2 molecules with points around them."""
    rng = np.random.default_rng(seed)
    batches = []
    for _ in range(n_systems):
        positions = np.array([[0.0, 0, 0], [1.16, 0, 0], [-1.16, 0, 0]]) + rng.normal(scale=0.08, size=(3, 3))
        batches.append(from_atoms(Atoms("CO2", positions), cutoff=cutoff, pair_cutoff=np.inf))
    directions = rng.normal(size=(n_systems * n_points, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    points = torch.tensor(directions * rng.uniform(2.5, 4.0, size=(len(directions), 1)))
    index = torch.arange(n_systems).repeat_interleave(n_points)
    return replace(collate(batches), esp_points=points, esp_system_idx=index)


def make_potential(kind: str, size: str, double: bool, coulomb: bool = True) -> Potential:
    """Fresh network, with PhysNet's Coulomb energy if wanted."""
    torch.manual_seed(0)
    entry = MODELS[kind]
    config = entry.config(elements=ELEMENTS) if size == "default" else entry.config.reference_size(ELEMENTS)
    terms: list[EnergyTerm] = [PhysNetCoulomb(config.cutoff)] if coulomb else []
    potential = Potential([entry.network(config).initialize()], terms)
    return potential.set_dtype(torch.float64 if double else torch.float32)


def stages(potential: Potential, batch: AtomicBatch) -> dict[str, Callable[[], None]]:
    """What is timed; each stage contains the one before."""
    parameters = [p for p in potential.parameters() if p.requires_grad]

    def loss() -> torch.Tensor:
        results = evaluate(potential, batch, ("forces", "esp"), create_graph=True)
        return (
            results["energy"].square().mean()
            + results["forces"].square().mean()
            + results["dipole"].square().mean()
            + results["esp"].square().mean()
        )

    def step() -> None:
        torch.autograd.grad(loss(), parameters, allow_unused=True)

    return {
        "forward": lambda: void(potential(batch)),
        "forces": lambda: void(evaluate(potential, batch, ("forces",), create_graph=True)),
        "loss": lambda: void(loss()),
        "step": step,
    }


def void(_: object) -> None:
    """Drop a result."""


def fastest_ms(function: Callable[[], None], repeat: int) -> float:
    """Fastest of ``repeat`` calls after three that do not count."""
    times = []
    for _ in range(repeat + 3):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return min(times[3:])


def show_profile(function: Callable[[], None]) -> None:
    """Table of the operators that take longest in one step."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(10):
            function()
    print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=60))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 25, 100])
    parser.add_argument("--kinds", nargs="+", default=["physnet-dcm", "noneq-dcm"])
    parser.add_argument("--sizes", nargs="+", default=["reference", "default"])
    parser.add_argument("--points", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=30)
    parser.add_argument("--no-coulomb", action="store_true")
    parser.add_argument("--double", action="store_true")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'model':12s} {'size':10s} {'weights':>8s} {'batch':>5s}  forward  forces    loss    step   ms per sample")
    for kind in options.kinds:
        for size in options.sizes:
            potential = make_potential(kind, size, options.double, not options.no_coulomb)
            n_weights = sum(p.numel() for p in potential.parameters())
            for n_systems in options.batches:
                batch = make_batch(n_systems, options.points, potential.cutoff)
                functions = stages(potential, batch)
                times = [fastest_ms(function, options.repeat) / n_systems for function in functions.values()]
                row = " ".join(f"{t:7.3f}" for t in times)
                print(f"{kind:12s} {size:10s} {n_weights:8d} {n_systems:5d}  {row}", flush=True)
                if options.profile:
                    show_profile(functions["step"])


if __name__ == "__main__":
    main()
