"""Training of a generator by the loop that trains potentials."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from molcalc.conformers.vae.losses import (
    STIFF_APART,
    ObjectiveConfig,
    center_volumes,
    divergence,
    pair_distances,
    reconstruction_terms,
    torsion_vectors,
)
from molcalc.conformers.vae.network import VAENetwork
from molcalc.io.checkpoint import Checkpoint, ModelConfig
from molcalc.train.data.dataset import Dataset
from molcalc.train.loop.processes import Processes
from molcalc.train.loop.sampler import parts_of_share
from molcalc.train.loop.task import Judgement, Task

DECODED_PAIRS = 4_000
"""Pairs of atoms in one pass without derivatives: what belongs to them stays near the processor."""
ACTIVE = 0.01
"""Variance of posterior means above which a latent dimension says something."""


@dataclass(frozen=True)
class FramePart:
    """Structures of a part of a batch, and noise for their latents.

    Attributes
    ----------
    positions : (n_structures, n_atoms, 3) Å.
    noise : (n_structures, n_latent), standard normal.
    """

    positions: Tensor
    noise: Tensor


class VAETask(Task[FramePart]):
    """A generator, the structures that it learns, and those that it is reconstruction_errors by.

    Parameters
    ----------
    molecule : arrays of the molecule, for checkpoints.
    train, valid : (n_structures, n_atoms, 3) Å, checked.
    rows : of ``train``, for names.
    accumulate : parts of a batch.
    """

    def __init__(
        self,
        *,
        model_config: ModelConfig,
        network: VAENetwork,
        molecule: Mapping[str, Tensor],
        objective: ObjectiveConfig,
        train: np.ndarray,
        valid: np.ndarray,
        rows: Dataset,
        seed: int,
        accumulate: int,
        processes: Processes,
        device: torch.device,
    ) -> None:
        self.model_config, self.network, self.objective = model_config, network, objective
        self._vae, self._molecule = network, dict(molecule)
        self.terms = ("distances", *objective.further_terms, "divergence")
        dtype = network.least.dtype
        self.train = torch.from_numpy(train).to(device, dtype)
        self.valid = torch.from_numpy(valid).to(device, dtype)
        self._rows, self._seed, self._accumulate, self._processes = rows, seed, accumulate, processes

    def parts(self, systems: np.ndarray, epoch: int, place: int) -> list[FramePart]:
        """This process's share of a batch, with its noise."""
        rng = np.random.default_rng([self._seed, epoch, place, self._processes.rank])
        parts = []
        for part in parts_of_share(systems, self._processes, self._accumulate):
            noise = rng.standard_normal((len(part), self._vae.config.latent_dim))
            parts.append(FramePart(self.train[torch.from_numpy(part)], torch.from_numpy(noise).to(self.train)))
        return parts

    def counts(self, part: FramePart) -> Tensor:
        """(n_terms,) number of structures."""
        return torch.full((len(self.terms),), float(len(part.positions)), dtype=torch.float64)

    def losses(self, part: FramePart, counts: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """Cost of reconstructions, and divergence of posteriors from the prior with the weight that it has by now."""
        means, log_variances = self._vae.encode(part.positions)
        made = self._vae.decode(means + (0.5 * log_variances).exp() * part.noise)
        found = reconstruction_terms(made, part.positions, self._vae.topology, self.objective)
        sums = torch.stack([found[name].double().sum() for name in self.terms[:-1]])
        by_dimension = divergence(means, log_variances).double().mean(0)
        share = len(part.positions) / counts[-1]
        beta = self.objective.beta * min(1.0, progress / max(self.objective.beta_rise, 1e-9))
        total = (sums / counts[:-1]).sum() + share * beta * by_dimension.clamp(min=self.objective.free_bits).sum()
        averages = torch.cat([sums / counts[:-1], (share * by_dimension.sum())[None]])
        return total, averages.detach()

    @torch.no_grad()
    def judge(self) -> Judgement:
        """Cost and errors of held-out structures, decoded from the means of their posteriors."""
        return reconstruction_errors(self._vae, self.valid, self.objective)

    def checkpoint(self) -> Checkpoint:
        """The model with its molecule."""
        found = super().checkpoint()
        return replace(found, weights={**found.weights, **self._molecule})

    def system_name(self, system: int) -> str:
        """File and row of a training structure."""
        return self._rows.row_name(system)

    def size(self, part: FramePart) -> tuple[int, int]:
        """Number of structures and of atoms."""
        return len(part.positions), len(part.positions) * part.positions.shape[1]


def at_once(network: VAENetwork) -> int:
    """Structures of one pass without derivatives."""
    return max(1, DECODED_PAIRS // len(network.encoder.own.numbers) ** 2)


@torch.no_grad()
def encoded(network: VAENetwork, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Means and log-variances of any number of structures."""
    found = [network.encode(block) for block in positions.split(at_once(network))]
    return torch.cat([means for means, _ in found]), torch.cat([log_variances for _, log_variances in found])


@torch.no_grad()
def decoded(network: VAENetwork, latents: Tensor) -> Tensor:
    """Structures of any number of latents, (n_structures, n_atoms, 3) Å."""
    return torch.cat([network.decode(block) for block in latents.split(at_once(network))])


def reconstruction_errors(network: VAENetwork, positions: Tensor, objective: ObjectiveConfig) -> Judgement:
    """How well structures are reconstructed from the means of their posteriors.

    Parameters
    ----------
    positions : (n_structures, n_atoms, 3) Å.

    Returns
    -------
    Cost in nats of a structure, and by name: RMSE of distances (``pair_rmse``, ``bond_rmse``, ``angle_rmse`` of pairs
    two bonds apart, Å), ``stereo`` (share of centers with the right sign), ``torsion_error`` (median, degrees),
    ``mirror_error`` (share of torsions more than 15° from flat with the wrong sign), ``divergence`` (nat) and
    ``active_units``.
    """
    means, log_variances = encoded(network, positions)
    made, topology, size = decoded(network, means), network.topology, at_once(network)
    parts = [
        reconstruction_terms(some_made, some_true, topology, objective)
        for some_made, some_true in zip(made.split(size), positions.split(size))
    ]
    cost = sum(float(torch.cat([part[name] for part in parts]).double().mean()) for name in parts[0])
    by_dimension = divergence(means, log_variances).double().mean(0)
    cost += objective.beta * float(by_dimension.sum())
    errors = (pair_distances(made, topology.pairs) - pair_distances(positions, topology.pairs)).double().square()
    metrics = {"pair_rmse": math.sqrt(float(errors.mean()))}
    for name, apart in (("bond_rmse", 1), ("angle_rmse", STIFF_APART)):
        chosen = topology.bonds_apart == apart
        if bool(chosen.any()):
            metrics[name] = math.sqrt(float(errors[:, chosen].mean()))
    if topology.centers.shape[1]:
        same = center_volumes(made, topology.centers).sign() == center_volumes(positions, topology.centers).sign()
        metrics["stereo"] = float(same.double().mean())
    if topology.torsions.shape[1]:
        angles, true = (torch.atan2(*torsion_vectors(x, topology.torsions)) for x in (made, positions))
        away = torch.atan2((angles - true).sin(), (angles - true).cos()).abs()
        metrics["torsion_error"] = math.degrees(float(away.median()))
        twisted = true.sin().abs() > math.sin(math.radians(15.0))
        if bool(twisted.any()):
            metrics["mirror_error"] = float((angles.sign() != true.sign())[twisted].double().mean())
    metrics["divergence"] = float(by_dimension.sum())
    metrics["active_units"] = float((means.var(0) > ACTIVE).sum()) if len(means) > 1 else 0.0
    return Judgement(cost, cost, metrics)
