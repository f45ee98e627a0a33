"""Groups of systems, and the fidelity of a model that each system is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.errors import UnsupportedElementError
from molcalc.fidelity import Fidelity, match_fidelities
from molcalc.io.checkpoint import ModelConfig
from molcalc.train.data.dataset import Dataset
from molcalc.units import symbols_of


def fidelities_of_model(config: ModelConfig, data: Dataset, fidelity: str | None = None) -> Tensor:
    """For every fidelity of the data the index of the one of a model that it is compared with, (n,) int64.

    Parameters
    ----------
    fidelity : of the model, for data whose fidelity has no name.

    Raises
    ------
    FidelityError
        As :func:`molcalc.fidelity.match_fidelities` tells.
    UnsupportedElementError
        When the data have an element that the fidelity of the model does not know.
    """
    found = match_fidelities([item.name for item in config.fidelities], data.fidelities, fidelity)
    for k, index in enumerate(found):
        _check_elements(config, config.fidelities[index], elements_of(data, k))
    return torch.tensor(found)


def at_fidelities(batch: AtomicBatch, of_model: Tensor) -> AtomicBatch:
    """The batch with fidelities of a model, from :func:`fidelities_of_model`, in place of those of the data."""
    return replace(batch, fidelity=of_model.index_select(0, batch.fidelity))


def elements_of(data: Dataset, fidelity: int) -> tuple[int, ...]:
    """Atomic numbers that occur at a fidelity of a dataset, ascending."""
    part = data.subset(np.flatnonzero(data.fidelity == fidelity))
    return tuple(int(z) for z in np.unique(part.numbers))


def _check_elements(config: ModelConfig, fidelity: Fidelity, elements: tuple[int, ...]) -> None:
    known = config.arguments["elements"] if fidelity.elements is None else fidelity.elements
    strange = set(elements) - set(known)
    if strange:
        at = f" at fidelity {fidelity.name!r}" if len(config.fidelities) > 1 else ""
        raise UnsupportedElementError(
            f"the data have {symbols_of(strange)}, which the model does not know{at}; it knows {symbols_of(known)}"
        )


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
    elements, counts = np.unique(numbers, return_counts=True)
    parts = {symbols_of([z]).split()[0]: str(n) if n > 1 else "" for z, n in zip(elements, counts)}
    first = [symbol for symbol in ("C", "H") if "C" in parts and symbol in parts]
    order = first + sorted(symbol for symbol in parts if symbol not in first)
    charge = int(data.total_charge[k])
    return "".join(symbol + parts[symbol] for symbol in order) + (f" ({charge:+d})" if charge else "")
