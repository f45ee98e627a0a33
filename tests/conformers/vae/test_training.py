"""The task that the loop of training carries out for a generator."""

from __future__ import annotations

import numpy as np
import torch

from molcalc.conformers.vae.losses import ObjectiveConfig
from molcalc.conformers.vae.model_files import new_network
from molcalc.conformers.vae.network import VAENetworkConfig
from molcalc.conformers.vae.reference import ReferenceStructure
from molcalc.conformers.vae.training import VAETask
from molcalc.io.checkpoint import ModelConfig
from molcalc.train.data import open_dataset
from molcalc.train.loop.processes import Processes
from tests.helpers.twisted_frames import twisted


def test_noise_follows_from_seed_epoch_and_batch() -> None:
    frames = twisted(6)
    reference = ReferenceStructure.of(frames[0])
    positions = reference.frames_of(frames)

    def noise(seed: int, epoch: int, place: int) -> torch.Tensor:
        task = VAETask(
            model_config=ModelConfig(kind="conformer-vae", arguments={}),
            network=new_network(reference, VAENetworkConfig(n_features=8, latent_dim=3)),
            molecule={}, objective=ObjectiveConfig(), train=positions, valid=positions, rows=open_dataset(frames),
            seed=seed, accumulate=1, processes=Processes(), device=torch.device("cpu"),
        )  # fmt: skip
        (part,) = task.parts(np.arange(6), epoch, place)
        return part.noise

    first = noise(0, 1, 2)
    assert first.shape == (6, 3)
    assert torch.equal(first, noise(0, 1, 2))
    for other in (noise(1, 1, 2), noise(0, 2, 2), noise(0, 1, 3)):
        assert not torch.allclose(first, other)
