"""Trajectories that a run writes frame by frame and that a later run continues."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms
from ase.io.trajectory import Trajectory

from molcalc.errors import ConfigError, InputError

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator

PathLike = str | os.PathLike[str]
_STATE = {"charge", "multiplicity", "molcalc"}
"""Provenance that may differ between the parts of a run: about the structure, and the version of the package."""


@dataclass(frozen=True)
class RecordedRun:
    """Run whose trajectory is to be continued.

    Attributes
    ----------
    frames : all frames, or the last one only.
    n_frames : how many the file holds.
    description : what it says about the run: the program and its settings.
    """

    frames: list[Atoms]
    n_frames: int
    description: dict[str, Any]


def read_recorded(path: Path, program: str, only_last: bool = False) -> RecordedRun:
    """Run that ``program`` recorded in a trajectory.

    Parameters
    ----------
    only_last : read the last frame only.

    Returns
    -------
    The frames and what the file says about them.

    Raises
    ------
    InputError
        When the file cannot be read, holds no frame, or something else wrote it.
    """
    try:
        with Trajectory(path) as trajectory:
            n_frames = len(trajectory)
            description = dict(trajectory.description or {}) if n_frames else {}
            frames = [trajectory[k] for k in range(n_frames - 1 if only_last else 0, n_frames)]
    except Exception as error:  # a damaged file can fail anywhere
        raise InputError(f"{path} is not a readable trajectory: {error}") from error
    if not frames or description.get("program") != program:
        raise InputError(f"{path} was not written by '{program}': it cannot be continued; give another trajectory")
    return RecordedRun(frames, n_frames, description)


def check_same_atoms(atoms: Atoms, recorded: Atoms, path: Path) -> None:
    """Refuse to continue a trajectory of another molecule.

    Raises
    ------
    InputError
    """
    if atoms.get_chemical_symbols() != recorded.get_chemical_symbols():
        raise InputError(
            f"{path} holds {recorded.get_chemical_formula()}, the structure file {atoms.get_chemical_formula()}, or "
            "their atoms come in another order: they do not belong together"
        )


def check_same_model(calculator: MolCalculator, recorded: Atoms, path: Path) -> None:
    """Refuse to continue a trajectory with another model.

    Raises
    ------
    ConfigError
    """
    before: Mapping[str, Any] = recorded.calc.parameters if recorded.calc is not None else {}
    now = calculator.todict()
    for key in sorted((before.keys() | now.keys()) - _STATE):
        if before.get(key) != now.get(key):
            raise ConfigError(
                f"{path} was made with {key}={before.get(key, 'none')}, this run has {key}={now.get(key, 'none')}: "
                "use the same model and options, or begin a new trajectory"
            )


def check_same_settings(settings: Mapping[str, Any], recorded: RecordedRun, path: Path) -> None:
    """Refuse to continue a trajectory with other settings.

    Parameters
    ----------
    settings : as a new trajectory would describe them.

    Raises
    ------
    ConfigError
    """
    for name, value in settings.items():
        if recorded.description.get(name) != value:
            raise ConfigError(
                f"{path} was made with {name}={recorded.description.get(name)}, this run has {name}={value}"
            )


def file_of_each(files: PathLike | Sequence[PathLike | None] | None, n_systems: int, what: str) -> list[Path | None]:
    """One file for each system, in their order.

    Parameters
    ----------
    files : that of a single system, those of several (None: this one has none), or None for none at all.
    what : name of the argument, for messages.

    Returns
    -------
    (n_systems,) paths or None.

    Raises
    ------
    InputError
        When there are more or fewer files than systems.
    """
    if files is None:
        return [None] * n_systems
    given = [files] if isinstance(files, (str, os.PathLike)) else list(files)
    paths = [None if file is None else Path(file) for file in given]
    if len(paths) != n_systems:
        raise InputError(f"{what}: {len(paths)} files for {n_systems} structures; give one for each, or None")
    return paths


def check_distinct(paths: Sequence[Path | None]) -> None:
    """Refuse to write two things into one file.

    Raises
    ------
    InputError
    """
    named = [path.absolute() for path in paths if path is not None]
    for path in paths:
        if path is not None and named.count(path.absolute()) > 1:
            raise InputError(f"{path} is named twice: give every file that is written a name of its own")


class TrajectoryWriter:
    """Appends frames; every finished frame is on disk and readable whatever happens next.

    Parameters
    ----------
    path : None to keep nothing.
    description : what the file says about the run.
    n_frames : frames that are there already.
    """

    def __init__(self, path: Path | None, description: Mapping[str, Any], n_frames: int = 0) -> None:
        self.n_frames = n_frames
        self._file = None
        if path is not None:
            self._file = Trajectory(path, "a" if n_frames else "w")
            self._file.set_description(dict(description))

    def write(self, atoms: Atoms) -> None:
        """Add one frame with its results."""
        if self._file is not None:
            self._file.write(atoms)
        self.n_frames += 1

    def __enter__(self) -> TrajectoryWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()
