"""Groups of systems, and the fidelity of a model that each system is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from molcalc.batch import AtomicBatch
from molcalc.checkpoint import Fidelity, ModelConfig
from molcalc.errors import FidelityError, UnsupportedElementError
from molcalc.schema import suggest
from molcalc.train import views
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.states import DEFAULT_FIDELITY
from molcalc.units import symbols_of


class FidelityIndex:
    """Translates the fidelities of data into those of a model, by name.

    Parameters
    ----------
    fidelity : of the model, for data whose fidelity has no name; None is right for a model that has only one.

    Raises
    ------
    FidelityError
        When the model does not have a fidelity of the data, or it is not clear which one is meant.
    UnsupportedElementError
        When the data have an element that the fidelity of the model does not know.
    """

    def __init__(self, config: ModelConfig, data: Dataset, fidelity: str | None = None) -> None:
        names = [item.name for item in config.fidelities]
        unnamed = data.fidelities == (DEFAULT_FIDELITY,) and DEFAULT_FIDELITY not in names
        wanted = [fidelity or names[0]] if unnamed or fidelity is not None else list(data.fidelities)
        if fidelity is not None and len(data.fidelities) > 1:
            raise FidelityError(f"fidelity={fidelity!r}, but the data have {', '.join(data.fidelities)}: leave it out")
        if unnamed and fidelity is None and len(names) > 1:
            raise FidelityError(f"the model has the fidelities {', '.join(names)}: say which one the data are of")
        for name in wanted:
            if name not in names:
                raise FidelityError(
                    f"unknown fidelity {name!r}{suggest(name, names)}; the model has {', '.join(names)}"
                )
        found = [names.index(name) for name in wanted]
        for k, index in enumerate(found):
            _check_elements(config, config.fidelities[index], elements_of(data, k))
        self._index = torch.tensor(found)

    def applied(self, batch: AtomicBatch) -> AtomicBatch:
        """The batch with fidelities of the model."""
        return replace(batch, fidelity=self._index.index_select(0, batch.fidelity))


def elements_of(data: Dataset, fidelity: int) -> tuple[int, ...]:
    """Atomic numbers that occur at a fidelity of a dataset, ascending."""
    part = data.subset(np.flatnonzero(data.fidelity[data.indices] == fidelity))
    return tuple(int(z) for z in np.unique(views.numbers(part)))


def _check_elements(config: ModelConfig, level: Fidelity, elements: tuple[int, ...]) -> None:
    known = config.arguments["elements"] if level.elements is None else level.elements
    strange = set(elements) - set(known)
    if strange:
        at = f" at fidelity {level.name!r}" if len(config.fidelities) > 1 else ""
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
        groups["fidelity"] = lambda k: data.fidelities[int(data.fidelity[data.indices[k]])]
    return {kind: [name(k) for k in range(len(data))] for kind, name in groups.items()}


def formula(data: Dataset, k: int) -> str:
    """Formula and charge of a system, in Hill order: "CH4O", "H4N (+1)"."""
    system = data.indices[k]
    numbers = data.numbers[data.offsets[system] : data.offsets[system + 1]]
    elements, counts = np.unique(numbers, return_counts=True)
    parts = {symbols_of([z]).split()[0]: str(n) if n > 1 else "" for z, n in zip(elements, counts)}
    first = [symbol for symbol in ("C", "H") if "C" in parts and symbol in parts]
    order = first + sorted(symbol for symbol in parts if symbol not in first)
    charge = int(data.total_charge[system])
    return "".join(symbol + parts[symbol] for symbol in order) + (f" ({charge:+d})" if charge else "")
