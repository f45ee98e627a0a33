"""Spread of a potential over orientations, for models that do not turn with the molecule."""

from __future__ import annotations

import numpy as np
import torch

from molcalc.assembly.potentials import training_potential
from molcalc.io.checkpoint import Checkpoint
from molcalc.registry import build_members
from molcalc.train.data.comparison import Comparison
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.label_reader import LabelReader
from molcalc.train.loop.augmentation import rotated
from molcalc.train.loop.predictions import predict

SYSTEMS, ROTATIONS = 16, 50


def potential_spread(model: Checkpoint, data: Dataset, comparison: Comparison, seed: int) -> float:
    """Standard deviation of the electrostatic potential over random rotations, in V.

    Root mean square over all points of the first systems of ``data``; zero for a model that turns with the molecule.

    Parameters
    ----------
    comparison : says which points count.
    seed : of the rotations.

    Returns
    -------
    V
    """
    potential = training_potential(model.config, build_members(model)[:1]).set_dtype(torch.float64)
    batch = LabelReader(potential, ("esp",), (), comparison).read(data, np.arange(min(SYSTEMS, len(data))))
    rng = np.random.default_rng(seed)
    values = [predict(potential, rotated(batch, rng), ("esp",))["esp"] for _ in range(ROTATIONS)]
    return float(torch.stack(values).std(dim=0).square().mean().sqrt())
