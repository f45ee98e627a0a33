"""Loss of training: weighted errors of every labelled quantity, averaged over what is present.

A label that is NaN contributes nothing, neither to sums nor to counts, and its prediction gets no gradient. Where rows
of the data have a weight, errors count that many times in sums and counts. Every label of
:data:`molcalc.properties.LABELS` has a term; one that is not the plain error of its label is a class of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.errors import ConfigError, suggest
from molcalc.io.schema import Choice, NotNegative, Positive, check_fields
from molcalc.nn.segments import segment_sum
from molcalc.properties import LABELS, PROPERTIES

METRICS = ("mse", "mae", "huber")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Options of the loss: weights and forms of its terms.

    Attributes
    ----------
    weights : by term; a term that is not named is left out. Units: per square of the unit of the property (eV²,
        (eV/Å)², (eV/Å³)², (e·Å)², (e·Å²)², e², V²) for "mse"; the same without the square for "mae".
    metric : "mse" (without a factor ½), "mae" or "huber", for all terms.
    metrics : other forms for single terms.
    huber_delta : error at which huber goes from square to linear, in the unit of the term.
    energy_per_atom : divide energy errors by the number of atoms.
    """

    weights: dict[str, NotNegative] = field(default_factory=lambda: {"energy": 1.0, "forces": 1.0})
    metric: Annotated[str, Choice(METRICS)] = "mse"
    metrics: dict[str, Annotated[str, Choice(METRICS)]] = field(default_factory=dict)
    huber_delta: Positive = 0.1
    energy_per_atom: bool = False

    def __post_init__(self) -> None:
        for name in (*self.weights, *self.metrics):
            if name not in TERMS:
                raise ValueError(f"unknown loss term {name!r}{suggest(name, TERMS)}; known: {', '.join(TERMS)}")
        check_fields(self)

    def terms(self) -> tuple[LossTerm, ...]:
        """Terms with a weight above 0, in the order of :data:`TERMS`."""
        return tuple(term(name, self) for name, term in TERMS.items() if self.weights.get(name, 0.0) > 0)


def recorded_loss(options: Mapping[str, Any]) -> dict[str, Any]:
    """Loss of a run that goes on: one that says nothing of the dipole of atomic charges does not learn it.

    Parameters
    ----------
    options : that the run wrote, by key.

    Returns
    -------
    the loss, if the run wrote one
    """
    if "loss" not in options:
        return {}
    return {"loss": {**options["loss"], "weights": {"charge_dipole": 0.0, **options["loss"]["weights"]}}}


class LossTerm(ABC):
    """One term of a loss: a sum of errors over a batch, and the number of values that it is averaged over.

    Parameters
    ----------
    name : in the weights, and in the history as ``train_NAME``.
    config : form of the error.

    Attributes
    ----------
    labels : what a batch has to carry; a system without them has no share.
    requires : what a network has to predict beside the energy.
    """

    labels: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()

    def __init__(self, name: str, config: LossConfig) -> None:
        self.name = name
        self.config = config
        self.metric = config.metrics.get(name, config.metric)

    @abstractmethod
    def count(self, batch: AtomicBatch) -> Float64[Tensor, ""]:
        """() float64 number of values in a batch."""

    @abstractmethod
    def total(self, results: Mapping[str, Float[Tensor, " ..."]], batch: AtomicBatch) -> Float64[Tensor, ""]:
        """() float64 sum of errors over a batch; differentiable by the results."""

    def errors(self, difference: Float64[Tensor, "*rows"]) -> Float64[Tensor, "*rows"]:
        """Error of every value of prediction minus label."""
        if self.metric == "mse":
            return difference.square()
        if self.metric == "mae":
            return difference.abs()
        delta = self.config.huber_delta
        return torch.nn.functional.huber_loss(difference, torch.zeros_like(difference), reduction="none", delta=delta)


class LabelTerm(LossTerm):
    """Error of a predicted property against a label, averaged over all components that are present.

    All nine components of a stress count, so that the error does not depend on the orientation of the crystal.

    Parameters
    ----------
    name : of the property, which is also that of its label unless the class says otherwise.
    """

    def __init__(self, name: str, config: LossConfig) -> None:
        super().__init__(name, config)
        self.labels = self.labels or (name,)
        self.requires = PROPERTIES[name].requires

    def present(self, batch: AtomicBatch) -> Bool[Tensor, "*rows"]:
        """Mask of the components of the label that are there."""
        return torch.isfinite(batch.labels[self.labels[0]])

    def difference(self, results: Mapping[str, Float[Tensor, " ..."]], batch: AtomicBatch) -> Float64[Tensor, "*rows"]:
        """Prediction minus label; 0 where there is none."""
        present, label = self.present(batch), batch.labels[self.labels[0]]
        return torch.where(present, results[self.name].double() - torch.where(present, label, 0.0), 0.0)

    def count(self, batch: AtomicBatch) -> Float64[Tensor, ""]:
        return _weighted(self.present(batch).double(), batch).sum()

    def total(self, results: Mapping[str, Float[Tensor, " ..."]], batch: AtomicBatch) -> Float64[Tensor, ""]:
        return _weighted(self.errors(self.difference(results, batch)), batch).sum()


def _weighted(rows: Float64[Tensor, "n_rows ..."], batch: AtomicBatch) -> Float64[Tensor, "n_rows ..."]:
    """Values of systems or atoms, times the weight of their system where the data have weights."""
    if "weight" not in batch.labels:
        return rows
    weights = batch.labels["weight"]
    if len(rows) != len(weights):
        weights = weights.index_select(0, batch.system_idx)
    return rows * weights.reshape(-1, *[1] * (rows.ndim - 1))


TERMS: dict[str, Callable[[str, LossConfig], LossTerm]] = dict.fromkeys(LABELS, LabelTerm)
"""All terms by name; each is made from its name and the configuration."""
Term = TypeVar("Term", bound=type[LossTerm])


def loss_term(name: str) -> Callable[[Term], Term]:
    """Decorator that makes a class the term of a name; of a label, it replaces the plain error.

    >>> @loss_term("quadrupole")
    ... class TracelessTerm(LabelTerm): ...

    Returns
    -------
    A decorator that returns the class as it is.
    """

    def register(term: Term) -> Term:
        TERMS[name] = term
        return term

    return register


@loss_term("energy")
class TotalEnergyTerm(LabelTerm):
    """Error of total energies, or of energies per atom."""

    def difference(
        self, results: Mapping[str, Float[Tensor, " ..."]], batch: AtomicBatch
    ) -> Float64[Tensor, " n_systems"]:
        difference = super().difference(results, batch)
        return difference / batch.atoms_per_system() if self.config.energy_per_atom else difference


@loss_term("esp")
class PotentialTerm(LabelTerm):
    """Error of electrostatic potentials: the average over systems of the average over their points."""

    def count(self, batch: AtomicBatch) -> Float64[Tensor, ""]:
        return _weighted((self._points_per_system(batch) > 0).double(), batch).sum()

    def total(self, results: Mapping[str, Float[Tensor, " ..."]], batch: AtomicBatch) -> Float64[Tensor, ""]:
        assert batch.esp_system_idx is not None
        per_system = segment_sum(self.errors(self.difference(results, batch)), batch.esp_system_idx, batch.n_systems)
        return _weighted(per_system / self._points_per_system(batch).clamp(min=1.0), batch).sum()

    def _points_per_system(self, batch: AtomicBatch) -> Tensor:
        """(n_systems,) float64 number of points that count."""
        assert batch.esp_system_idx is not None
        return segment_sum(self.present(batch).double(), batch.esp_system_idx, batch.n_systems)


@loss_term("charge_dipole")
class ChargeDipoleTerm(LabelTerm):
    """Error of the dipole of the atomic charges of a model that has distributed charges as well."""

    labels = ("dipole",)


@loss_term("monopole")
class MonopoleTerm(LossTerm):
    """Σ_k q_ik of the distributed charges of an atom against its charge q_i; needs no label."""

    requires = ("charges", "dcm_charges")

    def count(self, batch: AtomicBatch) -> Float64[Tensor, ""]:
        return _weighted(torch.ones(batch.n_atoms, dtype=torch.float64, device=batch.numbers.device), batch).sum()

    def total(self, results: Mapping[str, Float[Tensor, " ..."]], batch: AtomicBatch) -> Float64[Tensor, ""]:
        missing = results["dcm_charges"].sum(dim=1) - results["charges"]
        return _weighted(self.errors(missing.double()), batch).sum()


class Loss:
    """Weighted sum of terms.

    The average of each term runs over all processes and accumulated parts of a batch: :meth:`counts` of every part
    are added up first, and :meth:`__call__` divides by them.

    Attributes
    ----------
    terms : those with a weight.
    labels : names of the labels that they need.
    weights : (n_terms,) float64.

    Raises
    ------
    ConfigError
        When every weight is 0.
    """

    def __init__(self, config: LossConfig) -> None:
        self.terms = config.terms()
        if not self.terms:
            raise ConfigError(f"every loss weight is 0: {config.weights}; give at least one term a weight")
        self.labels = frozenset(label for term in self.terms for label in term.labels)
        self.weights: Float64[Tensor, " n_terms"] = torch.tensor(
            [config.weights[term.name] for term in self.terms], dtype=torch.float64
        )

    def counts(self, batch: AtomicBatch) -> Float64[Tensor, " n_terms"]:
        """(n_terms,) float64 number of values that each term averages over in this batch."""
        return torch.stack([term.count(batch) for term in self.terms])

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
        totals = torch.stack([term.total(results, batch) for term in self.terms])
        averages = totals / torch.where(counts > 0, counts, 1.0)
        return (averages * self.weights.to(averages.device)).sum(), averages.detach()
