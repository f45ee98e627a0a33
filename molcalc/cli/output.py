"""Files of structures with results, in every format that ASE writes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms
from ase.io import write
from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat

from molcalc.errors import InputError
from molcalc.io.files import COMPRESSED, NewFile, replacing
from molcalc.simulate.result_rows import write_row
from molcalc.train.data.formats.database_structures import DATABASES


def output_format(path: Path) -> str:
    """ASE's name of the format that a file name asks for.

    Returns
    -------
    name of the format in :mod:`ase.io`

    Raises
    ------
    InputError
        When ASE does not know it or cannot write it.
    """
    try:
        form = get_ioformat(filetype(os.path.abspath(path), read=False))
    except UnknownFileTypeError as error:
        raise InputError(f"{path}: unknown output format {path.suffix!r}; .xyz, .extxyz, .traj and .db work") from error
    if path.suffix.lower() in COMPRESSED and (form.name in DATABASES or form.isbinary):
        raise InputError(f"{path}: {form.description} is not written compressed; leave out {path.suffix}")
    if not form.can_write:
        raise InputError(f"{path}: ASE cannot write {form.description}; .xyz, .extxyz, .traj and .db work")
    return str(form.name)


def write_frames(path: Path, frames: Sequence[Atoms]) -> None:
    """Write structures with their results, in one step.

    Raises
    ------
    InputError
        When the format cannot hold them.
    ResourceError
        When the disk is full or not writable; an old file stays.
    """
    from ase.db import connect

    form = output_format(path)
    try:
        with replacing(path) as temporary:
            if form in DATABASES:
                with connect(temporary, type=form, use_lock_file=False) as database:
                    for atoms in frames:
                        write_row(database, atoms)
            else:
                _write_by_ase(temporary, form, frames)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _write_by_ase(path: Path, form: str, frames: Sequence[Atoms]) -> None:
    known = get_ioformat(form)
    if known.isbinary and known.acceptsfd:
        with NewFile(path) as handle:
            write(handle, list(frames), format=form)
    else:
        write(path, list(frames), format=form)
