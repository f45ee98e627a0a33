"""Molecular dynamics of one structure, driven from outside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms
from ase.units import kB

from molcalc.calculators.carried_state import keep_state
from molcalc.elements import check_masses
from molcalc.errors import InputError, MolcalcError
from molcalc.prediction.results import Prediction
from molcalc.simulate.constraints import constraints_named
from molcalc.simulate.ensembles import (
    MAX_TEMPERATURE,
    DynamicsSettings,
    degrees_of_freedom,
    generator,
    set_velocities,
)
from molcalc.simulate.integrators import NOSE_HOOVER, integrator
from molcalc.simulate.provenance import StepResults, carry_results, with_results
from molcalc.simulate.recorder import DYNAMICS_PROGRAM, Dynamics, DynamicsObserver, InitialState, Recorder
from molcalc.simulate.side_by_side import Run
from molcalc.simulate.trajectory import (
    TrajectoryWriter,
    check_same_atoms,
    check_same_model,
    check_same_settings,
    read_recorded,
)
from molcalc.simulate.work import Item, Work

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator


@dataclass(frozen=True, kw_only=True)
class DynamicsWork(Work[Dynamics]):
    """Molecular dynamics of any structure with the same settings; that of number k has the random numbers of system k.

    Attributes
    ----------
    steps : of the whole run.
    keep_velocities : whether to start with those of the structures; None where there are some.
    """

    settings: DynamicsSettings
    steps: int
    keep_velocities: bool | None

    def run_of(self, item: Item, observer: DynamicsObserver | None = None) -> DynamicsRun:
        return DynamicsRun(self, item, observer)

    def cost(self, item: Item) -> float:
        return float(len(item.atoms))


class DynamicsRun(Run[Dynamics]):
    """Molecular dynamics of one structure, from its first step or from the last one recorded.

    Parameters
    ----------
    work : settings of all structures.
    item : structure and files.

    Raises
    ------
    InputError, ConfigError
        When the trajectory belongs to something else.
    """

    def __init__(self, work: DynamicsWork, item: Item, observer: DynamicsObserver | None) -> None:
        self.system, self.outcome = item.system, None
        self._work, self._item, self._observer, self._calculator = work, item, observer, work.calculator
        self._settings = replace(work.settings, system=item.system)
        self._initial: InitialState | None = None
        if item.path is not None and work.restart and item.path.exists():
            self._initial = _continued(item.atoms, self._calculator, self._settings, item.path)
        self.atoms = item.atoms.copy() if self._initial is None else self._initial.atoms
        self._writer: TrajectoryWriter | None = None
        self._recorder: Recorder | None = None

    def begin(self) -> None:
        """Make ready for the first evaluation.

        The run ends with an error here when the model cannot describe the structure, when charge or multiplicity
        contradict each other, or when the thermostat has nothing to act on.
        """
        try:
            if self._initial is None:
                self._initial = _new(self.atoms, self._calculator, self._settings, self._work.keep_velocities)
            self._step = max(self._initial.step, 0)
            self._seen = self._step - 1
            self._made_by = keep_state(self.atoms, self._calculator)
            self._integrator = integrator(self.atoms, self._settings, self._initial.n_freedom, self.atoms.info)
        except MolcalcError as error:
            self.fail(error)

    def advance(self, prediction: Prediction) -> None:
        """End the step that was begun, record it, and begin the next one."""
        carry_results(self.atoms, prediction.results, self._calculator.name, self._made_by, StepResults)
        try:
            with constraints_named(self.atoms):
                forces = self.atoms.get_forces(md=True)
                if self._recorder is None:
                    self._recorder = self._opened()
                else:
                    self._integrator.finish(forces)
                    self._step += 1
                self.atoms.info.update(self._integrator.state())
                self._recorder.visit(self._step)
                self._seen = self._step
                if self._step < self._work.steps:
                    self._integrator.begin(forces, generator(self._settings, self._step + 1))
                    return
        except MolcalcError as error:
            self.fail(error)
            return
        self.atoms.info.update(step=self._step, time_fs=self._step * self._settings.timestep)
        last = with_results(self.atoms, prediction.results, self._calculator)
        self.outcome = self._recorder.outcome(last, prediction.extras)
        self.close()

    def fail(self, error: MolcalcError) -> None:
        """End with an error, which is told with the step and the frames that are kept."""
        n_frames = self._writer.n_frames if self._writer is not None and self._item.path is not None else 0
        kept = f"; {n_frames} frames are in {self._item.path}" if n_frames else ""
        at = f"step {self._seen + 1}: " if self._recorder is not None else ""
        self.outcome = type(error)(f"{at}{error}{kept}")
        self.close()

    def close(self) -> None:
        """Close trajectory and log."""
        for file in (self._recorder, self._writer):
            if file is not None:
                file.close()

    def _opened(self) -> Recorder:
        """Recorder with its files, which are there from the first evaluation on."""
        assert self._initial is not None
        path, log, force = self._item.path, self._item.log, self._work.force
        self._writer = TrajectoryWriter(
            path, self._initial.description(), self._initial.n_frames, n_torn=self._initial.n_torn, force=force
        )
        return Recorder(self.system, self._initial, self._writer, log, self._observer, force=force)


def _new(
    atoms: Atoms, calculator: MolCalculator, settings: DynamicsSettings, keep_velocities: bool | None
) -> InitialState:
    """Beginning of a run with a structure, which gets velocities."""
    calculator.predictor.check(atoms)
    check_masses(atoms)
    atoms.info.pop(NOSE_HOOVER, None)
    with constraints_named(atoms):
        n_freedom = degrees_of_freedom(atoms, settings)
        moves = bool(atoms.get_momenta().any())
        if not (moves if keep_velocities is None else keep_velocities):
            set_velocities(atoms, settings)
    return InitialState(atoms, settings, n_freedom)


def _continued(atoms: Atoms, calculator: MolCalculator, settings: DynamicsSettings, path: Path) -> InitialState:
    """The last frame of a trajectory."""
    run = read_recorded(path, DYNAMICS_PROGRAM, only_last=True)
    last = run.frames[-1]
    check_same_atoms(atoms, last, path)
    check_same_model(calculator, last, path)
    check_same_settings(settings.description(), run, path)
    n_freedom = run.description["degrees_of_freedom"]
    expected = (run.n_frames - 1) * settings.interval
    step = last.info.get("step")
    if step != expected:
        raise InputError(
            f"{path}: its steps do not go on: frame {run.n_frames - 1} is of step {step}, not {expected} "
            "(two runs wrote it, or it was edited): begin a new run from one of its frames with --keep-velocities"
        )
    kelvin = 2.0 * last.get_kinetic_energy() / (max(n_freedom, 1) * kB)
    if not kelvin <= MAX_TEMPERATURE:
        raise InputError(
            f"{path}: the momenta of its last frame are {kelvin:.3g} K, out of any sense (at most "
            f"{MAX_TEMPERATURE:g} K): begin a new run from an earlier frame"
        )
    return InitialState(last.copy(), settings, n_freedom, step=int(step), n_frames=run.n_frames, n_torn=run.n_torn)
