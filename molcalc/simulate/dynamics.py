"""Molecular dynamics at constant energy or temperature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms
from ase.units import kB

from molcalc.errors import InputError, MolcalcError
from molcalc.io.targets import check_distinct, check_file
from molcalc.simulate.ensembles import (
    MAX_TEMPERATURE,
    DynamicsSettings,
    degrees_of_freedom,
    generator,
    integrator,
    set_velocities,
)
from molcalc.simulate.provenance import keep_state, with_results
from molcalc.simulate.recorder import DYNAMICS_PROGRAM, DynamicsRun, DynamicsStep, InitialState, Recorder
from molcalc.simulate.trajectory import (
    PathLike,
    TrajectoryWriter,
    check_same_atoms,
    check_same_model,
    check_same_settings,
    check_trajectories,
    file_of_each,
    read_recorded,
)

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator

DynamicsObserver = Callable[[DynamicsStep], None]


def md(
    images: Atoms | Sequence[Atoms],
    calculator: MolCalculator,
    settings: DynamicsSettings,
    *,
    steps: int,
    keep_velocities: bool = False,
    trajectory: PathLike | Sequence[PathLike | None] | None = None,
    log: PathLike | Sequence[PathLike | None] | None = None,
    restart: bool = False,
    force: bool = False,
    observer: DynamicsObserver | None = None,
) -> list[DynamicsRun]:
    """Runs of molecular dynamics, in the order of the structures.

    Parameters
    ----------
    images : one structure or several; they stay as they are.
    settings : of all systems; that of index k has the seed ``settings.seed + k``.
    steps : of the whole run, with those of a trajectory that is continued.
    keep_velocities : start with the velocities of the structures, at rest where they have none; else with random ones
        of the temperature.
    trajectory : file of frames with momenta, their step and time; of several structures one each.
    log : file with a line of step, time, energies and temperature for each frame; of several structures one each.
    restart : continue trajectories that exist, with the same random numbers as in one piece.
    force : replace files that exist.
    observer : called at every step, also at the first and at the one that a restart begins with.

    Returns
    -------
    One outcome for each structure.

    Raises
    ------
    InputError
        When a structure or file cannot be used, or atoms collide; names the step.
    ConfigError
        When a trajectory was made with another model or other settings.
    NonFiniteResultError, ExplosionError
        When a result is not finite, or temperature or energy are out of any sense; names the step and the frames that
        are kept.
    """
    systems = [images] if isinstance(images, Atoms) else list(images)
    paths = file_of_each(trajectory, len(systems), "trajectory")
    check_trajectories(paths)
    logs = file_of_each(log, len(systems), "log")
    check_distinct([*paths, *logs])
    initial = []
    for k, atoms in enumerate(systems):
        own, path = replace(settings, seed=settings.seed + k), paths[k]
        if path is not None and restart and path.exists():
            initial.append(_continued(atoms, calculator, own, path))
            continue
        for file in (path, logs[k]):
            if file is not None:
                check_file(file, force=force)
        initial.append(_new(atoms, own, keep_velocities))
    return [
        _run(k, state, calculator, steps, path, log_file, force, observer)
        for k, (state, path, log_file) in enumerate(zip(initial, paths, logs))
    ]


def _new(atoms: Atoms, settings: DynamicsSettings, keep_velocities: bool) -> InitialState:
    start = atoms.copy()
    if not keep_velocities:
        set_velocities(start, settings)
    return InitialState(start, settings, degrees_of_freedom(start, settings))


def _continued(atoms: Atoms, calculator: MolCalculator, settings: DynamicsSettings, path: Path) -> InitialState:
    """The last frame of a trajectory."""
    run = read_recorded(path, DYNAMICS_PROGRAM, only_last=True)
    last = run.frames[-1]
    check_same_atoms(atoms, last, path)
    check_same_model(calculator, last, path)
    check_same_settings(settings.description(), run, path)
    n_freedom = run.description["degrees_of_freedom"]
    expected = (run.n_frames - 1) * settings.interval
    if last.info["step"] != expected:
        raise InputError(
            f"{path}: its steps do not go on: frame {run.n_frames - 1} is of step {last.info['step']}, not {expected} "
            "(two runs wrote it, or it was edited): begin a new run from one of its frames with --keep-velocities"
        )
    kelvin = 2.0 * last.get_kinetic_energy() / (max(n_freedom, 1) * kB)
    if not kelvin <= MAX_TEMPERATURE:
        raise InputError(
            f"{path}: the momenta of its last frame are {kelvin:.3g} K, out of any sense (at most "
            f"{MAX_TEMPERATURE:g} K): begin a new run from an earlier frame"
        )
    return InitialState(last.copy(), settings, n_freedom, step=int(last.info["step"]), n_frames=run.n_frames)


def _run(
    system: int,
    initial: InitialState,
    calculator: MolCalculator,
    steps: int,
    path: Path | None,
    log: Path | None,
    force: bool,
    observer: DynamicsObserver | None,
) -> DynamicsRun:
    """Dynamics of one system."""
    atoms, settings = initial.atoms, initial.settings
    keep_state(atoms, calculator)
    atoms.calc = calculator
    atoms.get_forces()
    dynamics = integrator(atoms, settings, initial.n_freedom)
    step = dynamics.nsteps = max(initial.step, 0)
    writer = TrajectoryWriter(path, initial.description(), initial.n_frames, force=force)
    with writer, Recorder(system, initial, writer, log, observer, force=force) as recorder:
        try:
            for _ in dynamics.irun(steps=max(steps - step, 0)):
                recorder.visit(dynamics.nsteps)
                step = dynamics.nsteps
                if settings.thermostat is not None:
                    dynamics.rng = generator(settings, step + 1)
        except MolcalcError as error:
            kept = f"; {writer.n_frames} frames are in {path}" if path is not None and writer.n_frames else ""
            raise type(error)(f"step {step + 1}: {error}{kept}") from error
        calculator.get_property("energy", atoms)
        return recorder.outcome(with_results(atoms, calculator.results, calculator))
