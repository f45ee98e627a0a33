"""Training throughput of AIMNet2 on forces, beside the matrix products it cannot do without.

    python benchmarks/aimnet2_training.py [--atoms 512] [--repeat 10] [--precision float32|bf16]

One step: energies, forces and charges of a batch, gradient of the loss through the forces, AdamW. The products alone
are those of forward, force and double backward pass: six per weight matrix. Steps and products take turns; one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from molcalc.assembly.potentials import training_potential
from molcalc.batch import AtomicBatch
from molcalc.train.data import open_dataset
from molcalc.train.loop.losses import Loss, LossConfig
from molcalc.train.loop.predictions import predict
from molcalc.train.optimize.optimizers import create_optimizer
from molcalc.train.start import initial_model
from molcalc.train.start.start_config import StartConfig

DATA = Path(__file__).parents[1] / "tests" / "data" / "training" / "small_molecules.db"
LABELS = ("energy", "forces", "charges")


def products(network: nn.Module, n_atoms: int) -> float:
    """Seconds that the matrix products of one step take."""
    matrices = [layer.weight.detach() for layer in network.modules() if isinstance(layer, nn.Linear)]
    inputs = [(w, torch.randn(n_atoms, w.shape[1]), torch.randn(n_atoms, w.shape[0])) for w in matrices]
    start = time.perf_counter()
    for w, x, g in inputs:
        _ = x @ w.T, g @ w, x @ w.T, g @ w, g.T @ x, g.T @ x
    return time.perf_counter() - start


def batch_of(n_atoms: int, cutoff: float, pair_cutoff: float | None, cache: str) -> AtomicBatch:
    """Systems of the data set, again and again, until there are ``n_atoms``."""
    data = open_dataset(DATA, cache=cache)
    order = np.resize(np.random.default_rng(0).permutation(len(data)), n_atoms)
    chosen = order[: np.searchsorted(np.cumsum(data.n_atoms()[order]), n_atoms) + 1]
    return data.batch(chosen, cutoff=cutoff, pair_cutoff=pair_cutoff, labels=LABELS)


class TrainingStep:
    """A step of training, which is called again and again.

    Parameters
    ----------
    n_atoms : of the batch, at least.
    precision : "float32" or "bf16".
    cache : folder for the data as they are packed.
    """

    def __init__(self, n_atoms: int, precision: str, cache: str) -> None:
        start = initial_model.new_model(StartConfig(model="aimnet2"), open_dataset(DATA, cache=cache), seed=0)
        self._network = initial_model.cast(start.network, "float32", 1)
        self._potential = training_potential(start.config, [self._network])
        self.batch = batch_of(n_atoms, self._potential.cutoff, self._potential.pair_cutoff, cache)
        self.n_atoms = self.batch.n_atoms
        self._loss = Loss(LossConfig(weights={"energy": 1.0, "forces": 5.0, "charges": 5.0}))
        self._optimizer = create_optimizer("adamw", 1e-5)(self._network)
        self._half = precision == "bf16"

    def __call__(self) -> float:
        """Seconds of one step."""
        start = time.perf_counter()
        self._optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16) if self._half else contextlib.nullcontext():
            results = predict(self._potential, self.batch, LABELS, create_graph=True)
        value, _ = self._loss(results, self.batch, self._loss.counts(self.batch))
        value.backward(inputs=self._optimizer.parameters)
        self._optimizer.step()
        return time.perf_counter() - start

    def products(self) -> float:
        """Seconds that the matrix products of one step take."""
        return products(self._network, self.n_atoms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--atoms", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as cache:
        step = TrainingStep(options.atoms, options.precision, cache)
        for _ in range(3):
            step()
        times = np.array([(step(), step.products()) for _ in range(options.repeat)])
    whole, alone = np.median(times, axis=0)
    batch = step.batch
    print(
        f"{options.precision}, {batch.n_atoms} atoms in {batch.n_systems} molecules, {len(batch.edge_index[0])} edges"
    )
    print(f"step          {1e3 * whole:7.1f} ms {batch.n_atoms / whole:8.0f} atoms/s")
    print(f"products only {1e3 * alone:7.1f} ms {batch.n_atoms / alone:8.0f} atoms/s (float32), "
          f"{100 * alone / whole:.0f} % of the step")  # fmt: skip


if __name__ == "__main__":
    main()
