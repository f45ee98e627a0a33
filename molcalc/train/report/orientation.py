"""How much a potential that does not turn with the molecule depends on its orientation."""

from __future__ import annotations

import numpy as np
import torch

from molcalc.assembly.potentials import training_potential
from molcalc.io.checkpoint import Checkpoint
from molcalc.registry import build_members
from molcalc.train.config import FitConfig
from molcalc.train.data.dataset import Dataset
from molcalc.train.loop.augmentation import rotated
from molcalc.train.loop.feeding import LabelReader
from molcalc.train.loop.predictions import predict

SYSTEMS, ROTATIONS = 16, 50


def potential_spread(model: Checkpoint, data: Dataset, config: FitConfig) -> float:
    """Standard deviation of the electrostatic potential over random rotations, in V.

    Root mean square over all points of the first systems of ``data``; zero for a model that turns with the molecule.
    """
    potential = training_potential(model.config, build_members(model)[:1]).set_dtype(torch.float64)
    batch = LabelReader(potential, ("esp",), (), config).read(data, np.arange(min(SYSTEMS, len(data))))
    rng = np.random.default_rng(config.seed)
    values = [predict(potential, rotated(batch, rng), ("esp",))["esp"] for _ in range(ROTATIONS)]
    return float(torch.stack(values).std(dim=0).square().mean().sqrt())
