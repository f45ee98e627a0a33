"""Writing results: never over a file the user did not mean, never half a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat

from molcalc.cli.structures import DATABASES
from molcalc.errors import InputError

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator


def check_target(path: Path, force: bool) -> None:
    """Refuse to write over something, or into a folder that does not exist.

    Raises
    ------
    InputError
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file")
    if os.path.lexists(path) and not force:
        raise InputError(f"{path} exists: give another name, or --force to replace it")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist")


def output_format(path: Path) -> str:
    """ASE's name of the format that a file name asks for.

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
    """Write structures with their results: a temporary file in the same folder, then a rename."""
    form = output_format(path)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        if form in DATABASES:
            _write_database(temporary, form, frames)
        else:
            write(temporary, list(frames), format=form)
        os.replace(temporary, path)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def with_results(atoms: Atoms, results: Mapping[str, Any], calculator: MolCalculator) -> Atoms:
    """Copy of a structure that carries its results, its total charge and what made them."""
    frame = atoms.copy()
    frame.info = {key: value for key, value in atoms.info.items() if key not in all_properties}
    keep_state(frame, calculator)
    return _recorded(frame, results, calculator.name, calculator.todict())


def _recorded(frame: Atoms, results: Mapping[str, Any], name: str, made_by: Mapping[str, Any]) -> Atoms:
    frame.calc = SinglePointCalculator(frame, **{key: results[key] for key in all_properties if key in results})
    frame.calc.name = name
    frame.calc.parameters.update(made_by)
    return frame


def keep_state(atoms: Atoms, calculator: MolCalculator) -> None:
    """Note in ``atoms.info``, so that files carry them, total charge and what else the model can choose from.

    That is the multiplicity of one that uses it, and the fidelity of one that has several. What labels in the file were
    of is not what results are of.
    """
    state = calculator.resolve(atoms)
    atoms.info["charge"] = state.charge
    atoms.info.pop("fidelity", None)
    if len(calculator.fidelities) > 1:
        atoms.info["fidelity"] = calculator.fidelity
    if "magmoms" in calculator.implemented_properties:
        atoms.info["spin"] = state.multiplicity


def _write_database(path: Path, form: str, frames: Sequence[Atoms]) -> None:
    """Rows with ``total_charge``, ``multiplicity`` and ``fidelity``, because a database keeps no ``info``.

    Its own ``charge`` is the sum of initial charges: those of ions are set, so that both agree.
    """
    from ase.db import connect

    with connect(path, type=form) as database:
        for atoms in frames:
            keys = {"total_charge": atoms.info["charge"]}
            if "spin" in atoms.info:
                keys["multiplicity"] = atoms.info["spin"]
            if "fidelity" in atoms.info:
                keys["fidelity"] = atoms.info["fidelity"]
            database.write(_with_initial_charges(atoms, keys["total_charge"]), **keys)


def _with_initial_charges(atoms: Atoms, total: int) -> Atoms:
    """Copy whose initial charges are the calculated ones, adding up to the total charge exactly."""
    if total == 0:
        return atoms
    charges = np.array(atoms.calc.results.get("charges", np.zeros(len(atoms))))
    frame = atoms.copy()
    frame.set_initial_charges(charges + (total - charges.sum()) / len(atoms))
    return _recorded(frame, atoms.calc.results, atoms.calc.name, atoms.calc.parameters)
