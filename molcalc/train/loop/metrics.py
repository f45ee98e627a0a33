"""Mean absolute and root mean square errors and R², by property and by group of systems."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.properties import LABELS

SMALLEST_VARIANCE = 1e-12
"""Of labels, beside their squares: less is what rounding leaves of equal labels."""


class ErrorSums:
    """Sums of errors over batches; padding does not exist and missing labels do not count.

    Attributes
    ----------
    sums : (n_properties, n_groups, 5) float64: Σ|Δ|, ΣΔ², number of values, Σy, Σy² of the labels y.
    """

    def __init__(self, properties: Sequence[str], n_groups: int = 1) -> None:
        self.properties = tuple(properties)
        self.sums = torch.zeros(len(self.properties), n_groups, 5, dtype=torch.float64)

    def add(
        self,
        results: Mapping[str, Float[Tensor, " ..."]],
        batch: AtomicBatch,
        groups: Int[Tensor, " n_systems"] | None = None,
        reference: Float64[Tensor, " n_systems"] | None = None,
    ) -> None:
        """Take in one batch.

        Parameters
        ----------
        groups : (n_systems,) int64 group of each system; None puts all into group 0.
        reference : (n_systems,) eV, energies of the free atoms, without which R² says how well energies are told apart.
        """
        for k, name in enumerate(self.properties):
            difference, system = differences(name, results, batch)
            index = torch.zeros_like(system) if groups is None else groups.to(system.device).index_select(0, system)
            label = batch.labels[name]
            if name == "energy" and reference is not None:
                label = label - reference
            self._add_rows(k, difference, label, index)

    def add_by_atom(
        self, results: Mapping[str, Float[Tensor, " ..."]], batch: AtomicBatch, groups: Int[Tensor, " n_atoms"]
    ) -> None:
        """Take in one batch whose atoms are in groups; only properties of atoms count.

        Parameters
        ----------
        groups : (n_atoms,) int64 group of each atom.
        """
        for k, name in enumerate(self.properties):
            if LABELS[name].kind == "atom":
                difference, _ = differences(name, results, batch)
                self._add_rows(k, difference, batch.labels[name], groups.to(difference.device))

    def _add_rows(self, k: int, difference: Tensor, label: Tensor, index: Tensor) -> None:
        present = torch.isfinite(difference)
        label = label.double()
        rows = torch.stack(
            [difference.abs(), difference.square(), torch.ones_like(difference), label, label.square()], dim=-1
        )
        rows = torch.where(present[..., None], rows, 0.0)
        if rows.ndim > 2:
            rows = rows.flatten(1, -2).sum(dim=1)
        self.sums[k] += torch.zeros_like(self.sums[k], device=rows.device).index_add(0, index, rows).cpu()

    def table(self, group: int | None = None) -> dict[str, dict[str, float]]:
        """Errors by property (``mae``, ``rmse``, ``r2``, ``n``) of one group or of all; only those that have labels.

        Units: those of :data:`molcalc.properties.LABELS`. R² is the share of the variance of the labels that is
        predicted; it is left out where all labels are equal.

        Returns
        -------
        "mae", "rmse", "r2" and number of values "n", by property
        """
        sums = self.sums.sum(dim=1) if group is None else self.sums[:, group]
        return {name: _errors(*row) for name, row in zip(self.properties, sums.tolist()) if row[2] > 0}


def _errors(absolute: float, squares: float, n: float, total: float, total_squares: float) -> dict[str, float]:
    """Errors from the sums of one property and group."""
    errors = {"mae": absolute / n, "rmse": math.sqrt(squares / n), "n": int(n)}
    variance = total_squares - total**2 / n
    if variance > SMALLEST_VARIANCE * total_squares:
        errors["r2"] = 1.0 - squares / variance
    return errors


def differences(
    name: str, results: Mapping[str, Float[Tensor, " ..."]], batch: AtomicBatch
) -> tuple[Float[Tensor, "n_rows ..."], Int[Tensor, " n_rows"]]:
    """Prediction minus label of a property (NaN where missing), and the system that each row belongs to."""
    difference = results[name].detach().double() - batch.labels[name]
    if LABELS[name].kind == "system":
        return difference, torch.arange(batch.n_systems, device=difference.device)
    if LABELS[name].kind == "point":
        assert batch.esp_system_idx is not None
        return difference, batch.esp_system_idx
    return difference, batch.system_idx


def compared(labels: Sequence[str], predictions: Sequence[str]) -> tuple[str, ...]:
    """Properties that have labels and that a model predicts, in the usual order."""
    return tuple(name for name, label in LABELS.items() if name in labels and set(label.requires) <= set(predictions))
