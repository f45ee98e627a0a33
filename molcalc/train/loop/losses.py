"""What training minimizes: weighted errors of every labelled quantity, averaged over what is present.

A label that is NaN contributes nothing, neither to sums nor to counts, and its prediction gets no gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.errors import ConfigError, suggest
from molcalc.nn.segments import segment_sum

METRICS = ("mse", "mae", "huber")
LABELS = ("energy", "forces", "dipole", "quadrupole", "charges", "spin_charges", "esp")
"""Quantities that are compared with a label of the same name."""
TERMS = (*LABELS, "monopole")
"""All terms of a loss. ``monopole`` needs no label: Σ_k q_ik of the distributed charges against the charge q_i."""


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights and forms of the terms.

    Attributes
    ----------
    weights : by term; a term that is not named is left out. Units: per eV², (eV/Å)², (e·Å)², (e·Å²)², e², V² for
        "mse"; the same without the square for "mae".
    metric : "mse" (without a factor ½), "mae" or "huber", for all terms.
    metrics : other forms for single terms.
    huber_delta : error at which huber goes from square to linear, in the unit of the term.
    energy_per_atom : divide energy errors by the number of atoms.
    """

    weights: dict[str, float] = field(default_factory=lambda: {"energy": 1.0, "forces": 1.0})
    metric: str = "mse"
    metrics: dict[str, str] = field(default_factory=dict)
    huber_delta: float = 0.1
    energy_per_atom: bool = False

    def __post_init__(self) -> None:
        for name in (*self.weights, *self.metrics):
            if name not in TERMS:
                raise ValueError(f"unknown loss term {name!r}{suggest(name, TERMS)}; known: {', '.join(TERMS)}")
        for metric in (self.metric, *self.metrics.values()):
            if metric not in METRICS:
                raise ValueError(f"unknown metric {metric!r}{suggest(metric, METRICS)}; known: {', '.join(METRICS)}")
        for name, weight in self.weights.items():
            if weight < 0:
                raise ValueError(f"weight {weight} of {name}; expected a number of at least 0")
        if not self.huber_delta > 0:
            raise ValueError(f"huber_delta={self.huber_delta}; expected a positive number")


class Loss:
    """Weighted sum of terms.

    The average of each term runs over all processes and accumulated parts of a batch: :meth:`counts` of every part
    are added up first, and :meth:`__call__` divides by them.
    """

    def __init__(self, config: LossConfig) -> None:
        self.config = config
        self.terms = tuple(name for name in TERMS if config.weights.get(name, 0.0) > 0)
        if not self.terms:
            raise ConfigError(f"every loss weight is 0: {config.weights}; give at least one term a weight")

    def counts(self, batch: AtomicBatch) -> Float64[Tensor, " n_terms"]:
        """(n_terms,) float64 number of values that each term averages over in this batch."""
        return torch.stack([self._count(name, batch) for name in self.terms])

    def _count(self, name: str, batch: AtomicBatch) -> Tensor:
        if name == "monopole":
            return torch.tensor(float(batch.n_atoms), dtype=torch.float64, device=batch.numbers.device)
        present = torch.isfinite(batch.labels[name])
        if name == "esp":
            return (_points_per_system(present, batch) > 0).sum().double()
        return present.sum().double()

    def __call__(
        self, results: Mapping[str, Float[Tensor, " ..."]], batch: AtomicBatch, counts: Float64[Tensor, " n_terms"]
    ) -> tuple[Float64[Tensor, ""], Float64[Tensor, " n_terms"]]:
        """Compare results with labels.

        Parameters
        ----------
        results : predictions by property name, in the shapes of the labels.
        counts : (n_terms,) number of values in the whole batch; a term without any is 0.

        Returns
        -------
        loss : () float64, weighted sum.
        parts : (n_terms,) float64, detached averages without weights.
        """
        totals = torch.stack([self._total(name, results, batch) for name in self.terms])
        averages = totals / counts.clamp(min=1.0)
        weights = torch.tensor([self.config.weights[name] for name in self.terms], dtype=torch.float64)
        return (averages * weights.to(averages.device)).sum(), averages.detach()

    def _total(self, name: str, results: Mapping[str, Tensor], batch: AtomicBatch) -> Tensor:
        """Sum of the errors of one term over a batch."""
        metric = self.config.metrics.get(name, self.config.metric)
        if name == "monopole":
            missing = results["dcm_charges"].sum(dim=1) - results["charges"]
            return self._error(missing.double(), metric).sum()
        label = batch.labels[name]
        present = torch.isfinite(label)
        difference = torch.where(present, results[name].double() - torch.where(present, label, 0.0), 0.0)
        if name == "energy" and self.config.energy_per_atom:
            difference = difference / batch.atoms_per_system()
        errors = self._error(difference, metric)
        if name != "esp":
            return errors.sum()
        assert batch.esp_system_idx is not None
        per_system = segment_sum(errors, batch.esp_system_idx, batch.n_systems)
        return (per_system / _points_per_system(present, batch).clamp(min=1.0)).sum()

    def _error(self, difference: Tensor, metric: str) -> Tensor:
        if metric == "mse":
            return difference.square()
        if metric == "mae":
            return difference.abs()
        delta = self.config.huber_delta
        return torch.nn.functional.huber_loss(difference, torch.zeros_like(difference), reduction="none", delta=delta)


def _points_per_system(present: Tensor, batch: AtomicBatch) -> Tensor:
    """(n_systems,) float64 number of points that count."""
    assert batch.esp_system_idx is not None
    return segment_sum(present.double(), batch.esp_system_idx, batch.n_systems)
