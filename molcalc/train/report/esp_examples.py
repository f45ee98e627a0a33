"""Electrostatic potentials of single systems, point by point, for pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from molcalc.train.data.dataset import Dataset
from molcalc.train.data.esp_mask import without_masked_points
from molcalc.train.data.model_fidelities import at_fidelities, fidelities_of_model
from molcalc.train.loop.predictions import predict
from molcalc.train.report.evaluation import Evaluation, Evaluator
from molcalc.train.report.groups import formula

RADIAL_SYSTEMS = 64
"""Systems whose points show how the error depends on the distance."""


@dataclass(frozen=True)
class EspExample:
    """One system with all its points, those that do not count included.

    Attributes
    ----------
    name, formula : where it comes from and what it is.
    numbers : (n_atoms,); positions : (n_atoms, 3) Å.
    points : (n_points, 3) Å.
    reference, prediction : (n_points,) V.
    counted : (n_points,) bool, whether the point is outside the molecule as the errors see it.
    """

    name: str
    formula: str
    numbers: np.ndarray
    positions: np.ndarray
    points: np.ndarray
    reference: np.ndarray
    prediction: np.ndarray
    counted: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """(n_points,) V."""
        return self.prediction - self.reference

    @property
    def rmse(self) -> float:
        """V, over the points that count."""
        return float(np.sqrt(np.mean(self.error[self.counted] ** 2))) if self.counted.any() else float("nan")

    def nearest(self) -> tuple[np.ndarray, np.ndarray]:
        """(n_points,) Å distance to the nearest atom, and (n_points,) its atomic number."""
        distances = np.linalg.norm(self.points[:, None] - self.positions, axis=2)
        atom = distances.argmin(axis=1)
        return distances[np.arange(len(atom)), atom], self.numbers[atom]


def esp_examples(evaluator: Evaluator, data: Dataset, systems: np.ndarray) -> list[EspExample]:
    """The potential of some systems of a dataset at all their points.

    Parameters
    ----------
    systems : positions in ``data``.

    Returns
    -------
    one example for each system, with its points
    """
    potential = evaluator.potential
    of_model = fidelities_of_model(evaluator.checkpoint.config, data)
    found = []
    for k in np.asarray(systems).tolist():
        batch = data.batch([k], cutoff=potential.cutoff, pair_cutoff=potential.pair_cutoff, labels=("esp",))
        batch = at_fidelities(batch, of_model)
        results = predict(potential, batch.to(evaluator.device), ("esp",))
        masked = without_masked_points(batch, evaluator.comparison)
        assert batch.esp_points is not None
        found.append(
            EspExample(
                name=data.row_name(k),
                formula=formula(data, k),
                numbers=batch.numbers.numpy(),
                positions=batch.positions.numpy(),
                points=batch.esp_points.numpy(),
                reference=batch.labels["esp"].numpy(),
                prediction=results["esp"].detach().double().cpu().numpy(),
                counted=torch.isfinite(masked.labels["esp"]).numpy(),
            )
        )
    return found


def chosen_examples(evaluation: Evaluation) -> tuple[dict[str, int], np.ndarray]:
    """Indices of systems to draw, by what they are examples of; and of those for the dependence on distance."""
    errors = evaluation.system_rmse.get("esp", np.empty(0))
    labelled = np.flatnonzero(np.isfinite(errors))
    if not len(labelled):
        return {}, labelled
    order = labelled[np.argsort(errors[labelled], kind="stable")]
    chosen = {"median error": int(order[len(order) // 2])}
    if len(order) > 1:
        chosen["largest error"] = int(order[-1])
    evenly = np.unique(np.linspace(0, len(labelled) - 1, RADIAL_SYSTEMS).astype(np.int64))
    return chosen, labelled[evenly]
