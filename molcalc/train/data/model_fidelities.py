"""The fidelities of a model that the structures of a dataset are compared with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.errors import UnsupportedElementError
from molcalc.fidelity import Fidelity, match_fidelities
from molcalc.io.checkpoint import ModelConfig
from molcalc.train.data.dataset import Dataset
from molcalc.units import symbols_of


def fidelities_of_model(config: ModelConfig, data: Dataset, fidelity: str | None = None) -> Tensor:
    """For every fidelity of the data the index of the one of a model that it is compared with, (n,) int64.

    Parameters
    ----------
    fidelity : of the model, for data whose fidelity has no name.

    Returns
    -------
    (n,) int64

    Raises
    ------
    FidelityError
        As :func:`molcalc.fidelity.match_fidelities` tells.
    UnsupportedElementError
        When the data have an element that the fidelity of the model does not know.
    """
    found = match_fidelities([item.name for item in config.fidelities], data.fidelities, fidelity)
    for k, index in enumerate(found):
        _check_elements(config, config.fidelities[index], elements_of(data, k))
    return torch.tensor(found)


def at_fidelities(batch: AtomicBatch, of_model: Tensor) -> AtomicBatch:
    """The batch with fidelities of a model, from :func:`fidelities_of_model`, in place of those of the data."""
    return replace(batch, fidelity=of_model.index_select(0, batch.fidelity))


def elements_of(data: Dataset, fidelity: int) -> tuple[int, ...]:
    """Atomic numbers that occur at a fidelity of a dataset, ascending."""
    part = data.subset(np.flatnonzero(data.fidelity == fidelity))
    return tuple(int(z) for z in np.unique(part.numbers))


def _check_elements(config: ModelConfig, fidelity: Fidelity, elements: tuple[int, ...]) -> None:
    known = config.arguments["elements"] if fidelity.elements is None else fidelity.elements
    strange = set(elements) - set(known)
    if strange:
        at = f" at fidelity {fidelity.name!r}" if len(config.fidelities) > 1 else ""
        raise UnsupportedElementError(
            f"the data have {symbols_of(strange)}, which the model does not know{at}; it knows {symbols_of(known)}"
        )
