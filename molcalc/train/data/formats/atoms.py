"""Rows from Atoms objects whose results are kept as they were read, without constraints applied."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms

from molcalc.state import STATE_KEYS
from molcalc.train.data.formats.base import as_bytes
from molcalc.train.data.rows import LABEL_DATA, Row


def row_of(number: int, atoms: Atoms, results: Mapping[str, Any]) -> Row:
    """A row of a frame.

    Parameters
    ----------
    number : of the frame.
    results : of its calculator, raw.
    """
    # What states charge or spin goes on even if it cannot: left out, it would mean 0 and the lowest.
    keys = {key: _plain(value) for key, value in atoms.info.items() if _is_scalar(value) or key in STATE_KEYS}
    data = {key: value for key, value in {**atoms.info, **atoms.arrays}.items() if key in LABEL_DATA}
    charges = atoms.get_initial_charges() if atoms.has("initial_charges") else None
    energy: Any = results.get("energy")
    return Row(
        id=number,
        natoms=len(atoms),
        numbers=np.ascontiguousarray(atoms.numbers, dtype="<i4").tobytes(),
        positions=as_bytes(atoms.positions) or b"",
        cell=as_bytes(atoms.cell.array),
        pbc=int(np.dot(atoms.pbc, [1, 2, 4])),
        initial_charges=as_bytes(charges),
        energy=_plain(energy),
        forces=as_bytes(results.get("forces")),
        stress=as_bytes(results.get("stress")),
        dipole=as_bytes(results.get("dipole")),
        magmoms=as_bytes(results.get("magmoms")),
        charges=as_bytes(results.get("charges")),
        keys=keys,
        data=data,
    )


def _is_scalar(value: Any) -> bool:
    """Whether a value is one number or text."""
    return isinstance(value, (str, numbers.Real, np.bool_)) or (isinstance(value, np.ndarray) and value.ndim == 0)


def _plain(value: Any) -> Any:
    """Python number, bool or text of a scalar; other values as they are."""
    return value.item() if isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0 else value
