"""Recording of molecular dynamics: frames, a log, and statistics over the frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from molcalc.errors import NonFiniteResultError
from molcalc.io.growing import GrowingFile
from molcalc.simulate.ensembles import DynamicsSettings, temperature
from molcalc.simulate.explosion import Sense
from molcalc.simulate.interrupts import held
from molcalc.simulate.trajectory import TrajectoryWriter

DYNAMICS_PROGRAM = "molcalc md"
"""What trajectories say of who wrote them."""
DRIFT_TIME = 500.0
"""fs below which a slope of the total energy is vibration rather than drift."""
_COLUMNS = ("step", "time/fs", "potential/eV", "kinetic/eV", "total/eV", "temperature/K")


@dataclass(frozen=True)
class InitialState:
    """Point in phase space from which a run starts or goes on, and how it goes on.

    Attributes
    ----------
    atoms : structure with its momenta.
    n_freedom : degrees of freedom that carry kinetic energy.
    step : last step that is recorded; -1 before the first.
    n_frames : recorded frames.
    n_torn : torn frames behind them.
    """

    atoms: Atoms
    settings: DynamicsSettings
    n_freedom: int
    step: int = -1
    n_frames: int = 0
    n_torn: int = 0

    def description(self) -> dict[str, object]:
        """Description of the run in its trajectory, as plain values."""
        return {"program": DYNAMICS_PROGRAM, **self.settings.description(), "degrees_of_freedom": self.n_freedom}


@dataclass(frozen=True)
class DynamicsStep:
    """Step that was taken, as observers see it.

    Attributes
    ----------
    system : which of the structures, from 0.
    step : from 0, the structure given.
    n_frames : frames in its trajectory now.
    """

    system: int
    step: int
    n_frames: int


DynamicsObserver = Callable[[DynamicsStep], None]


@dataclass(frozen=True)
class Dynamics:
    """Outcome of molecular dynamics.

    Attributes
    ----------
    atoms : last structure, with its momenta and results.
    n_frames : frames in the trajectory, with those of earlier parts.
    times : (n,) fs of the frames of this part; one that a restart began with is the first.
    total_energies : (n,) eV, potential and kinetic.
    temperatures : (n,) K.
    extras : results of the last structure that ASE has no name for, such as standard deviations.
    """

    atoms: Atoms
    settings: DynamicsSettings
    n_frames: int
    times: np.ndarray
    total_energies: np.ndarray
    temperatures: np.ndarray
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fluctuation(self) -> float:
        """Standard deviation of the total energy, eV/atom."""
        return float(self._per_atom().std())

    @property
    def drift(self) -> float | None:
        """Slope of the total energy, eV/atom/ps; None below :data:`DRIFT_TIME`."""
        if self.times[-1] - self.times[0] < DRIFT_TIME:
            return None
        return float(1000.0 * np.polyfit(self.times, self._per_atom(), 1)[0])

    def _per_atom(self) -> np.ndarray:
        return (self.total_energies - self.total_energies[0]) / len(self.atoms)


class Recorder:
    """Keeps what is asked for of the steps of a run.

    Parameters
    ----------
    system : number that observers are told.
    initial : structure, settings, and the last step that is recorded already.
    log : text table, one line per frame; None for none. Every line is on disk at once.
    observer : called at every step.
    """

    def __init__(
        self,
        system: int,
        initial: InitialState,
        writer: TrajectoryWriter,
        log: Path | None,
        observer: DynamicsObserver | None,
        *,
        force: bool = False,
    ) -> None:
        self._system, self._initial, self._writer, self._observer = system, initial, writer, observer
        goes_on = log is not None and initial.n_frames > 0 and log.exists()
        self._log = GrowingFile(log, append=goes_on, force=force) if log else None
        self._logged = _cut_log(self._log, initial.step) if self._log and goes_on else -1
        start = temperature(initial.atoms, initial.n_freedom)
        self._sense = Sense(initial.settings, initial.n_freedom, start if initial.step < 0 else 0.0)
        self._temperatures: list[float] = []
        self._times: list[float] = []
        self._totals: list[float] = []

    def visit(self, step: int) -> None:
        """Check a step, record it if it is its turn, and tell the observer.

        Raises
        ------
        NonFiniteResultError
            When velocities or energies are not finite.
        ExplosionError
            When they are out of any sense.
        """
        kinetic = float(self._initial.atoms.get_kinetic_energy())
        if not math.isfinite(kinetic):
            raise NonFiniteResultError(f"the kinetic energy is {kinetic} eV")
        self._sense.check_temperature(temperature(self._initial.atoms, self._initial.n_freedom))
        with held():
            if step % self._initial.settings.interval == 0:
                self._record(step, kinetic)
            if self._observer:
                self._observer(DynamicsStep(self._system, step, self._writer.n_frames))

    def outcome(self, atoms: Atoms, extras: Mapping[str, Any]) -> Dynamics:
        """The run up to its last structure."""
        times, totals, kelvins = (np.array(values) for values in (self._times, self._totals, self._temperatures))
        return Dynamics(atoms, self._initial.settings, self._writer.n_frames, times, totals, kelvins, extras)

    def _record(self, step: int, kinetic: float) -> None:
        """Keep a frame, unless an earlier part of the run has it."""
        atoms = self._initial.atoms
        potential = float(atoms.get_potential_energy())
        if not math.isfinite(potential):
            raise NonFiniteResultError(f"the potential energy is {potential} eV")
        time, kelvin = step * self._initial.settings.timestep, temperature(atoms, self._initial.n_freedom)
        self._temperatures.append(kelvin)
        self._times.append(time)
        self._totals.append(potential + kinetic)
        self._sense.check_energy((self._totals[-1] - self._totals[0]) / len(atoms))
        if step > self._initial.step:
            atoms.info.update(step=step, time_fs=time)
            self._writer.write(atoms)
        elif step <= self._logged:  # otherwise a run was killed between a frame and its line
            return
        if self._log:
            energies = (potential, kinetic, potential + kinetic)
            line = _line(str(step), f"{time:.3f}", *(f"{value:.6f}" for value in (*energies, kelvin)))
            self._log.write((line if self._log.tell() else _line(*_COLUMNS) + line).encode())
            self._log.finish_piece()

    def close(self) -> None:
        """Close the log."""
        if self._log:
            self._log.close()


def _line(step: str, time: str, *values: str) -> str:
    return f"{step:>9} {time:>12} " + " ".join(f"{value:>16}" for value in values) + "\n"


def _cut_log(log: GrowingFile, step: int) -> int:
    """Drop a torn last line, and lines of steps that no frame records; the last step that stays, -1 without any."""
    log.seek(0)
    size, last = 0, -1
    for line in log.read().splitlines(keepends=True):
        words = line.split()
        found = int(words[0]) if words and words[0].isdigit() else -1
        if not line.endswith(b"\n") or found > step:
            break
        size, last = size + len(line), max(last, found)
    log.cut(size)
    return last
