"""A run before it begins: one structure of every kind goes through the model, and the largest batch is weighed.

What would end a run after hours ends it here, before its folder is there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from molcalc.devices import device_memory
from molcalc.errors import DatasetError, InputError, ResourceError, memory_named
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.label_reader import fidelities_of_model
from molcalc.train.data.parts import Parts
from molcalc.train.loop.potential_task import PotentialTask
from molcalc.train.loop.sampler import parts_of_share
from molcalc.train.loop.trainer import Trainer

log = logging.getLogger(__name__)

WEIGHED_ATOMS = 300
"""Atoms whose memory is measured, from which that of the largest batch follows."""
CURE = "lower batch_size, or raise accumulate"
PEAK = 2.0
"""Memory at its peak in units of what the forward pass keeps: second derivatives keep as much again."""


def rehearse(trainer: Trainer[PotentialTask], parts: Parts) -> None:
    """Send one structure of every kind through the model, and compare the largest batch with the memory there is.

    Parameters
    ----------
    parts : of the run; a kind is a fidelity and the directions that are periodic.

    Raises
    ------
    DatasetError
        When the model cannot compute structures of a kind; names the first and its part.
    ResourceError
        When the largest batch needs more memory than the machine has.
    """
    named = {"training": parts.train, "validation": parts.valid, "test": parts.test}
    for name, part in named.items():
        for system in _one_of_each_kind(part):
            try:
                of_model = fidelities_of_model(trainer.task.model_config, part)
                batch = trainer.task.reader.read(part, np.array([system]), of_model=of_model)
                with memory_named(f"{part.row_name(system)} with {batch.n_atoms} atoms", "leave it out"):
                    trainer.task.predict(batch)
            except InputError as error:
                raise DatasetError(f"{part.row_name(system)} of the {name} part: {error}") from error
    _weigh(trainer)


def _one_of_each_kind(part: Dataset) -> list[int]:
    """Positions of the first structure of every fidelity and periodicity."""
    if not len(part):
        return []
    kinds = np.column_stack([part.fidelity, part.pbc])
    _, first = np.unique(kinds, axis=0, return_index=True)
    return sorted(first.tolist())


def _weigh(trainer: Trainer[PotentialTask]) -> None:
    """Estimate what the largest batch of the first epoch needs from what a small one keeps for its derivatives."""
    train, config, processes = trainer.task.train, trainer.config, trainer.processes
    sizes = train.n_atoms()
    shares = [
        part for batch in trainer.sampler.epoch(0) for part in parts_of_share(batch, processes, config.accumulate)
    ]
    if not shares:
        return
    largest = max(shares, key=lambda part: int(sizes[part].sum()))
    few = largest[: max(1, int(np.searchsorted(np.cumsum(sizes[largest]), WEIGHED_ATOMS)))]
    batch = trainer.task.reader.read(
        trainer.task.train, few, esp_points=config.esp_points, rng=np.random.default_rng(0)
    )
    with _kept_bytes() as kept, memory_named(f"a batch of {len(few)} systems with {batch.n_atoms} atoms", CURE):
        trainer.task.predict(batch, create_graph=True)
    needed = PEAK * kept[0] * float(sizes[largest].sum()) / float(sizes[few].sum())
    memory = device_memory(trainer.device)
    if memory is None or needed < memory[0]:
        return
    text = (
        f"the largest batch, {len(largest)} systems with {int(sizes[largest].sum())} atoms, needs about "
        f"{needed / 1e9:.1f} GB; {memory[0] / 1e9:.1f} of {memory[1] / 1e9:.1f} GB are free: {CURE} "
        f"(now {config.batch_size} {config.batch_mode} and {config.accumulate})"
    )
    if needed > memory[1]:
        raise ResourceError(text)
    log.warning("%s", text)


@contextmanager
def _kept_bytes() -> Iterator[list[int]]:
    """A list whose entry counts the bytes of tensors that are kept for derivatives, each of them once."""
    total, seen = [0], set()

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            total[0] += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield total
