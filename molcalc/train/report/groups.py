"""Groups of systems that errors are reported by: formula, number of atoms, fidelity."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from molcalc.train.data.dataset import Dataset
from molcalc.units import symbols_of


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
