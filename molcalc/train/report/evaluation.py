"""Errors of a model on labelled data, in all and by fidelity, element, size and molecule, and by orientation."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molcalc.assembly.opening import AnyModel, OpenedModel, open_model
from molcalc.assembly.potentials import training_potential
from molcalc.assembly.shared_networks import shared_copy
from molcalc.batch import AtomicBatch
from molcalc.errors import CellError, DatasetError, InputError
from molcalc.io.checkpoint import Checkpoint
from molcalc.io.schema import from_dict
from molcalc.nn.segments import segment_sum
from molcalc.prediction.extrapolation import judge_of
from molcalc.properties import LABELS
from molcalc.registry import build_members
from molcalc.state import State
from molcalc.surroundings import own_settings
from molcalc.train.data.comparison import Comparison
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.dispersion_subtraction import DispersionSubtraction
from molcalc.train.data.label_reader import LabelReader, fidelities_of_model
from molcalc.train.data.opening import Data, open_dataset
from molcalc.train.loop.augmentation import rotated
from molcalc.train.loop.metrics import ErrorSums, compared, differences
from molcalc.train.loop.predictions import predict
from molcalc.train.loop.processes import chosen_device
from molcalc.train.loop.sampler import COMPARED_AT_ONCE, validation_batches
from molcalc.units import charged_formula, symbols_of

KEPT_SAMPLES = 100_000
"""Pairs of label and prediction of one property that are kept for plots."""
TURNED_SYSTEMS, ROTATIONS = 16, 50
"""Systems, and random orientations of each, that show how far a potential depends on them."""


@dataclass(frozen=True)
class Evaluation:
    """Errors of a model on one set of systems.

    Attributes
    ----------
    overall : by property ``mae``, ``rmse`` and ``n`` in eV, eV/Å, e·Å, e·Å², e, V.
    groups : the same for parts of the systems, by kind of group ("formula", "n_atoms", "fidelity", and "element" of
        atoms) and name.
    samples : arrays (n, 2) of label and prediction by property, for plots: evenly chosen ones where there are many.
        Energies are relative to the model's self-atomic energies.
    system_rmse : by property (n_systems,), root mean square error of every system; NaN without labels.
    """

    overall: dict[str, dict[str, float]]
    groups: dict[str, dict[str, dict[str, dict[str, float]]]] = field(default_factory=dict)
    samples: dict[str, np.ndarray] = field(default_factory=dict)
    system_rmse: dict[str, np.ndarray] = field(default_factory=dict)


Predictions = dict[str, Tensor]
"""What is predicted of a batch, by name."""
OnBatch = Callable[[np.ndarray, AtomicBatch, Predictions], None]


@own_settings()
def evaluate(
    data: Data,
    model: AnyModel,
    *,
    units: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    skip_bad: bool = False,
    fidelity: str | None = None,
    with_dispersion: bool = False,
    coulomb: str = "auto",
    device: str = "auto",
    on_extrapolation: str = "warn",
    **comparison: Any,
) -> dict[str, dict[str, float]]:
    """Errors of a model on labelled data.

    Parameters
    ----------
    data : an ASE database, a list, or a dict fidelity name → file(s); FILE@ROWS takes some rows, and a list of Atoms
        stands for a file.
    model : published name, run folder, model directory, or checkpoint in memory; a list of runs of one model is an
        ensemble, of which the mean is compared.
    units : of labels that are not in eV, Å, e and declared nowhere, by label.
    labels : names that labels have in the files, by label.
    skip_bad : leave out rows that cannot be used, with a warning, instead of raising.
    fidelity : which fidelity of the model data without a name of its own are compared with.
    with_dispersion : the labels contain the dispersion that calculators add to this model.
    coulomb : how the Coulomb energy is summed, as calculators take it ("dsf", "ewald"); "auto" as in training.
    device : "auto", "cpu" or "cuda".
    on_extrapolation : "warn", "raise" or "ignore" systems that are unlike what the model was trained on.
    comparison : which labels count, see :class:`molcalc.train.data.comparison.Comparison`: esp_radius_factor, esp_max,
        dipole_source.

    Returns
    -------
    dict of property → {"mae", "rmse", "r2", "n"} in eV, eV/Å, e·Å, e·Å², e, V.

    Raises
    ------
    ConfigError
        For an unknown option or a value out of range.
    DatasetError
        When the data cannot be used, or has nothing that the model predicts.
    ChargeError, ExtrapolationError
        When a system has a charge that the model cannot know, or is unlike its data and that shall be an error.
    """
    counted = from_dict(Comparison, comparison)
    opened = open_model(model)
    evaluator = Evaluator(
        opened, counted, device=chosen_device(device), with_dispersion=with_dispersion, coulomb=coulomb
    )
    dataset = open_dataset(data, units=units, labels=labels, skip_bad=skip_bad)
    evaluator.judge(dataset, on_extrapolation, fidelity)
    return evaluate_part(evaluator, dataset, fidelity=fidelity).overall


def evaluate_part(
    evaluator: Evaluator, data: Dataset, *, fidelity: str | None = None, on_batch: OnBatch | None = None
) -> Evaluation:
    """Errors of a model on one set of systems.

    Parameters
    ----------
    fidelity : of the model, for data whose fidelity has no name.
    on_batch : gets the positions of systems in ``data``, their batch, and all predictions.

    Returns
    -------
    errors in all and by group, and what pictures need.

    Raises
    ------
    DatasetError
        When the data have nothing that the model predicts.
    """
    measured = evaluator.measured(data)
    collected = _Collected(data, measured)
    for systems, batch, results in evaluator.predictions(data, measured, fidelity):
        collected.add(systems, batch, results, evaluator.reference_energies(batch))
        if on_batch is not None:
            on_batch(systems, batch, results)
    return collected.evaluation()


class Evaluator:
    """A model with the terms it is compared with labels with, in double precision.

    Parameters
    ----------
    model : its networks are not changed.
    comparison : says which ESP points count, and which charges make the dipole.
    with_dispersion : the labels contain the dispersion that calculators add to this model: True for those of every
        fidelity, or the names of fidelities.
    coulomb : how the Coulomb energy is summed; "auto" as in training.

    Raises
    ------
    ConfigError
        When the dispersion in the labels is not declared.
    """

    def __init__(
        self,
        model: OpenedModel,
        comparison: Comparison,
        *,
        device: torch.device,
        with_dispersion: bool | Collection[str] = False,
        coulomb: str = "auto",
    ) -> None:
        self.config, self.label, self.comparison, self.device = model.config, model.label, comparison, device
        self.networks = [shared_copy(member) for member in model.members]
        potential = training_potential(self.config, self.networks, coulomb)
        self.potential = potential.set_dtype(torch.float64).to(device)
        fidelities = self.config.fidelities
        if isinstance(with_dispersion, bool):
            with_dispersion = {item.name for item in fidelities} if with_dispersion else set()
        self._subtractions = [
            DispersionSubtraction(replace(item, dispersion_in_labels=True), index=k)
            for k, item in enumerate(fidelities)
            if item.name in with_dispersion
        ]

    def judge(self, data: Dataset, choice: str, fidelity: str | None = None) -> None:
        """Refuse systems that the model is not for; compare charges, spins and compositions with its training data.

        Parameters
        ----------
        choice : one of :data:`molcalc.prediction.extrapolation.ON_EXTRAPOLATION`.
        fidelity : of the model, for data whose fidelity has no name.

        Raises
        ------
        CellError, ChargeError, ExtrapolationError
            Names the row.
        """
        for k in np.flatnonzero(data.pbc.any(axis=1))[:1].tolist():
            try:
                self.potential.refuse_crystals()
            except CellError as error:
                raise CellError(f"{data.row_name(k)}: {error}") from error
        of_model = fidelities_of_model(self.config, data, fidelity).tolist()
        found = judge_of(choice, self.label, self.config.fidelities, self.potential)
        for k in range(len(data)):
            atoms = slice(int(data.offsets[k]), int(data.offsets[k + 1]))
            charge, spin = round(float(data.total_charge[k])), int(data.multiplicity[k])
            try:
                found.check_state(data.numbers[atoms], State(charge, spin, of_model[int(data.fidelity[k])]))
            except InputError as error:
                raise type(error)(f"{data.row_name(k)}: {error}") from error

    def measured(self, data: Dataset) -> tuple[str, ...]:
        """Properties that are labelled and predicted.

        Returns
        -------
        names of properties, at least one

        Raises
        ------
        DatasetError
            When there is none.
        """
        measured = compared([name for name, n in data.counts().items() if n], self.potential.predicts)
        if not measured:
            raise DatasetError(f"no labels that the model predicts; labels found: {', '.join(data.labels) or 'none'}")
        return measured

    def predictions(
        self, data: Dataset, measured: tuple[str, ...], fidelity: str | None = None
    ) -> Iterator[tuple[np.ndarray, AtomicBatch, Predictions]]:
        """Positions of systems, their batch with labels, and what is predicted; everything on the processor.

        ESP labels that do not count are marked as missing, and labels are without dispersion.

        Yields
        ------
        systems : positions in ``data``.
        batch : their structures and labels.
        predictions : by name, in the shapes of the labels.
        """
        of_model = fidelities_of_model(self.config, data, fidelity)
        reader = LabelReader(self.potential, measured, self._subtractions, self.comparison)
        for systems in validation_batches(data.n_atoms(), COMPARED_AT_ONCE):
            batch = reader.read(data, systems, of_model=of_model)
            sent = batch.to(self.device)
            results = predict(self.potential, sent, measured, dipole_source=self.comparison.dipole_source)
            yield systems, batch, {name: value.cpu() for name, value in results.items()}

    def reference_energies(self, batch: AtomicBatch) -> Tensor:
        """(n_systems,) eV: sum of the model's self-atomic energies."""
        energies = [network.reference_energies(batch) for network in self.networks]
        return segment_sum(torch.stack(energies).mean(dim=0), batch.system_idx, batch.n_systems)


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
    batch = LabelReader(potential, ("esp",), (), comparison).read(data, np.arange(min(TURNED_SYSTEMS, len(data))))
    rng = np.random.default_rng(seed)
    values = [predict(potential, rotated(batch, rng), ("esp",))["esp"] for _ in range(ROTATIONS)]
    return float(torch.stack(values).std(dim=0).square().mean().sqrt())


def group_labels(data: Dataset) -> dict[str, list[str]]:
    """Name of the group of every system, by kind of group."""
    sizes = data.n_atoms()
    groups: dict[str, Callable[[int], str]] = {
        "formula": lambda k: formula(data, k),
        "n_atoms": lambda k: str(sizes[k]),
    }
    if len(data.fidelities) > 1:
        groups["fidelity"] = lambda k: data.fidelities[int(data.fidelity[k])]
    return {kind: [name(k) for k in range(len(data))] for kind, name in groups.items()}


def formula(data: Dataset, k: int) -> str:
    """Formula and charge of a system, in Hill order: "CH4O", "H4N (+1)"."""
    numbers = data.numbers[data.offsets[k] : data.offsets[k + 1]]
    return charged_formula(numbers.tolist(), int(data.total_charge[k]))


class _Collected:
    """Errors and samples that an evaluation collects from its batches."""

    def __init__(self, data: Dataset, measured: tuple[str, ...]) -> None:
        self.measured = measured
        self.labels = group_labels(data)
        self.names = {kind: list(dict.fromkeys(values)) for kind, values in self.labels.items()}
        self.places = {kind: {name: k for k, name in enumerate(found)} for kind, found in self.names.items()}
        self.elements = sorted(set(np.unique(data.numbers).tolist()))
        self.overall = ErrorSums(measured)
        self.sums = {kind: ErrorSums(measured, len(found)) for kind, found in self.names.items()}
        self.by_element = ErrorSums(measured, len(self.elements))
        self.samples: dict[str, list[np.ndarray]] = {name: [] for name in measured}
        self.strides = {name: max(1, _size(data, name) // KEPT_SAMPLES) for name in measured}
        self.system_rmse = {name: np.full(len(data), np.nan) for name in measured}

    def add(self, systems: np.ndarray, batch: AtomicBatch, results: Predictions, reference: Tensor) -> None:
        self.overall.add(results, batch, reference=reference)
        for kind, place in self.places.items():
            groups = torch.tensor([place[self.labels[kind][s]] for s in systems])
            self.sums[kind].add(results, batch, groups, reference)
        self.by_element.add_by_atom(results, batch, torch.searchsorted(torch.tensor(self.elements), batch.numbers))
        for name in self.measured:
            label, prediction = batch.labels[name], results[name].double()
            if name == "energy":
                label, prediction = label - reference, prediction - reference
            pair = torch.stack([label.flatten(), prediction.flatten()], dim=1)
            self.samples[name].append(pair[torch.isfinite(pair[:, 0])][:: self.strides[name]].numpy())
            self.system_rmse[name][systems] = _rmse_by_system(name, results, batch).numpy()

    def evaluation(self) -> Evaluation:
        groups = {
            kind: {name: self.sums[kind].table(k) for k, name in enumerate(found)} for kind, found in self.names.items()
        }
        elements = {symbols_of([z]).split()[0]: self.by_element.table(k) for k, z in enumerate(self.elements)}
        if any(elements.values()):
            groups["element"] = elements
        samples = {name: np.concatenate(parts) for name, parts in self.samples.items()}
        return Evaluation(self.overall.table(), groups, samples, self.system_rmse)


def _size(data: Dataset, name: str) -> int:
    """About how many numbers the labels of a property are."""
    label = LABELS[name]
    rows = {"system": len(data), "atom": data.n_atoms().sum(), "point": data.n_points().sum()}[label.kind]
    return int(rows) * math.prod(label.shape)


def _rmse_by_system(name: str, results: Predictions, batch: AtomicBatch) -> Tensor:
    """(n_systems,) root mean square error; NaN without labels."""
    difference, system = differences(name, results, batch)
    difference = difference.reshape(len(difference), -1)
    present = torch.isfinite(difference)
    squares = torch.where(present, difference, 0.0).square().sum(dim=1)
    total = segment_sum(squares, system, batch.n_systems)
    return (total / segment_sum(present.sum(dim=1).double(), system, batch.n_systems)).sqrt()
