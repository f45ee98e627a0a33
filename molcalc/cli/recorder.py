"""Frames, log and statistics of a molecular dynamics run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from molcalc.cli.dynamics import temperature
from molcalc.cli.interrupts import held
from molcalc.errors import NonFiniteResultError

if TYPE_CHECKING:
    from molcalc.cli.dynamics import Begin
    from molcalc.cli.trajectory import TrajectoryWriter

DRIFT_TIME = 500.0
"""fs below which a slope of the total energy is vibration rather than drift."""
_COLUMNS = ("step", "time/fs", "potential/eV", "kinetic/eV", "total/eV", "temperature/K")


class Recorder:
    """Keeps what is asked for of the steps of a run.

    Parameters
    ----------
    begin : structure, settings, and the last step that is recorded already.
    log : text table, one line per frame; None for none. Every line is on disk at once.
    """

    def __init__(self, begin: Begin, writer: TrajectoryWriter, log: Path | None) -> None:
        self._begin, self._writer, self._atoms = begin, writer, begin.atoms
        mode = "a" if begin.n_frames else "w"
        self._log = open(log, mode, encoding="utf-8") if log else None  # noqa: SIM115 - open as long as the run
        if self._log and self._log.tell() == 0:
            self._write_line(*_COLUMNS)
        self._kelvins: list[float] = []
        self._times: list[float] = []
        self._totals: list[float] = []

    @property
    def n_frames(self) -> int:
        """Frames in the trajectory."""
        return self._writer.n_frames

    def visit(self, step: int) -> None:
        """Check a step and record it if it is its turn.

        Raises
        ------
        NonFiniteResultError
            When velocities or energies are not finite.
        """
        atoms, settings = self._atoms, self._begin.settings
        kinetic = float(atoms.get_kinetic_energy())
        if not math.isfinite(kinetic):
            raise NonFiniteResultError(f"the kinetic energy is {kinetic} eV")
        if step % settings.interval != 0:
            return
        potential = float(atoms.get_potential_energy())
        if not math.isfinite(potential):
            raise NonFiniteResultError(f"the potential energy is {potential} eV")
        time, kelvin = step * settings.timestep, temperature(atoms, self._begin.n_freedom)
        self._kelvins.append(kelvin)
        self._times.append(time)
        self._totals.append(potential + kinetic)
        if step <= self._begin.step:
            return
        with held():
            atoms.info.update(step=step, time_fs=time)
            self._writer.write(atoms)
            energies = (potential, kinetic, potential + kinetic)
            self._write_line(str(step), f"{time:.3f}", *(f"{value:.6f}" for value in (*energies, kelvin)))

    def summary(self, steps: int) -> str:
        """Mean temperature, and how constant a constant energy was, over the frames of this run."""
        text = f"{steps} steps, {self.n_frames} frames"
        if self._kelvins:
            text += f"; mean temperature {np.mean(self._kelvins):.1f} K, last total energy {self._totals[-1]:.6f} eV"
        if self._begin.settings.thermostat is None and self._kelvins:
            per_atom = (np.array(self._totals) - self._totals[0]) / len(self._atoms)
            text += f", fluctuation {per_atom.std():.1e} eV/atom"
            if self._times[-1] - self._times[0] >= DRIFT_TIME:
                text += f", drift {1000.0 * np.polyfit(self._times, per_atom, 1)[0]:.1e} eV/atom/ps"
        return text

    def _write_line(self, step: str, time: str, *values: str) -> None:
        if self._log:
            self._log.write(f"{step:>9} {time:>12} " + " ".join(f"{value:>16}" for value in values) + "\n")
            self._log.flush()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *error: object) -> None:
        if self._log:
            self._log.close()
