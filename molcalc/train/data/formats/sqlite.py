"""ASE databases in SQLite, read in bulk from the table ``systems``."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from molcalc.errors import DatasetError, damaged
from molcalc.io.files import decompressed
from molcalc.io.sqlite import SQLITE_ERRORS, recovered, refuse_programs, uri_of
from molcalc.train.data.block import Block
from molcalc.train.data.declaration import Declaration
from molcalc.train.data.formats.database import Database, write_rows
from molcalc.train.data.formats.encoding import decode_data, decode_keys
from molcalc.train.data.formats.row import Row
from molcalc.train.data.formats.row_labels import RowLabels
from molcalc.train.data.formats.rows import joined_rows
from molcalc.train.data.problems import Problems

VERSIONS = (8, 9)
"""Formats of the table whose columns are known here; others go through ASE's own reader."""
CHUNK = 2000
_COLUMNS = (
    "id, natoms, numbers, positions, cell, pbc, initial_charges, initial_magmoms, energy, forces, stress, dipole, "
    "magmoms, charges, key_value_pairs, data"
)


class SQLiteDatabase(Database):
    """Rows straight from the table; calculators and constraints of rows are never made into objects."""

    def __init__(self, path: Path, declared: Declaration) -> None:
        refuse_programs(recovered(decompressed(path)))
        super().__init__(path, declared)
        self.bulk = sys.byteorder == "little" and self._version() in VERSIONS

    @property
    def content(self) -> Path:
        """The file to read from, without what a killed writer left half done."""
        return recovered(super().content)

    @property
    def files(self) -> list[Path]:
        beside = [self.path.with_name(self.path.name + ending) for ending in ("-journal", "-wal")]
        return [self.path, *(file for file in beside if file.exists())]

    def read(self, problems: Problems) -> Iterator[Block]:
        """All structures in the order of their ids."""
        if not self.bulk:
            yield from super().read(problems)
            return
        try:
            labels = RowLabels(self.name, self.declared.labels)
            with closing(self._sqlite()) as connection:
                cursor = connection.execute(f"SELECT {_COLUMNS} FROM systems ORDER BY id")
                while values := cursor.fetchmany(CHUNK):
                    yield joined_rows([_row(value) for value in values], labels, problems)
            labels.finish()
        except DatasetError:
            raise
        except (sqlite3.Error, ValueError, TypeError, IndexError, KeyError) as error:
            raise damaged(self.path, error) from error

    @staticmethod
    def write(path: Path, blocks: Iterator[Block], metadata: Mapping[str, Any]) -> int:
        """Write structures in one transaction, into a file that nobody else knows of and that needs no lock."""
        from ase.db import connect

        return write_rows(connect(str(path.absolute()), use_lock_file=False), blocks, metadata)

    def check(self) -> None:
        """Have SQLite walk through all its pages.

        Raises
        ------
        DatasetError
        """
        try:
            with closing(self._sqlite()) as connection:
                (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except SQLITE_ERRORS as error:
            raise damaged(self.path, error) from error
        if answer != "ok":
            raise damaged(self.path, ValueError(answer))

    def _sqlite(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{uri_of(self.content)}?mode=ro", uri=True, timeout=20)

    def _version(self) -> int:
        try:
            with closing(self._sqlite()) as connection:
                found = dict(connection.execute("SELECT name, value FROM information").fetchall())
                return int(found.get("version", 0))
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise damaged(self.path, error) from error

    def read_metadata(self) -> dict[str, Any]:
        try:
            with closing(self._sqlite()) as connection:
                found = dict(connection.execute("SELECT name, value FROM information").fetchall())
            return dict(json.loads(found.get("metadata", "{}")))
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise damaged(self.path, error) from error


def _row(values: tuple[Any, ...]) -> Row:
    *columns, keys, data = values
    decoded = (
        {} if keys in (None, "{}") else decode_keys(keys),
        {} if data in (None, "null", b"null") else decode_data(data),
    )
    return Row._make((*columns, *decoded))
