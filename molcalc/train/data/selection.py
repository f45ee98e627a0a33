"""Which rows of the data count: parts of files, patterns of names, and limits of forces and energies.

``molecules.db@energy<0,converged`` are the rows that a query of ASE selects, ``run.traj@::10`` every tenth frame, and
``*.xyz`` all files of that pattern, in the order of their names.
"""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from molcalc.errors import DatasetError
from molcalc.io.plain_numbers import whole_number
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.formats.base import DataFile
from molcalc.train.data.formats.database import Database
from molcalc.train.data.problems import SHOWN, Problems

log = logging.getLogger(__name__)


class Chosen(NamedTuple):
    """A file, and the rows of it that count: a query or a slice as text, or None for all."""

    path: Path
    rows: str | None


def chosen_files(names: Sequence[str | os.PathLike[str]]) -> list[Chosen]:
    """Files and their rows that a user names.

    Parameters
    ----------
    names : FILE, FILE@ROWS, or a pattern such as ``*.db``; a file that exists under the whole name is meant.

    Returns
    -------
    one entry for each file, in order

    Raises
    ------
    DatasetError
        When no file has a name of a pattern.
    """
    found = []
    for path in names:
        name = os.fspath(path)
        file, rows = name, None
        if not os.path.exists(name) and "@" in name:
            file, _, rows = name.rpartition("@")
        if os.path.exists(file) or not glob.has_magic(file):
            found.append(Chosen(Path(file), rows))
            continue
        matching = sorted(glob.glob(file, recursive=True))
        if not matching:
            raise DatasetError(f"no file has a name like {file}")
        found += [Chosen(Path(match), rows) for match in matching]
    return found


def selected_rows(file: DataFile, rows: str) -> frozenset[int]:
    """Numbers of the rows of a file that count.

    Parameters
    ----------
    rows : index or slice such as ``:100``, ``-1``, ``::10``, by place in the file; of an ASE database also a query such
        as ``energy<0,converged``.

    Returns
    -------
    numbers of rows, as blocks of the file have them

    Raises
    ------
    DatasetError
        When the text is neither, or selects nothing.
    """
    places = _slice(rows)
    if isinstance(file, Database):
        numbers = _ids(file, "" if places is not None else rows)
    elif places is None:
        raise DatasetError(
            f"{file.name}@{rows}: {rows!r} is no slice such as :100 or ::10; queries are for ASE databases "
            "(molcalc convert makes one)"
        )
    else:
        numbers = _numbers(file)
    found = frozenset(numbers if places is None else numbers[places])
    if not found:
        among = f"none of its {len(numbers)} {file.word}s" if places is not None else f"no {file.word}"
        raise DatasetError(f"{file.name}@{rows} selects {among}")
    return found


def problems_of(file: DataFile) -> Problems:
    """An empty list of what is wrong with the rows of a file, which knows which of them count."""
    return Problems(wanted=None if file.selection is None else selected_rows(file, file.selection))


def within_limits(dataset: Dataset, max_force: float | None, max_energy: float | None) -> Dataset:
    """The structures whose forces and energies are not too large; says how many are left out, and which.

    Parameters
    ----------
    max_force : eV/Å, of the force on any atom; None for any.
    max_energy : eV above the lowest energy of the same composition, charge and fidelity; None for any.

    Returns
    -------
    all of the dataset, or a view of a part of it

    Raises
    ------
    DatasetError
        When nothing is left, or no structure has what is limited.
    """
    for name, limit, label in (("max_force", max_force, "forces"), ("max_energy", max_energy, "energy")):
        if limit is None:
            continue
        if label not in dataset.labels:
            raise DatasetError(f"{name}={limit:g}: no structure has {label}")
        beyond = np.flatnonzero((largest_force(dataset) if label == "forces" else energy_above(dataset)) > limit)
        if len(beyond) == len(dataset):
            raise DatasetError(f"{name}={limit:g} leaves out all {len(dataset)} structures")
        if len(beyond):
            names = ", ".join(dataset.row_name(int(k)) for k in beyond[:SHOWN]) + (", …" if len(beyond) > SHOWN else "")
            log.warning("%s=%g leaves out %d of %d structures: %s", name, limit, len(beyond), len(dataset), names)
            dataset = dataset.subset(np.setdiff1d(np.arange(len(dataset)), beyond))
    return dataset


def largest_force(dataset: Dataset) -> np.ndarray:
    """(len(dataset),) eV/Å, length of the largest force; NaN without forces."""
    if not len(dataset):
        return np.zeros(0)
    return np.maximum.reduceat(np.linalg.norm(dataset.labels["forces"], axis=1), dataset.offsets[:-1])


def energy_above(dataset: Dataset) -> np.ndarray:
    """(len(dataset),) eV above the lowest of the same composition, charge and fidelity; NaN without an energy."""
    from molcalc.train.data.split import molecule_codes

    energy = dataset.labels["energy"]
    kinds = np.column_stack([molecule_codes(dataset), dataset.fidelity.astype(np.uint64)])
    _, which = np.unique(kinds, axis=0, return_inverse=True)
    which = which.reshape(-1)
    lowest = np.full(int(which.max(initial=-1)) + 1, np.inf)
    np.fmin.at(lowest, which, energy)
    return np.asarray(energy - lowest[which])


def _slice(text: str) -> slice | None:
    """Places that an index or slice means; None for another text."""
    try:
        numbers = [whole_number(part) if part.strip() else None for part in text.split(":")]
    except ValueError:
        return None
    if len(numbers) == 1 and numbers[0] is not None:
        return slice(numbers[0], numbers[0] + 1 or None)
    if not 2 <= len(numbers) <= 3 or numbers[2:] == [0]:
        return None
    return slice(*numbers)


def _ids(file: Database, query: str) -> list[int]:
    from ase.db import connect

    try:
        return [
            int(row.id)
            for row in connect(str(file.content.absolute()), use_lock_file=False).select(query, include_data=False)
        ]
    except Exception as error:  # readers of ASE raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(
            f"{file.name}@{query}: ASE does not understand this ({reason}); a query is like "
            "energy<0,converged,natoms=3, a slice like :100"
        ) from error


def _numbers(file: DataFile) -> list[int]:
    """All numbers of rows, those that cannot be used included."""
    problems = Problems()
    numbers = {int(row) for block in file.read(problems) for row in block.systems["row"]}
    numbers.update(row for rows in problems.rows.values() for row in rows)
    return sorted(numbers)
