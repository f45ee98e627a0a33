"""ASE databases of any kind through ``ase.db.connect``; no calculators are made of what rows say."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from molcalc.errors import DatasetError, InputError, MissingPackageError, damaged
from molcalc.io.lmdb_file import LMDB
from molcalc.train.data.block import Block
from molcalc.train.data.declaration import Declaration
from molcalc.train.data.declared_units import QUANTITIES, unit_factors
from molcalc.train.data.formats.atoms import atoms_of, data_of, keys_of
from molcalc.train.data.formats.database_keys import DatabaseKeys
from molcalc.train.data.formats.lmdb_database import errors_of_the_system, new_lmdb, read_lmdb
from molcalc.train.data.formats.row import Row, named, packed_row
from molcalc.train.data.formats.rows import RowFile

log = logging.getLogger(__name__)


class Database(RowFile):
    """An ASE database; units are ASE's unless the user or the metadata of the database declare others."""

    def __init__(self, path: Path, declared: Declaration) -> None:
        super().__init__(path, declared)
        self.metadata = self.read_metadata()
        ours = {theirs: name for name, theirs in declared.labels.items()}
        said = ((ours.get(name, name), str(unit)) for name, unit in _units_of(self.metadata).items())
        units = {name: unit for name, unit in said if name in QUANTITIES}
        self.factors = unit_factors({**units, **declared.units}, self.name)
        self._mention_free_atoms(declared.labels.get("energy", "energy"))

    def read_metadata(self) -> dict[str, Any]:
        """What the database says about all its rows."""
        database = self._connect()
        try:
            with self.bounded_memory():
                return dict(database.metadata or {})
        except InputError as error:
            raise DatasetError(str(error)) from error
        except Exception as error:  # readers of ASE raise anything
            raise damaged(self.path, error) from error

    def _mention_free_atoms(self, energy: str) -> None:
        """Say how energies of free atoms in the metadata, which SchNetPack keeps by atomic number, can be used."""
        listed = self.metadata.get("atomrefs")
        values = listed.get(energy) if isinstance(listed, dict) else None
        if not isinstance(values, list) or not all(isinstance(value, (int, float)) for value in values):
            return
        factor = self.factors.get("energy", 1.0)
        energies = {chemical_symbols[z]: value * factor for z, value in enumerate(values) if z and value}
        log.info(
            "%s: the metadata have energies of free atoms; reference_energies=%s takes them instead of a fit",
            self.name, energies,
        )  # fmt: skip

    def rows(self) -> Iterator[Row]:
        """All rows in the order of their ids."""
        return (_row(row, f"{self.name}, row {row.id}") for row in self._connect().select())

    @staticmethod
    def write(path: Path, blocks: Iterator[Block], metadata: Mapping[str, Any]) -> int:
        """Write structures in one transaction.

        Returns
        -------
        number of rows

        Raises
        ------
        OSError
            When the disk is full or not writable, of LMDB too, or there are not enough addresses for it.
        """
        if path.suffix.lower() != LMDB:
            return write_rows(_connected(path), blocks, metadata)
        with contextlib.closing(new_lmdb(path)) as database, errors_of_the_system():
            return write_rows(database, blocks, metadata)

    def _connect(self) -> Any:
        try:
            return (read_lmdb if self.path.suffix.lower() == LMDB else _connected)(self.content)
        except (MissingPackageError, DatasetError):
            raise
        except Exception as error:
            raise damaged(self.path, error) from error


def _units_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Units that the metadata of a database declare, by name in its rows; SchNetPack has keys of its own for them.

    Returns
    -------
    unit by name of a label, or of what is called otherwise in this database
    """
    units: dict[str, Any] = {}
    theirs, length = metadata.get("_property_unit_dict"), metadata.get("_distance_unit")
    if isinstance(theirs, dict):
        units.update(theirs)
    if length is not None:
        units["positions"] = length
    ours = metadata.get("units")
    return {**units, **ours} if isinstance(ours, dict) else units


def write_rows(database: Any, blocks: Iterator[Block], metadata: Mapping[str, Any]) -> int:
    """Write structures as rows of a connected database; keys that it does not take go to the data of a row.

    Returns
    -------
    number of rows

    Raises
    ------
    DatasetError
        When ASE does not accept a value.
    """
    count = 0
    named = DatabaseKeys()
    with database:
        for block in blocks:
            for k in range(len(block)):
                count += 1
                try:
                    keys, data = named.divide(keys_of(block, k), data_of(block, k))
                    database.write(atoms_of(block, k), key_value_pairs=keys, data=data)
                except ValueError as error:
                    raise DatasetError(f"structure {count}: an ASE database does not take this: {error}") from error
        if count:
            database.metadata = dict(metadata)
    named.report()
    return count


def _connected(path: Path) -> Any:
    from ase.db import connect

    return connect(str(path.absolute()), use_lock_file=False)  # what is written is known to nobody else


def _row(row: Any, where: str) -> Row:
    # Keys live beside ASE's own names; row.charge, for one, is a property that hides a key of that name.
    values = vars(row)
    data = row.data
    return packed_row(
        int(row.id),
        where,
        numbers=row.numbers,
        positions=row.positions,
        cell=values.get("cell"),
        pbc=values.get("pbc"),
        initial_charges=values.get("initial_charges"),
        initial_magmoms=values.get("initial_magmoms"),
        results=values,
        keys={key: values[key] for key in row._keys},
        data=named(data) if isinstance(data, dict) else {},
    )
