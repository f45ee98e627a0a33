"""ASE databases in SQLite, read in bulk from the table ``systems``."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from molcalc.train.data.formats.asedb import DatabaseSource
from molcalc.train.data.formats.base import damaged
from molcalc.train.data.formats.encoding import decode_data, decode_json
from molcalc.train.data.rows import Row

VERSIONS = (8, 9)
"""Formats of the table whose columns are known here; others go through ASE's own reader."""
CHUNK = 2000
_COLUMNS = (
    "id, natoms, numbers, positions, cell, pbc, initial_charges, energy, forces, stress, dipole, magmoms, charges, "
    "key_value_pairs, data"
)


class SQLiteSource(DatabaseSource):
    """Rows straight from the table; calculators and constraints of rows are never made into objects."""

    def __init__(self, path: Path, declared: Mapping[str, str]) -> None:
        super().__init__(path, declared)
        self.bulk = sys.byteorder == "little" and self._version() in VERSIONS

    @property
    def files(self) -> list[Path]:
        log = self.path.with_name(self.path.name + "-wal")
        return [self.path, log] if log.exists() else [self.path]

    def chunks(self) -> Iterator[Sequence[Row]]:
        if not self.bulk:
            yield from super().chunks()
            return
        try:
            with closing(self._sqlite()) as connection:
                cursor = connection.execute(f"SELECT {_COLUMNS} FROM systems ORDER BY id")
                while values := cursor.fetchmany(CHUNK):
                    yield [_row(value) for value in values]
        except (sqlite3.Error, ValueError, TypeError, IndexError, KeyError) as error:
            raise damaged(self.path, error) from error

    def check(self) -> None:
        """Have SQLite walk through all its pages.

        Raises
        ------
        DatasetError
        """
        try:
            with closing(self._sqlite()) as connection:
                (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.Error as error:
            raise damaged(self.path, error) from error
        if answer != "ok":
            raise damaged(self.path, ValueError(answer))

    def _sqlite(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{quote(str(self.path.absolute()))}?mode=ro", uri=True, timeout=20)

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
    keys, data = values[13], values[14]
    decoded = (
        {} if keys in (None, "{}") else decode_json(keys),
        {} if data in (None, "null", b"null") else decode_data(data),
    )
    return Row._make((*values[:13], *decoded))
