"""Preparation of a run: a trainer from options and data, with every choice that was left open."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from molcalc.assembly.terms import completing_terms
from molcalc.errors import ConfigError, DatasetError
from molcalc.io.checkpoint import Checkpoint, ModelConfig
from molcalc.models.network import TrainableNetwork
from molcalc.properties import LABELS
from molcalc.train.config import FitConfig
from molcalc.train.continuation import identity_of
from molcalc.train.data.comparison import Comparison
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.parts import Parts, check_spins
from molcalc.train.loop.losses import TERMS, Loss, LossConfig
from molcalc.train.loop.metrics import compared
from molcalc.train.loop.potential_task import PotentialTask
from molcalc.train.loop.processes import Processes
from molcalc.train.loop.run_folder import RunFolder
from molcalc.train.loop.sampler import Sampler, by_name
from molcalc.train.loop.trainer import Trainer
from molcalc.train.optimize.optimizers import OptimizerSet, optimizer_for, resolved
from molcalc.train.optimize.schedules import Schedule
from molcalc.train.start.initial_model import InitialModel, cast, continued_model, new_model
from molcalc.train.start.knowledge_of_data import with_learned

log = logging.getLogger(__name__)


def prepare(
    config: FitConfig,
    asked: set[str],
    parts: Parts,
    folder: RunFolder,
    processes: Processes,
    device: torch.device,
    begun: Checkpoint | None = None,
) -> tuple[FitConfig, Trainer[PotentialTask]]:
    """A run before its first step.

    Parameters
    ----------
    asked : loss terms that the user named: it is an error when they cannot be trained.
    device : where the network is trained.
    begun : the present weights of a run that goes on.

    Returns
    -------
    config : with the loss that the data allow, and with recommended settings where none were given.
    trainer : of the run.

    Raises
    ------
    ConfigError, CheckpointMismatchError
        When options do not fit each other, the data, or given weights.
    DatasetError
        When labels contradict each other, or what shall be trained has no labels.
    """
    train = parts.train
    if begun is None:
        initial = new_model(config.start, train, config.seed, tuple(parts.held_out.values()))
    else:
        initial = continued_model(config.start, begun, train)
    completing_terms(initial.config, 0)  # what every fidelity declares has to exist
    check_spins(parts, initial.network.predicts)
    _check_dipole_source(config.comparison, initial.network.predicts, config.start.model)
    config = replace(config, loss=loss_for(config.loss, asked, train, initial.network.predicts, config.start.model))
    _check_held_out(parts, config.loss)
    network = cast(initial.network, config.loop.precision, len(train.fidelities)).to(device)
    optimize = resolved(
        config.optimize,
        n_systems=len(train),
        n_features=_width(initial.config),
        n_atoms=int(train.n_atoms().max()),
        fine_tuning=config.start.init is not None,
    )
    config = replace(config, optimize=optimize)
    lowest = config.loop.terminate_on_low_lr
    if lowest is not None and optimize.learning_rate is not None and lowest > optimize.learning_rate:
        raise ConfigError(
            f"terminate_on_low_lr={lowest:g} is above the learning rate {optimize.learning_rate:g}, which never falls "
            "below it then: give a smaller one"
        )
    optimizer = optimizer_for(optimize, network)
    if _moves_energies(optimizer, network, initial.config):
        initial = replace(initial, config=with_learned(initial.config, train, Loss(config.loss).labels))
    elif begun is not None:
        initial = replace(initial, config=replace(initial.config, fidelities=begun.config.fidelities))
    provenance = {**initial.config.provenance, **_provenance(parts, config.seed, config.start.init)}
    sampler = Sampler(
        train.n_atoms(),
        train.fidelity,
        batch_size=config.loop.batch_size,
        mode=config.loop.batch_mode,
        batches_per_epoch=config.loop.batches_per_epoch,
        weights=by_name(config.loop.fidelity_weights, train.fidelities),
        seed=config.seed,
        n_processes=processes.size,
    )
    task = PotentialTask(
        config=config.loop,
        comparison=config.comparison,
        seed=config.seed,
        initial=InitialModel(replace(initial.config, provenance=provenance), network, initial.subtractions),
        train=train,
        valid=parts.valid,
        loss=Loss(config.loss),
        processes=processes,
        device=device,
    )
    trainer = Trainer(
        config=config.loop,
        seed=config.seed,
        task=task,
        optimizer=optimizer,
        schedule=Schedule(config.optimize.schedule, config.loop.epochs * sampler.batches_per_epoch),
        sampler=sampler,
        folder=folder,
        processes=processes,
        device=device,
        validate_first=config.start.init is not None,
        identity=identity_of(config.flat(), parts, processes),
    )
    return config, trainer


def _moves_energies(optimizer: OptimizerSet, network: TrainableNetwork, config: ModelConfig) -> bool:
    """Whether any energy depends on what is trained, and not only charges around atoms."""
    beside = network.beside_energy if config.coulomb != "distributed" else ()
    return not all(name.startswith(beside) for name in optimizer.named_parameters)


def loss_for(config: LossConfig, asked: set[str], train: Dataset, predicts: Sequence[str], model: str) -> LossConfig:
    """The loss without the terms that have no label or no prediction.

    Parameters
    ----------
    asked : terms that the user named: for those, that is an error.
    predicts : what the network predicts beside energies.
    model : its kind, for messages.

    Returns
    -------
    the same options with fewer weights.

    Raises
    ------
    DatasetError
        When a term that was asked for has no label, or there is no label that can be learned.
    ConfigError
        When a term that was asked for is not predicted.
    """
    counts = train.counts()
    possible = compared(tuple(LABELS), predicts)
    weights = {}
    used: set[str] = set()
    for name, weight in config.weights.items():
        term = TERMS[name](name, config)
        absent = [label for label in term.labels if not counts.get(label, 0)]
        if weight > 0 and name in asked and absent:
            present = ", ".join(f"{label} ({n})" for label, n in counts.items() if n) or "none"
            raise DatasetError(f"loss term {name!r}: no training system has {absent[0]}; labels found: {present}")
        missing = [prediction for prediction in term.requires if prediction not in predicts]
        if weight > 0 and name in asked and missing:
            raise ConfigError(
                f"loss term {name!r} needs {missing[0]}, which {model} does not predict; it can be trained on "
                f"{', '.join(possible)}"
            )
        off = name not in asked and any(config.weights.get(label) == 0 for label in term.labels)
        if not absent and not missing and not off:  # who switches a label off means the second term of it as well
            weights[name] = weight
            for label in term.labels:
                if weight > 0 and counts[label] < len(train) and label not in used:
                    log.warning("%s; the others are masked", _coverage(train, label))
            used.update(term.labels)
    unused = [name for name, n in counts.items() if n and name in possible and name not in used]
    if unused:
        log.warning(
            "labels that are not in the loss: %s; loss.weights.%s gives them a part", ", ".join(unused), unused[0]
        )
    if not any(weights.values()):
        weights = _only_labels(counts, possible, asked, model)
    return replace(config, weights=weights)


def _only_labels(counts: Mapping[str, int], possible: Sequence[str], asked: set[str], model: str) -> dict[str, float]:
    """Weight 1 for every label that can be learned, where the usual loss has none of them and the user says nothing."""
    found = [name for name, n in counts.items() if n and name in possible]
    if asked or not found:
        raise DatasetError(
            f"nothing is left to train on; labels found: {', '.join(name for name, n in counts.items() if n) or 'none'}"
            f"; {model} can be trained on {', '.join(possible)} with a weight above 0"
        )
    log.warning("the usual loss of %s has none of the labels; %s: weight 1", model, ", ".join(found))
    return dict.fromkeys(found, 1.0)


def _check_dipole_source(comparison: Comparison, predicts: Sequence[str], model: str) -> None:
    needed = {"distributed": "dcm_charges", "charges": "charges"}.get(comparison.dipole_source)
    if needed is not None and needed not in predicts:
        raise ConfigError(
            f"dipole_source={comparison.dipole_source!r} needs {needed}, which {model} does not predict: leave it out"
        )


def _check_held_out(parts: Parts, loss: LossConfig) -> None:
    """Refuse held-out systems without any label that is learned, and warn of labels that only training systems have."""
    learned = Loss(loss).labels
    for name, part in (("validation", parts.valid), ("test", parts.test)):
        if not len(part):
            continue
        counts = part.counts()
        absent = [label for label in LABELS if label in learned and not counts.get(label, 0)]
        if len(absent) == len(learned):
            present = ", ".join(f"{label} ({n})" for label, n in counts.items() if n) or "none"
            raise DatasetError(
                f"no system of the {name} part has {' or '.join(absent)}, which are learned; labels found: {present}. "
                f"Give files with labels, or a share of the training data"
            )
        if absent:
            log.warning("no system of the %s part has %s: errors of it are not known there", name, ", ".join(absent))


def _coverage(train: Dataset, name: str) -> str:
    """Number of systems that have a label, at every fidelity."""
    has, fidelity = train.has(name), train.fidelity
    if len(train.fidelities) == 1:
        return f"{int(has.sum())} of {len(train)} training systems have {name}"
    counts = ((k, fidelity == k) for k in range(len(train.fidelities)))
    parts = (f"{int(has[own].sum())} of {int(own.sum())} at {train.fidelities[k]}" for k, own in counts)
    return f"training systems with {name}: {', '.join(parts)}"


def _width(model: ModelConfig) -> int:
    """Features of a network, in trunk and head; 1 of one that counts them under other names."""
    arguments = model.arguments
    return max(1, int(arguments.get("n_features", arguments.get("aim_size", 0)) + arguments.get("head_features", 0)))


def _provenance(parts: Parts, seed: int, init: str | None) -> dict[str, str]:
    """Origin of a model, as its declaration says it."""
    sizes = ", ".join(f"{name} {len(part)}" for name, part in {"train": parts.train, **parts.held_out}.items())
    found = {
        "trained_on": sizes,
        "data_hash": parts.train.hash,
        "split": parts.split_hash,
        "seed": str(seed),
    }
    return found if init is None else {**found, "init": init.rpartition("/")[2]}
