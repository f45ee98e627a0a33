"""Potentials as what is learned: labels of structures, with energies and their gradients."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molcalc.assembly.potentials import training_potential
from molcalc.batch import AtomicBatch
from molcalc.nn.segments import segment_sum
from molcalc.potential import Potential
from molcalc.train.data.comparison import Comparison
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.label_reader import LabelReader, fidelities_of_model
from molcalc.train.loop.augmentation import rotated
from molcalc.train.loop.loop_config import LoopConfig
from molcalc.train.loop.losses import Loss
from molcalc.train.loop.metrics import compared
from molcalc.train.loop.predictions import predict
from molcalc.train.loop.processes import Processes
from molcalc.train.loop.sampler import by_name, parts_of_share
from molcalc.train.loop.task import Judgement, Task
from molcalc.train.loop.validation import Validation
from molcalc.train.start.initial_model import InitialModel


class PotentialTask(Task[AtomicBatch]):
    """A potential, the labels that it learns, and those that it is judged by.

    Parameters
    ----------
    config : precision, points, orientations, and how batches are divided.
    comparison : which labels count.
    seed : of everything random in batches.
    initial : network on its device, and what is taken out of labels.
    train, valid : systems to learn from, and to choose the best model by.
    """

    def __init__(
        self,
        *,
        config: LoopConfig,
        comparison: Comparison,
        seed: int,
        initial: InitialModel,
        train: Dataset,
        valid: Dataset,
        loss: Loss,
        processes: Processes,
        device: torch.device,
    ) -> None:
        self.config, self.comparison, self.seed = config, comparison, seed
        self.model_config, self.network, self.subtractions = initial.config, initial.network, initial.subtractions
        self._network = initial.network
        self.train, self.valid, self.loss = train, valid, loss
        self.terms = tuple(term.name for term in loss.terms)
        self._processes, self._device = processes, device
        self.potential: Potential = training_potential(self.model_config, [initial.network]).to(device)
        self.measured = tuple(
            name for name in compared(list(train.labels), self.potential.predicts) if name in loss.labels
        )
        self.reader = LabelReader(self.potential, self.measured, self.subtractions, comparison, device)
        self._validation = Validation(
            valid,
            fidelities_of_model(self.model_config, valid),
            train.fidelities,
            reader=self.reader,
            reference=self._reference_energies,
            loss=loss,
            measured=self.measured,
            shares=by_name(config.fidelity_weights, train.fidelities),
            processes=processes,
        )

    def parts(self, systems: np.ndarray, epoch: int, place: int) -> list[AtomicBatch]:
        """This process's share of a batch, with random points and orientations as the configuration says."""
        c = self.config
        rng = np.random.default_rng([self.seed, epoch, place, self._processes.rank])
        parts = []
        for part in parts_of_share(systems, self._processes, c.accumulate):
            batch = self.reader.read(self.train, part, esp_points=c.esp_points, rng=rng)
            parts.append(rotated(batch, rng) if c.rotation_augmentation else batch)
        return parts

    def counts(self, part: AtomicBatch) -> Tensor:
        """(n_terms,) float64 number of labels of each term."""
        return self.loss.counts(part)

    def losses(self, part: AtomicBatch, counts: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """Weighted sum of the errors of predictions, and the errors."""
        with self._autocast():
            results = self.predict(part, create_graph=True)
        return self.loss(results, part, counts)

    def predict(self, batch: AtomicBatch, create_graph: bool = False) -> dict[str, Tensor]:
        """Predictions that the labels of a batch are compared with."""
        return predict(
            self.potential,
            batch,
            self.measured,
            dipole_source=self.comparison.dipole_source,
            create_graph=create_graph,
        )

    def judge(self) -> Judgement:
        """Loss, and errors of all properties, on the validation part."""
        loss, sums = self._validation(self.predict)
        return Judgement(loss, self._validation.score(sums), self._validation.metrics(sums))

    def system_name(self, system: int) -> str:
        """File and row of a training system."""
        return self.train.row_name(system)

    def size(self, part: AtomicBatch) -> tuple[int, int]:
        """Number of systems and of atoms."""
        return part.n_systems, part.n_atoms

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.config.precision == "bf16":
            return torch.autocast(self._device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _reference_energies(self, batch: AtomicBatch) -> Tensor:
        """(n_systems,) eV, energies of the free atoms of every system."""
        with torch.no_grad():
            return segment_sum(self._network.reference_energies(batch), batch.system_idx, batch.n_systems)
