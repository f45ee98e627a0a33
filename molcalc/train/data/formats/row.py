"""One structure with its results, as an ASE database holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from molcalc.io.exact_numbers import exact_flags, exact_integers, real_numbers
from molcalc.properties import LABELS

IN_DATA = tuple(label for label in LABELS.values() if label.ase_name is None and label.kind in ("system", "atom"))
"""Labels that a row keeps among its data, beside the electrostatic potential."""
LABEL_DATA = ("esp", "esp_points", *(label.name for label in IN_DATA))
"""Names among the data of a row that are labels or belong to them."""
RESULTS = ("energy", "forces", "stress", "dipole", "magmoms", "charges")
"""Columns of a row that hold results, by ASE's names."""
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
    initial_charges … charges : float64 bytes, or None where missing; energy is a float, and
        initial magnetic moments may be vectors.
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
    initial_magmoms: bytes | None
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


def packed_row(
    number: int, where: str, *, numbers: Any, positions: Any, cell: Any, pbc: Any, initial_charges: Any,
    initial_magmoms: Any, results: Mapping[str, Any], keys: Mapping[str, Any], data: Mapping[str, Any],
) -> Row:  # fmt: skip
    """A row of the values that a reader found; every number in it is what it was, or the row is refused.

    Parameters
    ----------
    number : of the row in its file.
    where : file and row, for messages.
    numbers : (natoms,) atomic numbers; positions, cell, pbc, initial_charges,
    initial_magmoms : arrays, or None where there are none.
    results : energy, forces, stress, dipole, magmoms and charges, by ASE's names; others do not count.

    Returns
    -------
    row

    Raises
    ------
    DatasetError
        Names the file, the row and what is no array of such numbers.
    """

    def packed(name: str, values: Any) -> bytes | None:
        return as_bytes(values, f"{where}: {name}")

    energy = results.get("energy")
    return Row(
        id=number,
        natoms=len(numbers),
        numbers=exact_integers(numbers, f"{where}: numbers").astype("<i4").tobytes(),
        positions=packed("positions", positions) or b"",
        cell=packed("cell", cell),
        pbc=0 if pbc is None else int(np.dot(exact_flags(pbc, f"{where}: pbc"), [1, 2, 4])),
        initial_charges=packed("initial_charges", initial_charges),
        initial_magmoms=packed("initial_magmoms", initial_magmoms),
        energy=energy.item() if isinstance(energy, (np.generic, np.ndarray)) and energy.ndim == 0 else energy,
        forces=packed("forces", results.get("forces")),
        stress=packed("stress", results.get("stress")),
        dipole=packed("dipole", results.get("dipole")),
        magmoms=packed("magmoms", results.get("magmoms")),
        charges=packed("charges", results.get("charges")),
        keys=keys,
        data=data,
    )


def as_bytes(values: Any, what: str) -> bytes | None:
    """Little-endian float64 bytes of an array; None for None.

    Parameters
    ----------
    what : row and column, for messages.

    Returns
    -------
    bytes, or None

    Raises
    ------
    DatasetError
        For what is not made of numbers.
    """
    return None if values is None else np.ascontiguousarray(real_numbers(values, what), dtype="<f8").tobytes()


def named(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Values by the text of their names: ``atoms.info`` takes any name, and JSON of ASE makes integers of digits."""
    return {str(name): value for name, value in values.items()}
