"""Rows from Atoms objects, whose results are kept as they were read, and Atoms objects from blocks."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from molcalc.properties import LABELS, to_voigt
from molcalc.state import state_key, without_rounding
from molcalc.train.data.block import Block
from molcalc.train.data.formats.row import Row, named, packed_row

_OWN_ARRAYS = {"numbers", "positions", "initial_charges", "initial_magmoms", "masses", "momenta", "tags"}
"""Arrays of Atoms that have a place of their own, or are not carried over."""


def row_of(number: int, where: str, atoms: Atoms, results: Mapping[str, Any]) -> Row:
    """A row of a frame.

    Parameters
    ----------
    number : of the frame.
    where : file and frame, for messages.
    results : of its calculator, raw.

    Returns
    -------
    row with arrays as they were stored
    """
    # What states charge or spin goes on even if it cannot: left out, it would mean 0 and the lowest.
    info = named(atoms.info)
    keys = {key: plain(value) for key, value in info.items() if is_scalar(value) or state_key(key)}
    data = {key: value for key, value in info.items() if key not in keys}
    data.update((key, value) for key, value in atoms.arrays.items() if key not in _OWN_ARRAYS)
    charges = atoms.get_initial_charges() if atoms.has("initial_charges") else None
    return packed_row(
        number,
        where,
        numbers=atoms.numbers,
        positions=atoms.positions,
        cell=atoms.cell.array,
        pbc=atoms.pbc,
        initial_charges=charges,
        initial_magmoms=atoms.get_initial_magnetic_moments() if atoms.has("initial_magmoms") else None,
        results=results,
        keys=keys,
        data=data,
    )


def is_scalar(value: Any) -> bool:
    """Whether a value is one number or text."""
    return isinstance(value, (str, numbers.Real, np.bool_)) or (isinstance(value, np.ndarray) and value.ndim == 0)


def plain(value: Any) -> Any:
    """Python number, bool or text of a scalar; other values as they are."""
    return value.item() if isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0 else value


def atoms_of(block: Block, k: int) -> Atoms:
    """A structure of a block with its results; initial charges of ions add up to the charge, as databases count those.

    Keys and data are left out.

    Returns
    -------
    structure; what it has of results is in its calculator
    """
    own = block.atoms_of(k)
    atoms = Atoms(
        block.atoms["numbers"][own],
        block.atoms["positions"][own],
        cell=block.systems["cell"][k],
        pbc=block.systems["pbc"][k],
    )
    labels, charge = labels_of(block, k), block.keys["total_charge"][k]
    initial = block.atoms["initial_charges"][own] if "initial_charges" in block.atoms else np.full(len(atoms), np.nan)
    if charge and without_rounding(initial.sum(), len(atoms)) != charge:
        charges = labels.get("charges", np.zeros(len(atoms)))
        initial = charges + (charge - charges.sum()) / len(atoms)
    if not np.isnan(initial).any():
        atoms.set_initial_charges(initial)
    found = ((LABELS[name].ase_name, values) for name, values in labels.items())
    results: dict[str, Any] = {name: values for name, values in found if name is not None}
    if "energy" in results:
        results["energy"] = float(results["energy"])
    if "stress" in results:
        results["stress"] = to_voigt(results["stress"])
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def labels_of(block: Block, k: int) -> dict[str, np.ndarray]:
    """Labels that a structure of a block has, by name."""
    found = {}
    for name, label in LABELS.items():
        if name in block.part(label.kind):
            values = block.part(label.kind)[name][block.place(label.kind, k)]
            if not np.isnan(values).all():
                found[name] = values[0] if label.kind == "system" else values
    return found


def keys_of(block: Block, k: int) -> dict[str, Any]:
    """Keys that a structure of a block has."""
    return {name: values[k] for name, values in block.keys.items() if values[k] is not None}


def data_of(block: Block, k: int) -> dict[str, Any]:
    """``row.data`` of a structure of a block, with the labels that ASE has no name for."""
    data = {name: values[k] for name, values in block.data.items() if values[k] is not None}
    labels = labels_of(block, k)
    if "esp" in labels:
        data["esp_points"] = block.points["esp_points"][block.points_of(k)]
    return {**data, **{name: values for name, values in labels.items() if LABELS[name].ase_name is None}}


def atoms_with_info(block: Block, k: int) -> Atoms:
    """A structure of a block with its results, and with keys and data in ``info``."""
    atoms = atoms_of(block, k)
    atoms.info.update({**keys_of(block, k), **data_of(block, k)})
    return atoms
