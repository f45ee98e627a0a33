"""The contract of what a run of training learns: a network, batches for it, their loss, and how good it is.

The loop knows nothing else of it. A task that keeps to this contract has checkpoints, exact resume, averaged weights,
schedules, several processes, history, records and interruption of the same loop as all others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from torch import Tensor, nn

from molcalc.io.checkpoint import Checkpoint, ModelConfig

PartT = TypeVar("PartT")
OF_ONE_NETWORK = "members.0."
"""Of weights in a model of one network."""
NAMED_SYSTEMS = 8
"""Systems of a batch that messages name."""


class Judgement(NamedTuple):
    """How good a network is on the validation part.

    Attributes
    ----------
    loss : as in training.
    score : what the best model is chosen by; smaller is better.
    metrics : errors by name, for the history.
    """

    loss: float
    score: float
    metrics: dict[str, float]


class Task(ABC, Generic[PartT]):
    """What is learned.

    Attributes
    ----------
    model_config : declaration of the model.
    network : on its device.
    terms : names of the terms of the loss.
    """

    model_config: ModelConfig
    network: nn.Module
    terms: tuple[str, ...]

    @abstractmethod
    def parts(self, systems: np.ndarray, epoch: int, place: int) -> list[PartT]:
        """Systems of one batch in the parts in which this process works through its share of them.

        Whatever is random follows from seed, epoch and place: runs resume exactly. It is called in a thread of its own,
        while the batch before is worked on.

        Parameters
        ----------
        systems : positions in the training part.
        epoch, place : of the batch.

        Returns
        -------
        parts; none where there are fewer systems than processes
        """

    @abstractmethod
    def counts(self, part: PartT) -> Tensor:
        """(n_terms,) float64 number of values that each term averages over."""

    @abstractmethod
    def losses(self, part: PartT, counts: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """Compare a part with what it should be.

        Parameters
        ----------
        counts : (n_terms,) of the whole batch, on all processes.
        progress : share of the run that is over, 0…1.

        Returns
        -------
        loss : () float64, share of this part; its graph is kept.
        averages : (n_terms,) float64, detached, without weights.
        """

    @abstractmethod
    def judge(self) -> Judgement:
        """Loss and errors of the present weights on the validation part."""

    @abstractmethod
    def system_name(self, system: int) -> str:
        """Where a system of the training part comes from, for messages."""

    @abstractmethod
    def size(self, part: PartT) -> tuple[int, int]:
        """Number of systems and of atoms of a part."""

    def checkpoint(self) -> Checkpoint:
        """The model with copies of its present weights, on the processor."""
        return checkpointed(self.model_config, self.network.state_dict())

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Put weights of a checkpoint into the network."""
        own = {name: value for name, value in weights.items() if name.startswith(OF_ONE_NETWORK)}
        self.network.load_state_dict({name.removeprefix(OF_ONE_NETWORK): value for name, value in own.items()})


def checkpointed(model_config: ModelConfig, arrays: Mapping[str, Tensor]) -> Checkpoint:
    """A model of one network from copies of its weights by name."""
    weights = {OF_ONE_NETWORK + name: value.detach().to("cpu", copy=True) for name, value in arrays.items()}
    return Checkpoint(model_config, weights)


def names_of(task: Task[PartT], systems: np.ndarray) -> str:
    """Some systems by name, for messages."""
    names = ", ".join(task.system_name(int(k)) for k in systems[:NAMED_SYSTEMS])
    return f"{names} and {len(systems) - NAMED_SYSTEMS} more" if len(systems) > NAMED_SYSTEMS else names
