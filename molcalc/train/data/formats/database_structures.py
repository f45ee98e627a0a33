"""Structures of ASE databases as whoever computes sees them: Atoms with keys and data of their rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ase import Atoms

from molcalc.elements import check_numbers
from molcalc.errors import InputError
from molcalc.io.budget import bounded_memory
from molcalc.io.exact_numbers import exact_flags, exact_integers, real_numbers
from molcalc.io.lmdb_file import LMDB
from molcalc.io.sqlite import recovered, refuse_programs
from molcalc.state import single
from molcalc.train.data.formats.database_keys import is_key_in_data
from molcalc.train.data.formats.lmdb_database import read_lmdb
from molcalc.train.data.formats.row import NOT_OTHER, named

DATABASES = ("db", "json")
"""ASE's names of the formats."""


def structures_of_database(path: str, name: str) -> list[Atoms]:
    """Structures of an ASE database, with keys and data of their rows in ``info``.

    Parameters
    ----------
    path : absolute, lest ASE takes it for the address of a server.
    name : of the file, for messages.

    Returns
    -------
    structures in the order of the rows

    Raises
    ------
    InputError
        When a row contradicts itself, or claims more memory than the file may take; readers of ASE raise anything else.
    """
    file = Path(path)
    if file.suffix == ".db":
        refuse_programs(recovered(file))
    images = []
    with _database_in(file) as database, bounded_memory(file, name):
        for row in database.select():
            _check_arrays(row, name)  # ASE cuts what is not whole, and takes texts for numbers
            atoms = row.toatoms()
            data = named(row.data)
            in_data = {key: value for key, value in data.items() if is_key_in_data(key, value, len(atoms))}
            # Keys live beside ASE's own names; row.charge, for one, is a property that hides a key of that name.
            keys = {key: vars(row)[key] for key in row._keys}
            for key in in_data.keys() & keys.keys():
                if single(in_data[key]) not in (None, single(keys[key])):
                    raise InputError(
                        f"{path} row {row.id}: {key} among the keys and among the data of the row differ: remove one"
                    )
            others = {key: value for key, value in data.items() if key not in NOT_OTHER}  # labels go with their results
            atoms.info.update({**others, **in_data, **keys})
            images.append(atoms)
    return images


def _check_arrays(row: Any, name: str) -> None:
    """Refuse a row whose structure is not made of numbers as they are expected."""
    where = f"row {row.id}"
    check_numbers(exact_integers(row.numbers, f"{where}: numbers").ravel().tolist(), f"{name}, {where}")
    exact_flags(row.pbc, f"{where}: pbc")
    for array in ("positions", "cell", "initial_charges", "initial_magmoms"):
        if (values := vars(row).get(array)) is not None:
            real_numbers(values, f"{where}: {array}")


def _database_in(file: Path) -> Any:
    """Database of ASE in a file, to be read."""
    from ase.db import connect

    return read_lmdb(file) if file.suffix == LMDB else connect(recovered(file), use_lock_file=False)
