"""Work on ASE databases in SQLite: repair, split, merge, and write results back.

Rows are copied as they are, with everything that ASE keeps of them. Who changes a database holds the lock of molcalc,
which ends with its process, and the lock file of ASE, which keeps programs out that know no other.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from molcalc.errors import DatasetError, ResourceError, StateError, damaged
from molcalc.io.files import replacing, together
from molcalc.io.locks import Owner, lock_file, only_writer
from molcalc.io.sqlite import SQLITE_ERRORS, failure_of_sqlite, uri_of
from molcalc.io.targets import reserved
from molcalc.state import CHARGE_KEYS, charge_argument, resolve_charge, state_key, without_rounding
from molcalc.train.data.declaration import Declaration
from molcalc.train.data.formats.encoding import decode_data, decode_json
from molcalc.train.data.formats.sqlite import SQLiteDatabase
from molcalc.train.data.opening import open_dataset
from molcalc.train.data.split import Split, split

TABLES = ("species", "keys", "text_key_values", "number_key_values")
LOCK_WAIT = 8.0
"""Seconds to wait for another writer; ASE itself waits for ever."""
_PER_ATOM = ("initial_magmoms", "initial_charges", "masses", "momenta", "forces", "magmoms", "charges")
_WIDTH = {"positions": 3, "momenta": 3, "forces": 3}
_FIXED = {"cell": 9, "dipole": 3, "stress": 6}


class Repaired(NamedTuple):
    """Numbers of rows whose single-precision arrays were restored, and that were given a charge."""

    restored: int
    charged: int


def repair(path: str | os.PathLike[str], *, charge: int | None = None) -> Repaired:
    """Restore arrays that were written in single precision, and set missing charges, in one transaction.

    Parameters
    ----------
    charge : total charge of the rows that record none; None leaves them.

    Returns
    -------
    numbers of rows with restored arrays and with new charges

    Raises
    ------
    ChargeError
        For a charge that is not a whole number.
    DatasetError
        When a row cannot have this charge; the database stays as it was.
    """
    database, wanted = _checked(path), charge_argument(charge)
    with writing(database), _transaction(database) as connection:
        restored = sum(_restore(connection, row) for row in _narrow_rows(connection))
        charged = 0 if wanted is None else _set_charges(connection, wanted)
    return Repaired(restored, charged)


def split_database(
    path: str | os.PathLike[str],
    *,
    valid: float | int,
    test: float | int,
    seed: int,
    by: str | None = None,
    split_key: str | None = None,
    method: str = "hash",
    fold: str | None = None,
    force: bool = False,
) -> dict[Path, int]:
    """Write the parts of a database into files beside it, named ``…_train.db`` and so on.

    Parameters are those of :func:`molcalc.train.data.split`.

    Returns
    -------
    Number of rows by file.
    """
    database = _checked(path)
    targets = part_files(database)
    with ExitStack() as held:
        for target in targets.values():
            held.enter_context(reserved(target, force=force, error=DatasetError))
        dataset = open_dataset(database)
        parts = split(dataset, valid=valid, test=test, seed=seed, by=by, split_key=split_key, method=method, fold=fold)
        _, rows = dataset.row_ids()
        with together():
            return {
                targets[part]: _copy([(database, rows[positions])], targets[part])
                for part, positions in zip(Split._fields, parts)
                if len(positions)
            }


def part_files(database: Path) -> dict[str, Path]:
    """File of each part of a database that is split, by the name of the part."""
    return {part: database.parent / f"{database.stem}_{part}.db" for part in Split._fields}


def merge(sources: Sequence[str | os.PathLike[str]], target: str | os.PathLike[str], *, force: bool = False) -> int:
    """Write the rows of several databases into one, in that order; rows are numbered anew.

    Returns
    -------
    number of rows

    Raises
    ------
    DatasetError
        When the databases declare different units, or the target does not end in ``.db``.
    """
    databases = [_checked(source) for source in sources]
    path = Path(target)
    if path.suffix != ".db":
        raise DatasetError(f"{path}: an SQLite database is written; give it a name that ends in .db")
    with reserved(path, force=force, inputs=databases, error=DatasetError):
        units = {database: SQLiteDatabase(database, Declaration()).factors for database in databases}
        first = databases[0]
        for database in databases:
            if units[database] != units[first]:
                raise DatasetError(f"{database} declares other units than {first}: convert it first (molcalc convert)")
        return _copy([(database, None) for database in databases], path)


def write_results(
    path: str | os.PathLike[str],
    rows: Sequence[int],
    values: Mapping[str, Sequence[float]],
    arrays: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> None:
    """Add results to rows of a database, in one transaction.

    Parameters
    ----------
    rows : ids.
    values : scalars by name, one per row, which become keys.
    arrays : arrays by name, one per row, which become data.

    Raises
    ------
    DatasetError
        When a row does not exist or ASE does not take a name.
    """
    from ase.db import connect

    database = _checked(path)
    with writing(database):
        with _transaction(database) as connection:
            known = {row for (row,) in connection.execute("SELECT id FROM systems")}
        unknown = [int(row) for row in rows if int(row) not in known]
        if unknown:
            raise DatasetError(f"{database}: there is no row {unknown[0]}")
        try:
            with connect(str(database.absolute()), use_lock_file=False) as target:
                for k, row in enumerate(rows):
                    target.change_count = 0  # ASE commits every 5,000 changes otherwise
                    keys = {name: float(column[k]) for name, column in values.items()}
                    data = {name: np.asarray(column[k]) for name, column in (arrays or {}).items()}
                    target.update(int(row), data=data, **keys)
        except ValueError as error:
            raise DatasetError(f"{database}: an ASE database does not take this: {error}") from error
        except sqlite3.Error as error:
            raise failure_of_sqlite(database, error) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Keep other writers from a database, also those that know the lock file of ASE only.

    Raises
    ------
    InUseError
        When another process of molcalc writes it for longer than LOCK_WAIT.
    DatasetError
        When the lock file of ASE is there for so long.
    ResourceError
        When a lock file cannot be written.
    """
    lock = path.with_name(path.name + ".lock")
    with only_writer(path, wait=LOCK_WAIT):
        try:
            _take(lock, path)
            yield
        finally:
            with suppress(OSError):
                if Owner.parse(lock.read_text(encoding="utf-8")) == Owner.this():
                    lock.unlink()


def _take(lock: Path, path: Path) -> None:
    """Make the lock file of ASE: the same file as the lock of molcalc, which says from the start whose it is."""
    end = time.monotonic() + LOCK_WAIT
    while True:
        try:
            os.link(lock_file(path), lock)
            return
        except FileExistsError:
            # One of molcalc is of a process that has died: the living hold the other lock.
            with suppress(OSError):
                if Owner.parse(lock.read_text(encoding="utf-8")) is not None:
                    lock.unlink()
                    continue
        except OSError as error:
            raise ResourceError(f"cannot write {lock}: {error.strerror or error}") from error
        if time.monotonic() > end:
            raise DatasetError(
                f"{path} is locked: {lock} has been there for more than {LOCK_WAIT:.0f} s; if no program writes the "
                "database, delete that file"
            )
        time.sleep(0.1)


def _checked(path: str | os.PathLike[str]) -> Path:
    """Path of a database whose format is known."""
    database = Path(path)
    if database.suffix.lower() != ".db":
        raise DatasetError(f"{database} is not an SQLite database (.db): convert it first (molcalc convert)")
    if not database.is_file():
        raise DatasetError(f"there is no file {database}")
    if not SQLiteDatabase(database, Declaration()).bulk:
        raise DatasetError(f"{database} has an old format: convert it first (molcalc convert)")
    return database


@contextmanager
def _transaction(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(path, timeout=20)) as connection, connection:
            yield connection
    except SQLITE_ERRORS as error:
        raise failure_of_sqlite(path, error) from error


def _narrow_rows(connection: sqlite3.Connection) -> list[tuple[int, dict[str, bytes]]]:
    """Ids of rows with arrays of half the size, and those arrays."""
    names = [*_PER_ATOM, *_FIXED, "positions"]
    found = []
    for row, n, *blobs in connection.execute(f"SELECT id, natoms, {', '.join(names)} FROM systems ORDER BY id"):
        narrow = {}
        for name, blob in zip(names, blobs):
            size = _FIXED.get(name) or n * _WIDTH.get(name, 1)
            if isinstance(blob, bytes) and len(blob) == 4 * size:
                narrow[name] = blob
        if narrow:
            found.append((int(row), narrow))
    return found


def _restore(connection: sqlite3.Connection, row: tuple[int, dict[str, bytes]]) -> int:
    number, narrow = row
    for name, blob in narrow.items():
        wide = np.frombuffer(blob, dtype="<f4").astype("<f8").tobytes()
        connection.execute(f"UPDATE systems SET {name}=? WHERE id=?", (wide, number))
    return 1


def _set_charges(connection: sqlite3.Connection, charge: int) -> int:
    import json

    count = 0
    columns = "id, key_value_pairs, data, initial_charges, numbers"
    for row, text, data, blob, numbers in connection.execute(f"SELECT {columns} FROM systems").fetchall():  # noqa: S608
        keys = decode_json(text)
        initial = np.zeros(1) if blob is None else np.frombuffer(blob, dtype="<f8")
        stated = {**(decode_data(data) if data else {}), **keys}
        if (
            any(value is not None and state_key(key) in CHARGE_KEYS for key, value in stated.items())
            or without_rounding(initial.sum(), len(initial)) != 0.0
        ):
            continue
        elements = np.frombuffer(numbers, dtype="<i4")
        try:
            resolve_charge({}, n_atoms=len(elements), protons=int(elements.sum()), argument=charge)
        except StateError as error:
            raise DatasetError(f"row {row}: {error}") from error
        keys["total_charge"] = charge
        connection.execute("UPDATE systems SET key_value_pairs=? WHERE id=?", (json.dumps(keys), row))
        connection.execute("INSERT INTO keys VALUES ('total_charge', ?)", (row,))
        connection.execute("INSERT INTO number_key_values VALUES ('total_charge', ?, ?)", (float(charge), row))
        count += 1
    return count


def _copy(sources: Sequence[tuple[Path, np.ndarray | None]], target: Path) -> int:
    """Copy rows of databases (all, or those of given ids) into a new one and return their number."""
    from ase.db import connect

    with replacing(target) as temporary:
        metadata: dict[str, Any] = {}
        for source, _ in sources:
            metadata.update(SQLiteDatabase(source, Declaration()).metadata)
        connect(str(temporary.absolute()), use_lock_file=False).metadata = metadata
        total = 0
        for source, rows in sources:
            try:
                total = _copy_rows(temporary, source, rows)
            except sqlite3.OperationalError:
                raise  # of the file that is written
            except SQLITE_ERRORS as error:
                raise damaged(source, error) from error
    return total


def _copy_rows(target: Path, source: Path, rows: np.ndarray | None) -> int:
    """Append rows, numbered after those that are there; the number of rows then."""
    content = SQLiteDatabase(source, Declaration()).content
    with closing(sqlite3.connect(uri_of(target), uri=True)) as connection, connection:
        connection.execute("ATTACH DATABASE ? AS source", (uri_of(content),))
        connection.execute("CREATE TEMP TABLE chosen (id INTEGER PRIMARY KEY)")
        if rows is None:
            connection.execute("INSERT INTO chosen SELECT id FROM source.systems")
        else:
            connection.executemany("INSERT INTO chosen VALUES (?)", [(int(row),) for row in rows])
        (offset,) = connection.execute("SELECT COALESCE(MAX(id), 0) FROM systems").fetchone()
        columns = [found[1] for found in connection.execute("PRAGMA main.table_info(systems)")]
        listed = ", ".join(columns[2:])
        known = "s.unique_id IN (SELECT unique_id FROM systems)"
        unique = f"CASE WHEN {known} THEN lower(hex(randomblob(16))) ELSE s.unique_id END"
        connection.execute(
            f"INSERT INTO systems (id, unique_id, {listed}) SELECT s.id + {offset}, {unique}, {listed} "
            "FROM source.systems s JOIN chosen USING (id) ORDER BY s.id"
        )
        for table in TABLES:
            columns = [found[1] for found in connection.execute(f"PRAGMA main.table_info({table})")]
            values = ", ".join(f"t.id + {offset}" if name == "id" else f"t.{name}" for name in columns)
            connection.execute(f"INSERT INTO {table} SELECT {values} FROM source.{table} t JOIN chosen USING (id)")
        (total,) = connection.execute("SELECT COUNT(*) FROM systems").fetchone()
    return int(total)
