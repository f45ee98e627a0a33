"""Errors of a model on labelled data, in all and by fidelity, element, size and molecule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.checkpoint import Checkpoint
from molcalc.errors import DatasetError
from molcalc.potential import Potential
from molcalc.pretrained.sources import open_model
from molcalc.registry import build_members
from molcalc.train.config import FitConfig
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.opening import Data, open_dataset
from molcalc.train.esp_mask import without_masked_points
from molcalc.train.metrics import ErrorSums, compared
from molcalc.train.network import potential_of
from molcalc.train.predictions import predict
from molcalc.train.sampler import validation_batches
from molcalc.units import symbols_of

ATOMS_AT_ONCE = 2000


@dataclass(frozen=True)
class Evaluation:
    """Errors of a model on one set of systems.

    Attributes
    ----------
    overall : by property ``mae``, ``rmse`` and ``n`` in eV, eV/Å, e·Å, e·Å², e, V.
    groups : the same for parts of the systems, by kind of group ("fidelity", "formula", "n_atoms") and name.
    samples : arrays (n, 2) of label and prediction by property, for plots.
    """

    overall: dict[str, dict[str, float]]
    groups: dict[str, dict[str, dict[str, dict[str, float]]]] = field(default_factory=dict)
    samples: dict[str, np.ndarray] = field(default_factory=dict)


def evaluate(data: Data, model: Any, *, units: Mapping[str, str] | None = None) -> dict[str, dict[str, float]]:
    """Compare a model with labelled data.

    Parameters
    ----------
    data : an ASE database, a list, or a dict fidelity name → file(s).
    model : published name, run folder, model directory, or checkpoint in memory.

    Returns
    -------
    dict of property → {"mae", "rmse", "n"} in eV, eV/Å, e·Å, e·Å², e, V.

    Raises
    ------
    DatasetError
        When the data cannot be used, or has nothing that the model predicts.
    """
    checkpoint = model if isinstance(model, Checkpoint) else open_model(model)
    return evaluate_part(checkpoint, open_dataset(data, units=units), FitConfig(model=checkpoint.config.kind)).overall


def evaluate_part(checkpoint: Checkpoint, data: Dataset, config: FitConfig) -> Evaluation:
    """Compare a model with one set of systems.

    Parameters
    ----------
    config : says which ESP points count and which charges make the dipole.
    """
    potential = _potential(checkpoint)
    measured = compared([name for name, n in data.counts().items() if n], potential.predicts)
    if not measured:
        raise DatasetError(f"no labels that the model predicts; labels found: {', '.join(data.labels) or 'none'}")
    labels = group_labels(data)
    names = {kind: list(dict.fromkeys(values)) for kind, values in labels.items()}
    overall = ErrorSums(measured)
    sums = {kind: ErrorSums(measured, len(found)) for kind, found in names.items()}
    samples: dict[str, list[np.ndarray]] = {name: [] for name in measured}
    for systems, batch, results in _predictions(potential, data, measured, config):
        overall.add(results, batch)
        for kind, found in names.items():
            place = {name: k for k, name in enumerate(found)}
            sums[kind].add(results, batch, torch.tensor([place[labels[kind][s]] for s in systems]))
        for name in measured:
            pair = torch.stack([batch.labels[name].flatten(), results[name].double().flatten()], dim=1)
            samples[name].append(pair[torch.isfinite(pair[:, 0])].numpy())
    return Evaluation(
        overall.table(),
        {kind: {name: sums[kind].table(k) for k, name in enumerate(found)} for kind, found in names.items()},
        {name: np.concatenate(parts) for name, parts in samples.items()},
    )


def _potential(checkpoint: Checkpoint) -> Potential:
    members = build_members(checkpoint)
    first = potential_of(checkpoint.config, members[0])
    potential = Potential(members, list(first.terms)) if len(members) > 1 else first  # type: ignore[arg-type]
    return potential.set_dtype(torch.float64)


def _predictions(
    potential: Potential, data: Dataset, measured: tuple[str, ...], config: FitConfig
) -> Iterator[tuple[np.ndarray, AtomicBatch, dict[str, Tensor]]]:
    for systems in validation_batches(data.n_atoms(), ATOMS_AT_ONCE):
        batch = data.batch(systems, cutoff=potential.cutoff, pair_cutoff=potential.pair_cutoff, labels=measured)
        if "esp" in measured:
            batch = without_masked_points(batch, config.esp_radius_factor, config.esp_max)
        yield systems, batch, predict(potential, batch, measured, dipole_source=config.dipole_source)


def group_labels(data: Dataset) -> dict[str, list[str]]:
    """Name of the group of every system, by kind of group."""
    sizes = data.n_atoms()
    groups: dict[str, Callable[[int], str]] = {
        "formula": lambda k: formula(data, k),
        "n_atoms": lambda k: str(sizes[k]),
    }
    if len(data.fidelities) > 1:
        groups["fidelity"] = lambda k: data.fidelities[int(data.fidelity[data.indices[k]])]
    return {kind: [name(k) for k in range(len(data))] for kind, name in groups.items()}


def formula(data: Dataset, k: int) -> str:
    """Formula and charge of a system: "C H4 O", "H4 N (+1)"."""
    system = data.indices[k]
    numbers = data.numbers[data.offsets[system] : data.offsets[system + 1]]
    elements, counts = np.unique(numbers, return_counts=True)
    parts = [symbols_of([z]).split()[0] + (str(n) if n > 1 else "") for z, n in zip(elements, counts)]
    charge = int(data.total_charge[system])
    return " ".join(sorted(parts)) + (f" ({charge:+d})" if charge else "")
