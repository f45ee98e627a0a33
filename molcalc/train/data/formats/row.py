"""One structure with its results, as an ASE database holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from molcalc.properties import LABELS

IN_DATA = tuple(label for label in LABELS.values() if label.ase_name is None and label.kind in ("system", "atom"))
"""Labels that a row keeps among its data, beside the electrostatic potential."""
LABEL_DATA = ("esp", "esp_points", *(label.name for label in IN_DATA))
"""Names among the data of a row that are labels or belong to them."""
NOT_OTHER = {*LABELS, "esp_points"}
"""Names among the data of a row that say what has a place of its own."""


class Row(NamedTuple):
    """One structure with its results, in the units of its source.

    Attributes
    ----------
    id : number that names the row in its file.
    natoms : number of atoms.
    numbers : int32 bytes; positions, cell : float64 bytes.
    pbc : sum of 1, 2, 4 for the periodic directions.
    initial_charges … charges : float64 bytes, or None where missing; energy is a float.
    keys : names and scalars.
    data : names and arrays (those of :data:`LABEL_DATA` and whatever else there is).
    """

    id: int
    natoms: int
    numbers: bytes
    positions: bytes
    cell: bytes | None
    pbc: int
    initial_charges: bytes | None
    energy: float | None
    forces: bytes | None
    stress: bytes | None
    dipole: bytes | None
    magmoms: bytes | None
    charges: bytes | None
    keys: Mapping[str, Any]
    data: Mapping[str, Any]

    def values_of(self, column: str) -> Any:
        """Energy, or float64 array of another column of results; vectors of atoms as (natoms, 3)."""
        value = getattr(self, column)
        if not isinstance(value, bytes):
            return value
        values = np.frombuffer(value[: len(value) // 8 * 8], dtype="<f8")
        return values.reshape(-1, 3) if column == "forces" and len(values) % 3 == 0 else values


def as_bytes(values: Any) -> bytes | None:
    """Little-endian float64 bytes of an array; None for None."""
    return None if values is None else np.ascontiguousarray(values, dtype="<f8").tobytes()


def named(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Values by the text of their names: ``atoms.info`` takes any name, and JSON of ASE makes integers of digits."""
    return {str(name): value for name, value in values.items()}
