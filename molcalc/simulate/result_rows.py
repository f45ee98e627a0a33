"""Structures with results as rows of an ASE database, which drops ``info`` and sums initial charges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ase import Atoms

from molcalc.simulate.provenance import with_initial_charges
from molcalc.state import state_key
from molcalc.train.data.formats.database_keys import is_database_key


def write_row(database: Any, atoms: Atoms, more: Mapping[str, Any] | None = None, replaced: int | None = None) -> None:
    """Write one row with ``total_charge``, ``multiplicity``, ``fidelity`` and the rest of ``info``.

    The database's own ``charge`` is the sum of initial charges: those of ions are set, so that both agree.

    Parameters
    ----------
    database : of :mod:`ase.db`.
    atoms : structure of :func:`molcalc.simulate.provenance.with_results`.
    more : further keys, which take the place of those in ``info``.
    replaced : id of the row whose place it takes; None for a new one.
    """
    keys, data = _kept(atoms.info)
    keys["total_charge"] = atoms.info["charge"]
    if "spin" in atoms.info:
        keys["multiplicity"] = atoms.info["spin"]
    if "fidelity" in atoms.info:
        keys["fidelity"] = atoms.info["fidelity"]
    keys.update(more or {})
    frame = with_initial_charges(atoms, keys["total_charge"])
    database.write(frame, key_value_pairs=keys, data=data, id=replaced)


def atoms_of_row(row: Any) -> Atoms:
    """Structure of a row that :func:`write_row` wrote, with its results and what it carried in ``info``."""
    keys = {key: vars(row)[key] for key in row._keys}  # properties of the same names hide keys
    atoms = row.toatoms()
    atoms.info.update({**row.data, **keys})
    atoms.info["charge"] = int(atoms.info.pop("total_charge"))
    if "multiplicity" in atoms.info:
        atoms.info["spin"] = int(atoms.info.pop("multiplicity"))
    if atoms.calc is not None:
        atoms.calc.parameters.update(row.get("calculator_parameters", {}))
    return atoms


def _kept(info: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a structure carried: keys of a row, and what a row can only hold as data; without charge and spin."""
    keys: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for key, value in info.items():
        if not state_key(key):
            (keys if is_database_key(key, value) else data)[key] = value
    return keys, data
