"""Files of structures with results, in every format that ASE writes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import write
from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat

from molcalc.cli.input_structures import DATABASES
from molcalc.errors import InputError
from molcalc.io.files import NewFile, replacing
from molcalc.simulate.provenance import with_initial_charges
from molcalc.state import state_key


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
    form = output_format(path)
    try:
        with replacing(path) as temporary:
            if form in DATABASES:
                _write_database(temporary, form, frames)
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


def _write_database(path: Path, form: str, frames: Sequence[Atoms]) -> None:
    """Rows with ``total_charge``, ``multiplicity``, ``fidelity`` and the rest of ``info``, which a database drops.

    Its own ``charge`` is the sum of initial charges: those of ions are set, so that both agree.
    """
    from ase.db import connect

    with connect(path, type=form, use_lock_file=False) as database:
        for atoms in frames:
            keys, data = _kept(atoms.info)
            keys["total_charge"] = atoms.info["charge"]
            if "spin" in atoms.info:
                keys["multiplicity"] = atoms.info["spin"]
            if "fidelity" in atoms.info:
                keys["fidelity"] = atoms.info["fidelity"]
            database.write(with_initial_charges(atoms, keys["total_charge"]), key_value_pairs=keys, data=data)


def _kept(info: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a structure carried: keys of a row, and what a row can only hold as data; without charge and spin."""
    from molcalc.train.data.formats.database_keys import is_database_key

    keys: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for key, value in info.items():
        if not state_key(key):
            (keys if is_database_key(key, value) else data)[key] = value
    return keys, data
