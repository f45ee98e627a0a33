"""From options and data to a trainer: what is trained on what, and every choice that was left open."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from molcalc.errors import ConfigError, DatasetError
from molcalc.io.checkpoint import ModelConfig
from molcalc.io.files import sha256
from molcalc.properties import LABELS
from molcalc.train.config import FitConfig
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.geometry_hash import geometry_hashes
from molcalc.train.data.opening import Data, open_dataset
from molcalc.train.data.split import split
from molcalc.train.data.suspicions import check_units
from molcalc.train.loop.losses import TERMS, Loss
from molcalc.train.loop.processes import Processes
from molcalc.train.loop.run_folder import RunFolder
from molcalc.train.loop.sampler import Sampler, by_name
from molcalc.train.loop.trainer import Trainer
from molcalc.train.optimize.optimizers import OptimizerSet, create_optimizer, get_recommended_optimizer_config
from molcalc.train.report.groups import elements_of
from molcalc.train.report.metrics import compared
from molcalc.train.start import network as networks
from molcalc.units import symbols_of

log = logging.getLogger(__name__)

RESUME_MAY_CHANGE = {
    "threads", "checkpoint_minutes", "plot_every", "dist_timeout", "patience", "keep_top", "device",
    "use_recommended_hparams", "track", "plots",
}  # fmt: skip
"""Options that do not alter the course of a run."""


@dataclass(frozen=True)
class Parts:
    """Systems to train on, to choose the best model by, and to report on (may be empty)."""

    train: Dataset
    valid: Dataset
    test: Dataset


def open_parts(
    data: Data,
    config: FitConfig,
    valid: Data | None,
    test: Data | None,
    units: Mapping[str, str],
    skip_bad: bool = False,
) -> Parts:
    """Open the data and split off what has no file of its own.

    Raises
    ------
    DatasetError
        When files cannot be used, labels look as if they were in another unit, a part is empty, an element occurs in
        validation or test only, or held-out files share geometries with the training part.
    """
    whole = open_dataset(data, units=units, skip_bad=skip_bad)
    check_units(whole)
    chosen = split(
        whole,
        valid=0 if valid is not None else _share(config.valid),
        test=0 if test is not None else _share(config.test),
        seed=config.seed,
        by=config.split_by,
        split_key=config.split_key,
    )
    train = whole.subset(chosen.train)
    parts = Parts(
        train,
        _open_like(valid, train, units, skip_bad) if valid is not None else whole.subset(chosen.valid),
        _open_like(test, train, units, skip_bad) if test is not None else whole.subset(chosen.test),
    )
    if not len(parts.valid):
        raise DatasetError("nothing to validate on: give valid > 0, or a file of its own")
    for name, part in (("validation", parts.valid), ("test", parts.test)):
        _check_elements(train, name, part)
        _check_overlap(train, name, part, config.allow_overlap)
    return parts


def _check_overlap(train: Dataset, name: str, part: Dataset, allowed: bool) -> None:
    """Refuse geometries that a part shares with the training part at the same fidelity; only files of their own can."""
    shared = np.zeros(len(part), dtype=bool)
    for k, fidelity in enumerate(part.fidelities):
        own = part.fidelity == k
        there = train.fidelity == train.fidelities.index(fidelity)
        shared |= own & np.isin(geometry_hashes(part), geometry_hashes(train)[there])
    both = np.flatnonzero(shared)
    if not len(both):
        return
    message = (
        f"{len(both)} of {len(part)} systems of the {name} part are in the training part as well (first "
        f"{part.row_name(int(both[0]))}): errors on it will look too small"
    )
    if not allowed:
        raise DatasetError(f"{message}; leave them out, or say allow_overlap=True")
    log.warning("%s", message)


def _check_elements(train: Dataset, name: str, part: Dataset) -> None:
    """Refuse a part with elements that the training part lacks at the same fidelity."""
    for k, fidelity in enumerate(part.fidelities):
        strange = set(elements_of(part, k)) - set(elements_of(train, train.fidelities.index(fidelity)))
        if strange:
            at = f" at fidelity {fidelity!r}" if len(train.fidelities) > 1 else ""
            raise DatasetError(
                f"the {name} part has {symbols_of(strange)}{at}, which the training part lacks: split by another seed, "
                "or leave these systems out"
            )


def _check_spins(parts: Parts, predicts: Collection[str]) -> None:
    """Refuse, for a network that does not see spin, systems that only their spin tells from others.

    Raises
    ------
    DatasetError
    """
    if "spin_charges" in predicts:
        return
    for name, part in (("training", parts.train), ("validation", parts.valid), ("test", parts.test)):
        multiplicity = part.multiplicity
        high = np.flatnonzero(multiplicity > 2)
        if len(high):
            raise DatasetError(
                f"{len(high)} of {len(part)} systems of the {name} part have more unpaired electrons than they must "
                f"(first {part.row_name(int(high[0]))}: multiplicity {multiplicity[high[0]]}), and this model does not "
                "see spin: train an AIMNet2 with arguments={'charge_channels': 2}, or leave these systems out"
            )
        if odd := int((multiplicity == 2).sum()):
            log.warning(
                "%d of %d systems of the %s part have an odd number of electrons, and this model does not see the "
                "unpaired one; an AIMNet2 with arguments={'charge_channels': 2} does", odd, len(part), name,
            )  # fmt: skip


def _share(wish: float) -> float | int:
    """A share below 1, or a number of systems."""
    return wish if 0 < wish < 1 else int(wish)


def _open_like(data: Data, train: Dataset, units: Mapping[str, str], skip_bad: bool) -> Dataset:
    part = open_dataset(data, units=units, skip_bad=skip_bad)
    check_units(part)
    if not set(part.fidelities) <= set(train.fidelities):
        raise DatasetError(
            f"fidelities {list(part.fidelities)} in the held-out data, {list(train.fidelities)} in the training data; "
            "give both as a dict of the same names"
        )
    return part


def loss_for(config: FitConfig, asked: set[str], train: Dataset, predicts: tuple[str, ...]) -> FitConfig:
    """Leave out the loss terms that have no label or no prediction.

    Parameters
    ----------
    asked : terms that the user named: for those, that is an error.

    Raises
    ------
    DatasetError, ConfigError
    """
    counts = train.counts()
    possible = compared(tuple(LABELS), predicts)
    weights = {}
    used: set[str] = set()
    for name, weight in config.loss.weights.items():
        term = TERMS[name](name, config.loss)
        absent = [label for label in term.labels if not counts.get(label, 0)]
        if weight > 0 and name in asked and absent:
            present = ", ".join(f"{label} ({n})" for label, n in counts.items() if n) or "none"
            raise DatasetError(f"loss term {name!r}: no training system has {absent[0]}; labels found: {present}")
        missing = [prediction for prediction in term.requires if prediction not in predicts]
        if weight > 0 and name in asked and missing:
            raise ConfigError(
                f"loss term {name!r} needs {missing[0]}, which {config.model} does not predict; it can be trained on "
                f"{', '.join(possible)}"
            )
        if not absent and not missing:
            weights[name] = weight
            used.update(term.labels)
            for label in term.labels:
                if weight > 0 and counts[label] < len(train):
                    log.warning("%s; the others are masked", _coverage(train, label))
    unused = [name for name, n in counts.items() if n and name in possible and name not in used]
    if unused:
        log.warning(
            "labels that are not in the loss: %s; loss.weights.%s gives them a part", ", ".join(unused), unused[0]
        )
    if not counts.get("energy", 0):
        raise DatasetError("no training system has an energy: a potential cannot be trained on this data")
    return replace(config, loss=replace(config.loss, weights=weights))


def _coverage(train: Dataset, name: str) -> str:
    """How many systems have a label, at every fidelity."""
    has, fidelity = train.has(name), train.fidelity
    if len(train.fidelities) == 1:
        return f"{int(has.sum())} of {len(train)} training systems have {name}"
    counts = ((k, fidelity == k) for k in range(len(train.fidelities)))
    parts = (f"{int(has[own].sum())} of {int(own.sum())} at {train.fidelities[k]}" for k, own in counts)
    return f"training systems with {name}: {', '.join(parts)}"


def optimizer_for(config: FitConfig, model_config: ModelConfig, network: nn.Module, train: Dataset) -> OptimizerSet:
    """The optimizer, with recommended settings where none are given."""
    arguments = model_config.arguments
    features = arguments.get("n_features", arguments.get("aim_size", 0)) + arguments.get("head_features", 0)
    recommended = get_recommended_optimizer_config(len(train), features, int(train.n_atoms().max()), config.optimizer)
    rate, decay = recommended.pop("learning_rate"), recommended.pop("weight_decay")
    options = {**recommended, **config.optimizer_options}
    if config.use_recommended_hparams:
        options = recommended
    else:
        rate = rate if config.learning_rate is None else config.learning_rate
        decay = decay if config.weight_decay is None else config.weight_decay
    log.info(
        "%s: learning_rate %g, weight_decay %g, %s",
        config.optimizer, rate, decay, ", ".join(f"{key} {value}" for key, value in options.items()),
    )  # fmt: skip
    return create_optimizer(config.optimizer, network, rate, decay, groups=config.groups, **options)


def make_trainer(
    config: FitConfig, asked: set[str], parts: Parts, folder: RunFolder, processes: Processes, device: torch.device
) -> Trainer:
    """Everything of a run, ready for its first step."""
    train = parts.train
    model_config, network = networks.new_model(config, train)
    _check_spins(parts, network.predicts)  # type: ignore[arg-type]
    config = loss_for(config, asked, train, network.predicts)  # type: ignore[arg-type]
    network = networks.cast(network, config.precision).to(device)
    optimizer = optimizer_for(config, model_config, network, train)
    model_config = replace(model_config, provenance={**model_config.provenance, **_provenance(config, parts)})
    sampler = Sampler(
        train.n_atoms(),
        train.fidelity,
        batch_size=config.batch_size,
        mode=config.batch_mode,
        batches_per_epoch=config.batches_per_epoch,
        weights=by_name(config.fidelity_weights, train.fidelities),
        seed=config.seed,
        n_processes=processes.size,
    )
    return Trainer(
        config=config,
        model_config=model_config,
        network=network,
        optimizer=optimizer,
        train=train,
        valid=parts.valid,
        sampler=sampler,
        loss=Loss(config.loss),
        folder=folder,
        processes=processes,
        device=device,
        identity=_identity(config, model_config, parts, processes),
    )


def _provenance(config: FitConfig, parts: Parts) -> dict[str, str]:
    names = {"train": parts.train, "valid": parts.valid, "test": parts.test}
    sizes = ", ".join(f"{name} {len(part)}" for name, part in names.items())
    found = {"trained_on": sizes, "data_hash": parts.train.hash, "split": _split_hash(parts), "seed": str(config.seed)}
    return found if config.init is None else {**found, "init": str(config.init).rpartition("/")[2]}


def _split_hash(parts: Parts) -> str:
    return sha256(b"".join(part.selection + b"|" for part in (parts.train, parts.valid, parts.test)))[:16]


def _identity(config: FitConfig, model_config: ModelConfig, parts: Parts, processes: Processes) -> dict[str, str]:
    """What must not change between the parts of one run."""
    identity = {
        "data": parts.train.hash,
        "validation data": parts.valid.hash,
        "split": _split_hash(parts),
        "number of processes": str(processes.size),
        "network": json.dumps(_jsonable(model_config.arguments), sort_keys=True),
    }
    for name, value in config.to_dict().items():
        if name not in RESUME_MAY_CHANGE:
            identity[f"option {name}"] = json.dumps(_jsonable(value), sort_keys=True)
    return identity


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    return value
