"""Molecular dynamics of many structures at constant energy or temperature.

All structures take their steps side by side, and are evaluated in one batch. Each has an integrator, random numbers
and files of its own, so that its trajectory does not depend on the others.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms
from tqdm import tqdm

from molcalc.errors import ConfigError, DynamicsWarning, InputError, MolcalcError, checked_whole, warn_user
from molcalc.io.targets import check_distinct, check_file
from molcalc.prediction.batching import check_images
from molcalc.progress import progress_bar
from molcalc.simulate.distribution import AnyExecutor, all_done
from molcalc.simulate.dynamics_run import DynamicsWork
from molcalc.simulate.ensembles import DynamicsSettings
from molcalc.simulate.recorder import DYNAMICS_PROGRAM, Dynamics, DynamicsObserver
from molcalc.simulate.trajectory import PathLike, check_trajectories, file_of_each, read_recorded
from molcalc.simulate.work import Item

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator

DynamicsEnd = Callable[[int, Dynamics | MolcalcError], object]


def md(
    images: Atoms | Sequence[Atoms],
    calc: MolCalculator,
    steps: int,
    timestep: float = 0.5,
    ensemble: str = "langevin",
    temperature: float = 300.0,
    friction: float = 0.01,
    seed: int | None = None,
    interval: int = 10,
    keep_velocities: bool | None = None,
    trajectory: PathLike | Sequence[PathLike | None] | None = None,
    log: PathLike | Sequence[PathLike | None] | None = None,
    restart: bool = False,
    force: bool = False,
    executor: AnyExecutor = None,
    progress: bool = True,
) -> list[Atoms]:
    """Last structures of molecular dynamics, in the order of the input.

    Charge, multiplicity and constraints are those of each structure. Structure k of a batch has the trajectory that it
    has alone with the seed ``info["seed"]`` of its result.

    Parameters
    ----------
    images : one structure or several; they stay as they are.
    calc : calculator of molcalc.
    steps : of the whole run, with those of trajectories that are continued.
    timestep : fs.
    ensemble : "nve" for constant energy; "langevin", "bussi" or "nose-hoover" for constant temperature.
    temperature : K; in an NVE run that of velocities that are drawn.
    friction : 1/fs; the relaxation time of bussi and nose-hoover is its inverse.
    seed : of initial velocities and noise, from which every structure has numbers of its own; None takes a new one.
    interval : steps between two frames.
    keep_velocities : True starts with the velocities of the structures, at rest where they have none; False draws new
        ones of the temperature; None draws them for structures without any.
    trajectory : file of frames with momenta, their step and time; of several structures one each.
    log : file with a line of step, time, energies and temperature for each frame; of several structures one each.
    restart : continue trajectories that exist, with the same random numbers as in one piece.
    force : replace files that exist.
    executor : number of processes on this machine, an executor of :mod:`concurrent.futures`, or a client of Dask, that
        share the structures; None moves them here.
    progress : show a bar, on a terminal.

    Returns
    -------
    Copies with momenta, results (``get_potential_energy()``, ``get_forces()``), ``info["step"]``, ``info["time_fs"]``
    and ``info["seed"]``. A structure whose run went wrong comes back as it was, with the reason in ``info["error"]``; a
    warning counts these.

    Raises
    ------
    InputError
        When there are no structures, none of them could be run, or a file exists.
    ConfigError
        For a setting out of range, or a trajectory of another run.
    """
    systems = [images] if isinstance(images, Atoms) else list(images)
    if restart and trajectory is None:
        raise ConfigError("restart=True continues trajectories: name them with trajectory=…")
    if seed is None:
        begun = recorded_settings(file_of_each(trajectory, len(systems), "trajectory")) if restart else None
        seed = secrets.randbelow(2**32) if begun is None else begun.seed
    settings = DynamicsSettings(
        ensemble=ensemble, temperature=temperature, timestep=timestep, friction=friction, seed=seed, interval=interval
    )
    with progress_bar(total=steps * len(systems), desc="md", unit="step", visible=progress) as bar:
        outcomes = md_all(
            systems, calc, settings, steps=steps, keep_velocities=keep_velocities, trajectory=trajectory, log=log,
            restart=restart, force=force, executor=executor,
            observer=lambda step: _advance(bar, min(step.step, 1)),
            ended=None if executor is None else lambda *_: _advance(bar, steps),
        )  # fmt: skip
    failed = {k: outcome for k, outcome in enumerate(outcomes) if isinstance(outcome, MolcalcError)}
    if failed:
        first, reason = next(iter(failed.items()))
        if len(failed) == len(systems):
            raise type(reason)(f"structure {first}: {reason}" if len(systems) > 1 else str(reason)) from reason
        warn_user(f"{len(failed)} of {len(systems)} runs went wrong; structure {first}: {reason}", DynamicsWarning)
    return [_marked(atoms, outcome) for atoms, outcome in zip(systems, outcomes)]


def _advance(bar: tqdm, n_steps: int) -> None:
    bar.update(n_steps)


def _marked(atoms: Atoms, outcome: Dynamics | MolcalcError) -> Atoms:
    if isinstance(outcome, MolcalcError):
        given = atoms.copy()
        given.info["error"] = str(outcome)
        return given
    outcome.atoms.info["seed"] = outcome.settings.own_seed
    return outcome.atoms


def md_all(
    images: Atoms | Sequence[Atoms],
    calculator: MolCalculator,
    settings: DynamicsSettings,
    *,
    steps: int,
    keep_velocities: bool | None = False,
    trajectory: PathLike | Sequence[PathLike | None] | None = None,
    log: PathLike | Sequence[PathLike | None] | None = None,
    restart: bool = False,
    force: bool = False,
    executor: AnyExecutor = None,
    observer: DynamicsObserver | None = None,
    ended: DynamicsEnd | None = None,
) -> list[Dynamics | MolcalcError]:
    """Outcomes of molecular dynamics, in the order of the structures, for programs that want to know more of them.

    Parameters
    ----------
    images : one structure or several; they stay as they are.
    settings : of all systems; that of index k has the random numbers of ``system=k``.
    steps : of the whole run, with those of a trajectory that is continued.
    keep_velocities, trajectory, log, restart, force, executor : as in :func:`md`.
    observer : called at every step of every system, also at the first and at the one that a restart begins with; not
        of systems that an executor moves.
    ended : called with number and outcome of every system, as they end.

    Returns
    -------
    One outcome for each structure; the error in place of one whose run went wrong.

    Raises
    ------
    InputError
        When there is no structure, or a file cannot be used.
    ConfigError
        When a trajectory was made with another model or other settings.
    """
    systems = [images] if isinstance(images, Atoms) else check_images(images)
    if not systems:
        raise InputError("no structure to move: the list is empty")
    checked_whole("steps", steps)
    paths = file_of_each(trajectory, len(systems), "trajectory")
    check_trajectories(paths)
    logs = file_of_each(log, len(systems), "log")
    check_distinct([*paths, *logs])
    items = [Item(k, atoms, *files) for k, (atoms, *files) in enumerate(zip(systems, paths, logs))]
    for item in items:
        if not (restart and item.path is not None and item.path.exists()):
            for file in (item.path, item.log):
                if file is not None:
                    check_file(file, force=force)
    work = DynamicsWork(
        calculator=calculator, settings=settings, steps=steps, keep_velocities=keep_velocities, restart=restart,
        force=force,
    )  # fmt: skip
    return all_done(work, items, executor, observer, ended)


def recorded_settings(paths: Sequence[Path | None]) -> DynamicsSettings | None:
    """Settings of the run that wrote the first of these trajectories that is there.

    Returns
    -------
    settings of its first system; None where there is no trajectory

    Raises
    ------
    InputError
        When something else wrote it.
    """
    for path in paths:
        if path is not None and path.exists():
            description = read_recorded(path, DYNAMICS_PROGRAM, only_last=True).description
            return replace(DynamicsSettings.from_description(description), system=0)
    return None
