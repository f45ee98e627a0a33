"""Database that fills while structures are relaxed, and with which a later call goes on.

Rows are committed every few seconds, as structures end; each says the number of its structure in ``input_number``. When
all are there, rows in another order are put into that of the input.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ase import Atoms

from molcalc.errors import ConfigError, InputError, MolcalcError, damaged
from molcalc.io.exact_numbers import exact_integers
from molcalc.io.files import remove_leftovers, replacing
from molcalc.io.locks import only_writer
from molcalc.io.sqlite import SQLITE_ERRORS, failure_of_sqlite, recovered, refuse_programs
from molcalc.simulate.relaxation_run import RELAXATION_PROGRAM, Relaxation, RelaxationStep
from molcalc.simulate.result_rows import atoms_of_row, write_row
from molcalc.simulate.trajectory import check_same
from molcalc.state import State

log = logging.getLogger(__name__)
NUMBER = "input_number"
"""Key of a row: number of its structure among those that were given, from 0."""
COMMIT_AFTER = 5.0
"""Seconds of work that may be lost with a process that is killed."""
STREAMED = ".db"
"""Ending of databases that can grow."""


@contextmanager
def filling(
    path: Path,
    description: Mapping[str, Any],
    images: Sequence[Atoms],
    *,
    resolve: Callable[[Atoms], State],
    steps: int,
    restart: bool,
) -> Iterator[ResultsDatabase]:
    """Database of results that nobody else writes in the meantime; what was added is in it, however the block ends.

    Parameters
    ----------
    description : model and settings, as plain values.
    images : all structures.
    resolve : state that this run computes a structure in.
    steps : that a structure may take; those that stopped earlier without arriving are not known.
    restart : go on with a database that is there; otherwise it is replaced when the first results are there.

    Yields
    ------
    database with what it knows already

    Raises
    ------
    InputError
        When something else wrote it, or it is of other structures.
    ConfigError
        When it was made with another model, other settings, or other charges.
    InUseError
        When another process writes it.
    """
    with only_writer(path):
        database = ResultsDatabase(path, dict(description))
        if restart and path.exists():
            remove_leftovers(path)  # of who put it there; a new one removes them itself
            database.go_on(images, resolve, steps)
        try:
            yield database
        finally:
            database.commit()
        database.put_in_order()


class ResultsDatabase:
    """Rows of relaxed structures; see :func:`filling`.

    Parameters
    ----------
    path : of the database, which is made when there are results.
    description : of the run.

    Attributes
    ----------
    known : relaxations that were in it, by the number of the structure.
    """

    def __init__(self, path: Path, description: dict[str, Any]) -> None:
        self._path, self._description = path, {"program": RELAXATION_PROGRAM, **description}
        self.known: dict[int, Relaxation] = {}
        self._unfinished: dict[int, int] = {}
        self._goes_on = False
        self._waiting: list[tuple[int, Relaxation]] = []
        self._committed = time.monotonic()

    def go_on(self, images: Sequence[Atoms], resolve: Callable[[Atoms], State], steps: int) -> None:
        """Read what is there of the structures.

        Parameters
        ----------
        images, resolve, steps : as in :func:`filling`.

        Raises
        ------
        InputError, ConfigError
            As :func:`filling`.
        """
        from ase.db import connect

        refuse_programs(recovered(self._path))
        found: dict[int, Relaxation] = {}
        try:
            with connect(self._path, use_lock_file=False) as database:
                self._check(database.metadata.get("run", {}))
                for row in database.select():
                    number = self._number(row, images)
                    relaxation = _relaxation(row, number, images[number])
                    found[number] = relaxation
                    if relaxation.converged or relaxation.last.step >= steps:
                        self.known[number] = relaxation
                    else:
                        self._unfinished[number] = row.id
        except MolcalcError:
            raise
        except Exception as error:  # readers of ASE raise anything
            raise damaged(self._path, error) from error
        for number, relaxation in found.items():
            self._check_state(relaxation, number, resolve(images[number]))
        self._goes_on = True
        rest = "nothing is left to compute" if len(self.known) == len(images) else "goes on with the others"
        log.info("%s: %d of %d structures are finished: %s", self._path, len(self.known), len(images), rest)

    def _number(self, row: Any, images: Sequence[Atoms]) -> int:
        """Number of the structure of a row."""
        number = int(exact_integers(row.get(NUMBER, -1), f"{self._path} row {row.id}: {NUMBER}"))
        if not 0 <= number < len(images) or row.numbers.tolist() != images[number].numbers.tolist():
            raise InputError(
                f"{self._path} row {row.id}: structure {number} of its run is {row.formula}, and another one "
                "is given now at this place: give the same files in the same order, or another name"
            )
        if number in self.known or number in self._unfinished:
            raise InputError(
                f"{self._path} row {row.id}: structure {number} of its run is there twice (the file was edited): give "
                "another name"
            )
        return number

    def _check_state(self, relaxation: Relaxation, number: int, state: State) -> None:
        """Refuse a result of another charge; of another multiplicity, where the model uses it."""
        before = relaxation.atoms.info
        for key, name, now in (("charge", "charge", state.charge), ("spin", "multiplicity", state.multiplicity)):
            if key in before and before[key] != now:
                raise ConfigError(
                    f"{self._path}: structure {number} was computed with {name}={before[key]}, this run has "
                    f"{name}={now}: use the same, or give another name"
                )

    def _check(self, found: Mapping[str, Any]) -> None:
        """Refuse to mix results of different runs."""
        if found.get("program") != RELAXATION_PROGRAM:
            raise InputError(f"{self._path} was not written by '{RELAXATION_PROGRAM}': it cannot be continued")
        check_same(found, self._description, self._path, "give another name")

    def add(self, number: int, relaxation: Relaxation) -> None:
        """Keep a result; it is on disk a few seconds later.

        Parameters
        ----------
        number : of the structure.
        """
        self._waiting.append((number, relaxation))
        if time.monotonic() - self._committed > COMMIT_AFTER:
            self.commit()

    def commit(self) -> None:
        """Put what has been added on disk, in one transaction.

        Raises
        ------
        ResourceError
            When the disk is full or fails; the rows before stay.
        """
        if self._waiting and self._goes_on:
            try:
                self._write(self._path)
            except SQLITE_ERRORS as error:
                raise failure_of_sqlite(self._path, error) from error
        elif self._waiting:
            with replacing(self._path) as temporary:
                self._write(temporary)
            self._goes_on = True
        self._waiting = []
        self._committed = time.monotonic()

    def _write(self, path: Path) -> None:
        from ase.db import connect

        with connect(path, use_lock_file=False) as database:
            if path != self._path:
                database.metadata = {"run": self._description}
            for number, relaxation in self._waiting:
                last = relaxation.last
                more = {NUMBER: number, "converged": relaxation.converged, "steps": last.step, "max_force": last.fmax}
                write_row(database, relaxation.atoms, more, self._unfinished.get(number))

    def put_in_order(self) -> None:
        """Put the rows into the order of the input, in one step, where they are in another one."""
        from ase.db import connect

        if not self._goes_on:
            return
        with connect(self._path, use_lock_file=False) as database:
            numbers = {row.id: row[NUMBER] for row in database.select(include_data=False)}
            ids = sorted(numbers, key=numbers.__getitem__)
            if ids == sorted(ids):
                return
            with replacing(self._path) as temporary, connect(temporary, use_lock_file=False) as ordered:
                ordered.metadata = database.metadata
                for number in ids:
                    row = database.get(id=number)
                    keys = {key: vars(row)[key] for key in row._keys}
                    ordered.write(row, key_value_pairs=keys, data=row.data)


def _relaxation(row: Any, number: int, given: Atoms) -> Relaxation:
    """Outcome that a row keeps."""
    atoms = atoms_of_row(row)
    if not given.has("initial_charges") and atoms.has("initial_charges"):
        results = atoms.calc
        del atoms.arrays["initial_charges"]  # the row has them for its own charge
        atoms.calc = results
        results.atoms = atoms.copy()
    values = [atoms.info.pop(name) for name in (NUMBER, "steps", "max_force", "converged")]
    last = RelaxationStep(number, int(values[1]), float(row.energy), float(values[2]))
    return Relaxation(atoms, last, bool(values[3]))
