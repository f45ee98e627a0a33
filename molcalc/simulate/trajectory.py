"""Trajectories that a run writes frame by frame and that a later run continues."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms
from ase.io import write
from ase.io.trajectory import Trajectory

from molcalc.errors import ConfigError, InputError, InUseError, ResourceError, TornFileWarning, reason_of, warn_user
from molcalc.io.growing import GrowingFile
from molcalc.io.seals import SEAL, sealed, unsealed
from molcalc.simulate.frame_checksums import FRAME_CHECKSUM, check_frame, with_checksum
from molcalc.simulate.torn_frames import forget_frames, read_whole_frames

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator

PathLike = str | os.PathLike[str]
_OF_ONE_FRAME = {"charge", "multiplicity", "molcalc", "step", FRAME_CHECKSUM}
"""Provenance that may differ between the parts of a run: about the structure, the version of the package, and the way
that its formulas are computed."""


BINARY = "traj"
"""ASE's own format: the only one that holds all digits and what a run needs to go on."""
FORMATS_OF_TRAJECTORIES = {".traj": BINARY, ".xyz": "extxyz", ".extxyz": "extxyz"}
"""Formats in which files grow frame by frame, by the ending of their names."""


def trajectory_format(path: Path) -> str:
    """Format that the name of a trajectory asks for.

    Returns
    -------
    value of :data:`FORMATS_OF_TRAJECTORIES`

    Raises
    ------
    InputError
        For any other ending.
    """
    found = FORMATS_OF_TRAJECTORIES.get(path.suffix.lower())
    if found is None:
        raise InputError(
            f"{path}: trajectories end in {', '.join(FORMATS_OF_TRAJECTORIES)}; only .traj can be continued"
        )
    return found


@dataclass(frozen=True)
class RecordedRun:
    """Run whose trajectory is to be continued.

    Attributes
    ----------
    frames : all whole frames, or the last one only.
    n_frames : how many the file holds.
    n_torn : how many more it counts that are torn.
    description : what it says about the run: the program and its settings.
    """

    frames: list[Atoms]
    n_frames: int
    description: dict[str, Any]
    n_torn: int = 0


def read_recorded(path: Path, program: str, only_last: bool = False) -> RecordedRun:
    """Run that ``program`` recorded in a trajectory, up to its last whole frame; a warning counts torn ones behind it.

    Parameters
    ----------
    only_last : read the last frame only.

    Returns
    -------
    The frames and what the file says about them.

    Raises
    ------
    InputError
        When the file cannot be read, holds no frame, something else wrote it, or settings or frames were edited.
    """
    if trajectory_format(path) != BINARY:
        raise InputError(
            f"{path}: only a .traj trajectory can be continued, extended XYZ does not hold all digits: begin a new run "
            "from its last frame"
        )
    try:
        with Trajectory(path) as trajectory:
            n_counted = len(trajectory)
            description = dict(trajectory.description or {}) if n_counted else {}
            frames, n_frames = read_whole_frames(trajectory, only_last)
    except Exception as error:  # a damaged file can fail anywhere
        raise InputError(f"{path} is not a readable trajectory: {reason_of(error)}") from error
    if not frames or description.get("program") != program:
        raise InputError(f"{path} was not written by '{program}': it cannot be continued; give another trajectory")
    has_checksums = SEAL in description
    if has_checksums:
        try:
            description = unsealed(description)
        except ValueError as error:
            raise InputError(
                f"{path}: the settings of the run are not as they were written ({error}): begin a new run from its "
                "last frame"
            ) from error
    for k, frame in enumerate(frames, n_frames - len(frames)):
        check_frame(frame, path, k, required=has_checksums)
    if n_counted > n_frames:
        warn_user(
            f"{path}: of its {n_counted} frames the last {n_counted - n_frames} are torn, as after a crash of the "
            f"machine: the run goes on from frame {n_frames - 1}",
            TornFileWarning,
        )
    return RecordedRun(frames, n_frames, description, n_counted - n_frames)


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
    check_same(before, calculator.todict(), path, "begin a new trajectory")


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], path: Path, otherwise: str) -> None:
    """Refuse to continue a file of another model or other settings; one that only either of them has differs, too.

    Parameters
    ----------
    before : model and settings that the file names.
    now : those of this run.
    otherwise : what to do with another model or other settings.

    Raises
    ------
    ConfigError
    """
    for key in sorted((before.keys() | now.keys()) - _OF_ONE_FRAME):
        if before.get(key) != now.get(key):
            raise ConfigError(
                f"{path} was made with {key}={before.get(key, 'none')}, this run has {key}={now.get(key, 'none')}: "
                f"use the same model and options, or {otherwise}"
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


def check_trajectories(paths: Sequence[Path | None]) -> None:
    """Refuse trajectories whose names ask for a format that cannot grow frame by frame.

    Raises
    ------
    InputError
    """
    for path in paths:
        if path is not None:
            trajectory_format(path)


def file_of_each(files: PathLike | Sequence[PathLike | None] | None, n_systems: int, what: str) -> list[Path | None]:
    """One file for each system, in their order.

    Parameters
    ----------
    files : one name, of several systems with their numbers (NAME-0, NAME-1, …); a name for each (None: this one has
        none); or None for none at all.
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
    if isinstance(files, (str, os.PathLike)):
        path = Path(files)
        return [path] if n_systems == 1 else [path.with_stem(f"{path.stem}-{k}") for k in range(n_systems)]
    paths = [None if file is None else Path(file) for file in files]
    if len(paths) != n_systems:
        raise InputError(f"{what}: {len(paths)} files for {n_systems} structures; give one for each, or None")
    return paths


class TrajectoryWriter:
    """Appends frames; every finished frame is on disk and readable whatever happens next.

    The ending of the name decides on the format, see :data:`FORMATS_OF_TRAJECTORIES`.

    Parameters
    ----------
    path : None to keep nothing.
    description : what the file says about the run; extended XYZ has no place for it.
    n_frames : whole frames that are there already.
    n_torn : torn ones behind them, which are given up.
    force : replace a file that is there.

    Raises
    ------
    InUseError
        When another run writes the file.
    ResourceError
        When it cannot be written.
    """

    def __init__(
        self,
        path: Path | None,
        description: Mapping[str, Any],
        n_frames: int = 0,
        *,
        n_torn: int = 0,
        force: bool = False,
    ) -> None:
        self.n_frames = n_frames
        self._file: GrowingFile | None = None
        self._binary: Any = None
        if path is None:
            return
        with contextlib.ExitStack() as begun:
            file = begun.enter_context(contextlib.closing(GrowingFile(path, append=n_frames > 0, force=force)))
            if trajectory_format(path) == BINARY:
                if n_torn:
                    _check_count(path, len(Trajectory(file)), n_frames + n_torn)
                    forget_frames(file, n_frames + n_torn, n_frames)
                try:
                    self._binary = Trajectory(file, "a" if n_frames else "w")
                except ResourceError:
                    raise
                except Exception as error:  # of its header or first frame, which nobody has read before
                    raise InputError(f"{path} is not a readable trajectory: {reason_of(error)}") from error
                self._binary.set_description(sealed(description))
                _check_count(path, len(self._binary.backend), n_frames)
                file.seek(0, os.SEEK_END)
            begun.pop_all()
        self._file = file

    def write(self, atoms: Atoms) -> None:
        """Add one frame with its results.

        Raises
        ------
        ResourceError
            When the disk is full or fails; the frames before stay.
        """
        if self._binary is not None:
            self._binary.write(with_checksum(atoms))
        elif self._file is not None:
            text = StringIO()
            write(text, atoms, format="extxyz")
            self._file.write(text.getvalue().encode())
        if self._file is not None:
            self._file.finish_piece()
        self.n_frames += 1

    def __enter__(self) -> TrajectoryWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and let other runs write it."""
        if self._file is not None:
            self._file.close()


def _check_count(path: Path, found: int, expected: int) -> None:
    if found != expected:
        raise InUseError(f"{path} has {found} frames, and had {expected} a moment ago: another run wrote it")
