"""Rows from arrays that hold many structures of one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from molcalc.properties import LABELS
from molcalc.train.data.formats.base import as_bytes
from molcalc.train.data.rows import IN_DATA, LABEL_DATA, Row


def rows_of(
    arrays: Mapping[str, np.ndarray], first: int, rename: Mapping[str, str], texts: Mapping[str, Sequence[str]]
) -> list[Row]:
    """Rows of row-aligned arrays.

    Scalars of a row become keys, other arrays data; a label that is NaN throughout a row is missing there.

    Parameters
    ----------
    arrays : by name; after renaming, numbers (m, n) and positions (m, n, 3) are needed. Columns of zeros at the end of
        numbers are padding.
    first : number of the first row.
    rename : names of the file that differ from ours.
    texts : what the integers of some keys stand for.
    """
    named = {rename.get(name, name): values for name, values in arrays.items()}
    numbers, positions = named.pop("numbers"), named.pop("positions")
    cell, pbc = named.pop("cell", None), named.pop("pbc", None)
    labels = {name: named.pop(name, None) for name in ("energy", "forces", "stress", "dipole", "charges")}
    labels["magmoms"] = named.pop("spin_charges", None)
    sizes = np.count_nonzero(numbers, axis=1)
    padded = numbers.shape[1]
    rows = []
    for k in range(len(numbers)):
        n = int(sizes[k])
        keys, data = {}, {}
        for name, values in named.items():
            value = values[k]
            if value.ndim == 0 and name in texts:
                if value >= 0:
                    keys[name] = texts[name][int(value)]
            elif value.ndim == 0:
                keys[name] = value.item()
            else:
                per_atom = LABELS[name].kind == "atom" if name in LABELS else name not in LABEL_DATA
                data[name] = value[:n] if value.shape[0] == padded and per_atom else value
        for label in IN_DATA:
            if label.name in data and np.isnan(data[label.name]).all():
                del data[label.name]
        if "esp" in data and np.isnan(data["esp"][-1:]).any():
            data.update(_without_padding(data))
        energy = None if labels["energy"] is None else float(labels["energy"][k])
        rows.append(
            Row(
                id=first + k,
                natoms=n,
                numbers=np.ascontiguousarray(numbers[k, :n], dtype="<i4").tobytes(),
                positions=as_bytes(positions[k, :n]) or b"",
                cell=None if cell is None else as_bytes(cell[k]),
                pbc=0 if pbc is None else int(np.dot(np.asarray(pbc[k], dtype=bool), [1, 2, 4])),
                initial_charges=None,
                energy=None if energy is not None and np.isnan(energy) else energy,
                forces=_part(labels["forces"], k, n),
                stress=_part(labels["stress"], k, None),
                dipole=_part(labels["dipole"], k, None),
                magmoms=_part(labels["magmoms"], k, n),
                charges=_part(labels["charges"], k, n),
                keys=keys,
                data=data,
            )
        )
    return rows


def _without_padding(data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """ESP and points up to the last value that is not NaN."""
    present = np.flatnonzero(~np.isnan(data["esp"]))
    end = int(present[-1]) + 1 if len(present) else 0
    return {name: data[name][:end] for name in ("esp", "esp_points") if name in data}


def _part(values: Any, k: int, n: int | None) -> bytes | None:
    """Bytes of the values of one row without padding; None when all of them are NaN."""
    if values is None:
        return None
    part = values[k] if n is None else values[k, :n]
    return None if np.isnan(part).all() else as_bytes(part)
