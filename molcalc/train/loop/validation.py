"""Loss and errors on the validation part of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.label_reader import LabelReader
from molcalc.train.loop.losses import Loss
from molcalc.train.loop.metrics import ErrorSums
from molcalc.train.loop.processes import Processes
from molcalc.train.loop.sampler import COMPARED_AT_ONCE, validation_batches

KINDS = ("mae", "rmse", "r2")
"""Of errors in the history."""
SMALLEST_ERROR = 1e-12
"""An error of exactly 0 would hide all others."""


class Validation:
    """Comparison of predictions with the labels of a validation part, shared among the processes of a run.

    Parameters
    ----------
    of_model : for every fidelity of ``data`` the index of the model's, (n,) int64.
    fidelities : of the training part, with which those of the model begin.
    reference : energies of the free atoms of every system, (n_systems,) eV.
    measured : properties that are labelled and predicted.
    shares : how much each fidelity counts in the loss; None lets all count equally.
    """

    def __init__(
        self,
        data: Dataset,
        of_model: Tensor,
        fidelities: Sequence[str],
        *,
        reader: LabelReader,
        reference: Callable[[AtomicBatch], Tensor],
        loss: Loss,
        measured: Sequence[str],
        shares: Sequence[float] | None,
        processes: Processes,
    ) -> None:
        self._data, self._of_model, self._fidelities = data, of_model, fidelities
        self._reference = reference
        self._reader, self._loss, self._measured, self._processes = reader, loss, measured, processes
        self._shares = torch.tensor(shares or [1.0] * len(fidelities), dtype=torch.float64)
        self._batches = validation_batches(data.n_atoms(), COMPARED_AT_ONCE, data.fidelity)

    def __call__(self, predict: Callable[[AtomicBatch], Mapping[str, Tensor]]) -> tuple[float, ErrorSums]:
        """Average loss of all fidelities, and errors with the fidelities as groups."""
        sums = ErrorSums(self._measured, len(self._fidelities))
        totals = torch.zeros(len(self._fidelities), 2, len(self._loss.terms), dtype=torch.float64)
        for systems in self._batches[self._processes.rank :: self._processes.size]:
            batch = self._reader.read(self._data, systems, of_model=self._of_model)
            results = predict(batch)
            counts = self._loss.counts(batch)
            _, averages = self._loss(results, batch, counts)
            totals[int(batch.fidelity[0])] += torch.stack([averages * counts, counts]).cpu()
            sums.add(results, batch, batch.fidelity, self._reference(batch))
        self._processes.sum(totals)
        self._processes.sum(sums.sums)
        losses = (self._loss.weights * totals[:, 0] / totals[:, 1].clamp(min=1.0)).sum(dim=1)
        shares = torch.where(totals[:, 1].sum(dim=1) > 0, self._shares, 0.0)
        return float((shares * losses).sum() / shares.sum()), sums

    def score(self, sums: ErrorSums) -> float:
        """Geometric mean of the mean absolute errors in the units of the history; the smallest is the best.

        All properties count alike, whatever their weights in the loss, and a few large errors do not decide.

        Returns
        -------
        positive number without unit
        """
        logs = torch.zeros(len(self._fidelities), dtype=torch.float64)
        labelled = torch.zeros(len(self._fidelities), dtype=torch.bool)
        for k in range(len(self._fidelities)):
            if errors := [max(row["mae"], SMALLEST_ERROR) for row in sums.table(k).values()]:
                logs[k], labelled[k] = sum(map(math.log, errors)) / len(errors), True
        shares = torch.where(labelled, self._shares, 0.0)
        return math.exp(float((shares * logs).sum() / shares.sum()))

    def metrics(self, sums: ErrorSums) -> dict[str, float]:
        """``energy_mae``, ``energy_rmse``, ``energy_r2``, … of all systems; ``NAME_energy_mae``, … of each fidelity."""
        found = _flat(sums.table())
        if len(self._fidelities) > 1:
            for k, name in enumerate(self._fidelities):
                found.update(_flat(sums.table(k), f"{name}_"))
        return found


def _flat(table: Mapping[str, Mapping[str, float]], prefix: str = "") -> dict[str, float]:
    return {f"{prefix}{name}_{kind}": row[kind] for name, row in table.items() for kind in KINDS if kind in row}
