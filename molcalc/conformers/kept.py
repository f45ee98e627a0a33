"""Relaxed structures that a run keeps on disk, so that it can go on after an interruption."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms

from molcalc.calculators.carried_state import keep_state
from molcalc.errors import InputError
from molcalc.io.targets import check_file
from molcalc.simulate.interrupts import held
from molcalc.simulate.relaxation_run import Relaxation, RelaxationSettings, RelaxationStep
from molcalc.simulate.trajectory import (
    BINARY,
    TrajectoryWriter,
    check_same_model,
    check_same_settings,
    read_recorded,
)

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator

RANKING_PROGRAM = "molcalc conformers"
"""What files of kept structures say of who wrote them."""
_START, _CONVERGED, _STEPS, _FMAX = "kept_start", "kept_converged", "kept_steps", "kept_fmax"
"""Keys of a kept structure: what it began as, and how its relaxation ended."""


class KeptRelaxations:
    """Relaxations of a run by what they began as, in a file that takes every one as it ends.

    Parameters
    ----------
    path : of the file (.traj); None keeps nothing.
    restart : go on with the file that is there, if there is one.
    force : replace it otherwise.

    Raises
    ------
    InputError, ConfigError
        When the file is there and not to be touched, or is of another model, other settings or another program.
    """

    def __init__(
        self, path: Path | None, calculator: MolCalculator, settings: RelaxationSettings, *, restart: bool, force: bool
    ) -> None:
        self._path, self._calculator, self._force = path, calculator, force
        self._description = {
            **settings.description(), "program": RANKING_PROGRAM, "fmax": settings.fmax, "steps": settings.steps,
        }  # fmt: skip
        self._frames: list[Atoms] = []
        self._writer: TrajectoryWriter | None = None
        if path is None:
            return
        if path.suffix.lower() != f".{BINARY}":
            raise InputError(f"{path}: relaxed structures are kept in a file that ends in .{BINARY}")
        if restart and path.exists():
            run = read_recorded(path, RANKING_PROGRAM)
            check_same_settings(self._description, run, path)
            for frame in run.frames:
                check_same_model(calculator, frame, path)
            self._frames = run.frames
        else:
            check_file(path, force=force)

    def found(self, starts: Sequence[Atoms], fmax: float) -> dict[int, Relaxation]:
        """Relaxations of structures to a force (eV/Å) that are in the file, by their number."""
        kept = {str(frame.info[_START]): frame for frame in self._frames}
        keys = [fingerprint(atoms, self._calculator, fmax) for atoms in starts]
        return {k: _outcome(k, kept[key]) for k, key in enumerate(keys) if key in kept}

    @contextmanager
    def open(self) -> Iterator[None]:
        """Keep the file open for more; nobody else writes it meanwhile."""
        with TrajectoryWriter(self._path, self._description, len(self._frames), force=self._force) as self._writer:
            yield

    def add(self, start: Atoms, fmax: float, relaxed: Relaxation) -> None:
        """Keep one, whole or not at all."""
        assert self._writer is not None
        frame = relaxed.atoms.copy()
        frame.calc = relaxed.atoms.calc
        frame.info.update(
            {
                _START: fingerprint(start, self._calculator, fmax),
                _CONVERGED: relaxed.converged,
                _STEPS: relaxed.last.step,
                _FMAX: relaxed.last.fmax,
            }
        )
        with held():
            self._writer.write(frame)


def fingerprint(atoms: Atoms, calculator: MolCalculator, fmax: float) -> str:
    """Digest of a structure, of the state that it is computed in, and of the force that it is relaxed to."""
    stated = atoms.copy()
    keep_state(stated, calculator)
    state = {key: stated.info[key] for key in ("charge", "spin", "fidelity") if key in stated.info}
    data = atoms.numbers.tobytes() + atoms.positions.tobytes() + repr((state, fmax)).encode()
    return hashlib.sha256(data).hexdigest()


def _outcome(system: int, frame: Atoms) -> Relaxation:
    atoms = frame.copy()
    atoms.calc = frame.calc
    values = [atoms.info.pop(key) for key in (_CONVERGED, _STEPS, _FMAX)]
    del atoms.info[_START]
    last = RelaxationStep(system, int(values[1]), float(atoms.get_potential_energy()), float(values[2]))
    return Relaxation(atoms, last, bool(values[0]))
