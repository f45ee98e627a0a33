"""Checksums of frames: what a run goes on from is what it wrote, to the last bit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from molcalc.errors import InputError
from molcalc.simulate.integrators import NOSE_HOOVER
from molcalc.simulate.provenance import carry_results

FRAME_CHECKSUM = "frame_checksum"
"""Name of the checksum of a frame, among the parameters of the calculator that it carries."""
_RESULTS = ("energy", "forces")
"""Results that a run needs to go on."""
_STATE = ("step", NOSE_HOOVER)
"""Entries of ``info`` that a run needs to go on."""


def with_checksum(atoms: Atoms) -> Atoms:
    """Copy of a frame that carries its checksum.

    Returns
    -------
    The structure itself when it has no results: nothing goes on from such a frame.
    """
    calculator: Any = atoms.calc
    if calculator is None:
        return atoms
    made_by = {**calculator.todict(), FRAME_CHECKSUM: _checksum(atoms)}
    return carry_results(atoms.copy(), calculator.results, calculator.name, made_by)


def check_frame(atoms: Atoms, path: Path, number: int, *, required: bool) -> None:
    """Refuse a frame that is not as it was written.

    Parameters
    ----------
    number : of the frame, for the message.
    required : refuse a frame without a checksum, too; trajectories of earlier versions have none.

    Raises
    ------
    InputError
    """
    expected = atoms.calc.parameters.get(FRAME_CHECKSUM) if atoms.calc is not None else None
    if (expected is None and required) or (expected is not None and expected != _checksum(atoms)):
        raise InputError(
            f"{path}: frame {number} is not as it was written (edited, damaged, or of another program): begin a new "
            "run from one of the frames"
        )


def _checksum(atoms: Atoms) -> str:
    """SHA-256 of all that a run goes on from."""
    values = [atoms.numbers.astype("<i8"), atoms.positions, atoms.cell.array, atoms.get_momenta()]
    values += [np.asarray(atoms.calc.results.get(name, ())) for name in _RESULTS]
    values += [np.asarray(atoms.info.get(name, ())) for name in _STATE]
    digest = hashlib.sha256()
    for value in values:
        digest.update(value.astype("<i8" if value.dtype.kind in "iu" else "<f8").tobytes())
    return digest.hexdigest()
