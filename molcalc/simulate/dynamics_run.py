"""Molecular dynamics of one structure, driven from outside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from molcalc.errors import MolcalcError
from molcalc.prediction.results import Prediction
from molcalc.simulate.constraints import constraints_named
from molcalc.simulate.ensembles import generator
from molcalc.simulate.integrators import integrator
from molcalc.simulate.provenance import StepResults, carry_results, keep_state, with_results
from molcalc.simulate.recorder import Dynamics, DynamicsObserver, InitialState, Recorder
from molcalc.simulate.side_by_side import Run
from molcalc.simulate.trajectory import TrajectoryWriter

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator


class DynamicsRun(Run[Dynamics]):
    """Molecular dynamics of one structure, from its first step or from the last one recorded.

    Parameters
    ----------
    system : its number, for the observer.
    initial : structure with momenta, which moves, and how it goes on.
    steps : of the whole run.
    path, log : trajectory and table, or None.
    force : replace files that exist.
    """

    def __init__(
        self,
        system: int,
        initial: InitialState,
        calculator: MolCalculator,
        steps: int,
        path: Path | None,
        log: Path | None,
        force: bool,
        observer: DynamicsObserver | None,
    ) -> None:
        self.system, self.atoms, self.outcome = system, initial.atoms, None
        self._initial, self._settings, self._calculator, self._steps = initial, initial.settings, calculator, steps
        self._path, self._log, self._force, self._observer = path, log, force, observer
        self._step = max(initial.step, 0)
        self._seen = self._step - 1
        self._writer: TrajectoryWriter | None = None
        self._recorder: Recorder | None = None

    def begin(self) -> None:
        """Make ready for the first evaluation.

        The run ends with an error here when charge or multiplicity contradict each other or the model, or when the
        thermostat has nothing to act on.
        """
        try:
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
                if self._step < self._steps:
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
        n_frames = self._writer.n_frames if self._writer is not None else 0
        kept = f"; {n_frames} frames are in {self._path}" if self._path is not None and n_frames else ""
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
        self._writer = TrajectoryWriter(
            self._path,
            self._initial.description(),
            self._initial.n_frames,
            n_torn=self._initial.n_torn,
            force=self._force,
        )
        return Recorder(self.system, self._initial, self._writer, self._log, self._observer, force=self._force)
