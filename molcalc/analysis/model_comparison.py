"""Comparison of models: trained alike or given, with errors, equivariance, time and memory of each."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from torch import Tensor

from molcalc.analysis.equal_training import contenders_of, folders_of, train_equally
from molcalc.analysis.equivariance import EquivarianceErrors, equivariance_errors
from molcalc.analysis.model_costs import (
    ROUNDS,
    Duration,
    PeakMemory,
    durations,
    many_structures,
    one_structure,
    peak_memory,
)
from molcalc.assembly.opening import OpenedModel, open_model
from molcalc.batch import AtomicBatch
from molcalc.calculators.of_model import ModelCalculator, calculator_of
from molcalc.electrostatics.sites import CHARGE_SOURCES, ChargeSites
from molcalc.errors import ConfigError, DatasetError, MolcalcError
from molcalc.notebook_tables import rows_table
from molcalc.properties import LABELS
from molcalc.surroundings import own_settings
from molcalc.train.config import flat_options, make_config, read_options
from molcalc.train.data.comparison import Comparison
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.geometry_hash import geometry_hashes
from molcalc.train.data.kept_parts import KeptParts
from molcalc.train.data.opening import Data, open_dataset
from molcalc.train.data.selection import within_limits
from molcalc.train.data.split import Split
from molcalc.train.loop.losses import Loss
from molcalc.train.loop.metrics import ErrorSums
from molcalc.train.loop.processes import chosen_device
from molcalc.train.loop.run_folder import OPTIONS_FILE, PARTS_FILE, RunFolder
from molcalc.train.reopening import training_step
from molcalc.train.report.evaluation import Evaluator, evaluate_part
from molcalc.train.run_data import separated

log = logging.getLogger(__name__)

USUAL_MODELS = ("physnet-dcm", "noneq-dcm")
"""What is compared unless something else is asked for."""
USUAL_EPOCHS = 50
UNKNOWN_ELEMENTS, SEEN_IN_TRAINING = "elements that not every model knows", "seen in training"
"""Why structures are left out."""
MOVED_STRUCTURES, TIMED_STRUCTURES = 20, 64
"""Structures that turn and move, and those that are computed at once."""
_READING = ("units", "labels", "skip_bad")
_OF_COMPARISON = ("esp_radius_factor", "esp_max", "dipole_source")
PropertyErrors = dict[str, dict[str, float]]
"""By property: ``mae``, ``rmse``, ``r2`` and ``n`` in eV, eV/Å, e·Å, e, V."""


@dataclass(frozen=True)
class ComparedModel:
    """What is known of one model of a comparison.

    Attributes
    ----------
    name, kind, model_hash : which it is.
    n_parameters : of all networks.
    n_dcm : distributed charges around each atom; None where there are none.
    epochs, steps, training_seconds : of the run; None for a model that is none.
    learned : labels that the run learned; None for a model that is none.
    errors : on the test structures.
    errors_by_charges : those of dipole and potential, of the "distributed" charges and of the "charges" of atoms.
    equivariance : after rotations, reflections, translations and in another order.
    one, many : time of a structure alone, through the calculator; and of each of many that are computed at once.
    step : time of a step of training; None for a model that is no run.
    memory : peaks; None where the system does not count them, or they were not asked for.
    """

    name: str
    kind: str
    model_hash: str
    n_parameters: int
    n_dcm: int | None
    epochs: float | None
    steps: int | None
    training_seconds: float | None
    learned: tuple[str, ...] | None
    errors: PropertyErrors
    errors_by_charges: dict[str, PropertyErrors]
    equivariance: EquivarianceErrors
    one: Duration
    many: Duration
    step: Duration | None
    memory: PeakMemory | None


@dataclass(frozen=True)
class ModelComparison:
    """Outcome of a comparison.

    Attributes
    ----------
    models : in the order that was asked for.
    data : names of the files that the test structures are from.
    n_structures : that errors are over.
    left_out : structures of the data that were not used, by reason.
    n_many : structures that were computed at once.
    settings : options that all runs share; empty for models that were given.
    """

    models: tuple[ComparedModel, ...]
    data: tuple[str, ...]
    n_structures: int
    left_out: dict[str, int]
    n_many: int
    settings: dict[str, Any]

    def __repr__(self) -> str:
        names = ", ".join(model.name for model in self.models)
        return f"<ModelComparison of {names} on {self.n_structures} structures>"

    def _repr_html_(self) -> str:
        from molcalc.analysis.comparison_report import comparison_rows

        rows = [
            [row.section, row.name, row.unit, *map(row.cell, range(len(self.models)))] for row in comparison_rows(self)
        ]
        header = ["", "", "unit", *(model.name for model in self.models)]
        return rows_table(f"Comparison of models on {self.n_structures} structures", header, rows)

    def unlearned(self, name: str) -> bool:
        """Whether all models are runs that did not learn a label."""
        return all(model.learned is not None and name not in model.learned for model in self.models)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``comparison.json`` holds them."""
        values = asdict(self)
        for model, found in zip(values["models"], self.models):
            model["equivariance"]["kept"] = found.equivariance.kept
        values["units"] = {
            "errors": "eV, eV/Å, e·Å, e, V", "one": "s", "many": "s per structure", "step": "s", "memory": "MB",
            "training_seconds": "s",
        }  # fmt: skip
        return values


@own_settings()
def compare_models(
    data: Data,
    models: Sequence[str | os.PathLike[str]] = USUAL_MODELS,
    *,
    output: str | os.PathLike[str] | None = None,
    train: bool = True,
    n_dcm: Sequence[int] = (),
    epochs: int | None = None,
    fidelity: str | None = None,
    structures: int = MOVED_STRUCTURES,
    rounds: int = ROUNDS,
    memory: bool = True,
    device: str = "auto",
    progress: bool = True,
    **options: Any,
) -> ModelComparison:
    """Train models alike, or take trained ones, and compare them on structures that none has seen.

    >>> comparison = compare_models("co2.db", ["physnet-dcm", "noneq-dcm"], output="comparison", epochs=50)
    >>> comparison = compare_models("test.db", ["runs/a", "runs/b"], train=False)

    All runs have the data, parts, seed, steps and settings of the first, whatever is recommended for their kind; the
    same call goes on where it was interrupted. Errors are over the test part, or the structures that are in the
    training and validation part of none of the models.

    Parameters
    ----------
    data : as :func:`molcalc.train.fit` takes them.
    models : kinds to train, also KIND:PRESET such as "physnet-dcm:reference-size"; with ``train=False`` folders of
        runs, model directories, or published names.
    output : folder of the runs, each in one of its own name; needed to train.
    train : False takes ``models`` as they are.
    n_dcm : numbers of distributed charges, each of which is trained with every kind that has them.
    epochs : of every run; 50 unless given.
    fidelity : level of theory of models that have several.
    structures : how many turn and move.
    rounds : how often every call is timed, in turns.
    memory : measure peaks, in a process of its own for each model.
    device : of inference: "auto", "cpu" or "cuda".
    progress : show progress bars of training on stderr.
    options : of :func:`molcalc.train.fit`, for all runs.

    Returns
    -------
    errors, equivariance, time and memory of every model

    Raises
    ------
    ConfigError
        For unknown kinds or options, or a model that is named twice.
    DatasetError
        When the data cannot be used, or leave nothing to compare on.
    CheckpointError
        When a model cannot be used, or the folder holds other runs.
    ResourceError
        When memory cannot be measured for want of it.
    """
    files, rest = separated(options)
    given = flat_options(rest)
    reading = {key: files[key] for key in _READING if key in files}
    whole = open_dataset(data, **reading)
    if train:
        if output is None:
            raise ConfigError("output=None: name a folder for the runs, or give trained models with train=False")
        if "model" in given:
            raise ConfigError(f"model={given['model']!r}: the kinds that are trained are named in models")
        given |= {"epochs": USUAL_EPOCHS if epochs is None else epochs, "device": device}
        contenders = contenders_of([os.fspath(model) for model in models], n_dcm)
        runs = train_equally(contenders, Path(output), data, whole, {**files, **given}, progress)
    else:
        unused = [key for key in given if key not in _OF_COMPARISON]
        unused += ["epochs"] * (epochs is not None) + ["n_dcm"] * bool(n_dcm)
        if unused:
            raise ConfigError(f"{unused[0]} is an option of training, and nothing is trained: leave it out")
        runs = folders_of(models)
    test = open_dataset(files["test"], **reading) if "test" in files else whole
    test = within_limits(test, given.get("max_force"), given.get("max_energy"))
    opened = {name: open_model(os.fspath(path)) for name, path in runs.items()}
    levels = _levels(opened, fidelity)
    calculators = {name: calculator_of(model, device=device, fidelity=levels[name]) for name, model in opened.items()}
    known, compared, left_out = _usable(test, runs.values(), calculators.values())
    images = structures_of(known, _evenly(len(known), structures))
    many = structures_of(known, _evenly(len(known), TIMED_STRUCTURES))
    log.info("measuring time and memory")
    costs = _costs(runs, calculators, images[0], many, rounds, memory)
    counted = Comparison(**{key: given[key] for key in _OF_COMPARISON if key in given})
    found = []
    for name, model in opened.items():
        log.info("errors of %s", name)
        errors, by_charges = _errors(model, compared, counted, levels[name], device)
        moved = equivariance_errors(images, calculators[name])
        found.append(_result(name, runs[name], model, errors, by_charges, moved, costs[name]))
    return ModelComparison(
        tuple(found),
        tuple(source.name for source in compared.sources),
        len(compared),
        left_out,
        len(many),
        _settings(runs.values()) if train else {},
    )


def _settings(runs: Iterable[Path]) -> dict[str, Any]:
    """Options that several runs were begun with alike."""
    first, *others = (separated(read_options(path / OPTIONS_FILE))[1] for path in runs)
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


def _learned(path: Path) -> tuple[str, ...] | None:
    """Labels that a run learns; None of a folder that is no run."""
    file = path / OPTIONS_FILE
    if not file.is_file():
        return None
    loss = Loss(make_config(separated(read_options(file))[1]).loss)
    return tuple(name for name in LABELS if name in loss.labels)


def structures_of(data: Dataset, chosen: Sequence[int]) -> list[Atoms]:
    """Structures of a dataset, with charge and multiplicity in ``info``.

    Parameters
    ----------
    chosen : positions in ``data``.

    Returns
    -------
    structures without labels
    """
    block = data.block(np.asarray(chosen, dtype=np.int64))
    found = []
    for k in range(len(chosen)):
        own, of = block.atoms_of(k), block.systems
        state = {"charge": round(float(of["total_charge"][k])), "multiplicity": int(of["multiplicity"][k])}
        numbers, positions = block.atoms["numbers"][own], block.atoms["positions"][own]
        found.append(Atoms(numbers, positions, cell=of["cell"][k], pbc=of["pbc"][k], info=state))
    return found


def _evenly(n: int, wanted: int) -> list[int]:
    """So many positions out of ``n``, or all, from the first to the last."""
    return sorted(set(np.linspace(0, n - 1, min(n, wanted)).round().astype(int).tolist()))


def _levels(models: Mapping[str, OpenedModel], fidelity: str | None) -> dict[str, str | None]:
    """Fidelity that is asked of each model; None of those that have only one."""
    several = {name: len(model.config.fidelities) > 1 for name, model in models.items()}
    if fidelity is not None and not any(several.values()):
        raise ConfigError(f"fidelity={fidelity!r}: none of the models has several; leave it out")
    return {name: fidelity if several[name] else None for name in models}


def _usable(
    data: Dataset, runs: Iterable[Path], calculators: Iterable[ModelCalculator]
) -> tuple[Dataset, Dataset, dict[str, int]]:
    """Structures that every model knows; those of them that none has seen; how many are left out of errors, and why."""
    atoms = np.ones(len(data.numbers), dtype=bool)
    for calculator in calculators:
        atoms &= np.isin(data.numbers, calculator.potential.elements)
    known = data.subset(np.flatnonzero(np.logical_and.reduceat(atoms, data.offsets[:-1])))
    compared = _unseen(known, runs)
    counts = {UNKNOWN_ELEMENTS: len(data) - len(known), SEEN_IN_TRAINING: len(known) - len(compared)}
    left_out = {reason: number for reason, number in counts.items() if number}
    for reason, number in left_out.items():
        log.info("%d of %d structures are left out: %s", number, len(data), reason)
    if not len(compared):
        reasons = ", ".join(f"{number} {reason}" for reason, number in left_out.items())
        raise DatasetError(
            f"none of the {len(data)} structures can be compared on ({reasons}): give test structures of elements that "
            "all models know (test=FILE, or a test part when they are trained)"
        )
    return known, compared, left_out


def _unseen(data: Dataset, runs: Iterable[Path]) -> Dataset:
    """Structures that are in the training and validation part of none of the runs."""
    hashes, held_out = geometry_hashes(data), Split._fields.index("test")
    seen = np.zeros(len(data), dtype=bool)
    for path in runs:
        kept = KeptParts.read(path / PARTS_FILE)
        if kept is not None:
            seen |= np.isin(hashes, kept.geometries[kept.parts != held_out])
    return data.subset(np.flatnonzero(~seen))


def _errors(
    model: OpenedModel, data: Dataset, comparison: Comparison, fidelity: str | None, device: str
) -> tuple[PropertyErrors, dict[str, PropertyErrors]]:
    """Errors of all properties; and of what charges make, by which charges, for a model that has several kinds."""
    evaluator = Evaluator(model, comparison, device=chosen_device(device))
    both = "dcm_charges" in evaluator.potential.predicts
    names = [name for name in evaluator.measured(data) if name in ("dipole", "esp")] if both else []
    sums = {source: ErrorSums(names) for source in CHARGE_SOURCES}

    def add(_: np.ndarray, batch: AtomicBatch, results: dict[str, Tensor]) -> None:
        for source, dipole in (("distributed", "dcm_dipole"), ("charges", "charge_dipole")):
            own = {"dipole": results[dipole]}
            if "esp" in names:
                own["esp"] = _potential(batch, results, source)
            sums[source].add(own, batch)

    overall = evaluate_part(evaluator, data, fidelity=fidelity, on_batch=add if names else None).overall
    if both:
        return overall, {source: found.table() for source, found in sums.items() if names}
    return overall, {"charges": {name: overall[name] for name in ("dipole", "esp") if name in overall}}


def _potential(batch: AtomicBatch, results: Mapping[str, Tensor], source: str) -> Tensor:
    assert batch.esp_points is not None
    assert batch.esp_system_idx is not None
    return ChargeSites.of(batch, results, source).potential(batch.esp_points, batch.esp_system_idx)


@dataclass(frozen=True)
class _Costs:
    one: Duration
    many: Duration
    step: Duration | None
    memory: PeakMemory | None


def _costs(
    runs: Mapping[str, Path], calculators: Mapping[str, ModelCalculator], atoms: Atoms, images: Sequence[Atoms],
    rounds: int, memory: bool,
) -> dict[str, _Costs]:  # fmt: skip
    """Times of all models in turns, and memory of each."""
    one = durations({name: one_structure(calc, atoms) for name, calc in calculators.items()}, rounds)
    many = durations({name: many_structures(calc, images) for name, calc in calculators.items()}, rounds)
    steps = {}
    for name, path in runs.items():
        try:
            steps[name] = training_step(path)
        except (MolcalcError, OSError) as error:
            log.info("no step of training of %s is timed: %s", name, error)
    step = durations(steps, rounds)
    peaks = {
        name: peak_memory(
            path, images, {"device": calculators[name].device.type, "fidelity": calculators[name].fidelity}
        )
        if memory
        else None
        for name, path in runs.items()
    }
    each = {name: took.per(len(images)) for name, took in many.items()}
    return {name: _Costs(one[name], each[name], step.get(name), peaks[name]) for name in runs}


def _result(
    name: str, path: Path, model: OpenedModel, errors: PropertyErrors, by_charges: dict[str, PropertyErrors],
    moved: EquivarianceErrors, costs: _Costs,
) -> ComparedModel:  # fmt: skip
    history = RunFolder(path).read_history()
    last = history[-1] if history else {}
    return ComparedModel(
        name,
        model.config.kind,
        model.hash,
        sum(parameter.numel() for member in model.members for parameter in member.parameters()),
        model.config.arguments.get("n_dcm"),
        last.get("epoch"),
        last.get("step"),
        last.get("seconds"),
        _learned(path),
        errors,
        by_charges,
        moved,
        costs.one,
        costs.many,
        costs.step,
        costs.memory,
    )
