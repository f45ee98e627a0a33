"""Relaxation: atoms, and the cell where asked for, move to the nearest minimum of the energy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.optimize
import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter

from molcalc.errors import ConfigError, InputError, MolcalcError, NonFiniteResultError, suggest
from molcalc.io.targets import check_file
from molcalc.simulate import GEOMETRY_OPTIMIZERS
from molcalc.simulate.interrupts import held
from molcalc.simulate.provenance import keep_state, with_results
from molcalc.simulate.retracing import RetracingCalculator, check_retraced
from molcalc.simulate.trajectory import (
    PathLike,
    TrajectoryWriter,
    check_distinct,
    check_same_atoms,
    check_same_model,
    check_same_settings,
    check_trajectories,
    file_of_each,
    read_recorded,
)

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator

RELAXATION_PROGRAM = "molcalc relax"
"""What trajectories say of who wrote them."""


@dataclass(frozen=True, kw_only=True)
class RelaxationSettings:
    """Settings of a relaxation: optimizer, largest force of a relaxed structure, number of steps, cell.

    Attributes
    ----------
    fmax : largest force on an atom of a relaxed structure, eV/Å; with ``cell`` also of the cell's degrees of freedom.
    steps : at most, with those of a trajectory that is continued.
    optimizer : one of :data:`molcalc.simulate.GEOMETRY_OPTIMIZERS`.
    cell : relax the cell as well.

    Raises
    ------
    ConfigError
        When a value is out of range.
    """

    fmax: float = 0.05
    steps: int = 500
    optimizer: str = "BFGS"
    cell: bool = False

    def __post_init__(self) -> None:
        if self.optimizer not in GEOMETRY_OPTIMIZERS:
            near = suggest(self.optimizer, GEOMETRY_OPTIMIZERS)
            raise ConfigError(f"optimizer={self.optimizer!r}{near}; choose one of {', '.join(GEOMETRY_OPTIMIZERS)}")
        if not (math.isfinite(self.fmax) and self.fmax > 0.0):
            raise ConfigError(f"fmax={self.fmax} eV/Å is not a number > 0")
        if self.steps < 0:
            raise ConfigError(f"steps={self.steps} is not a whole number ≥ 0")

    def description(self) -> dict[str, Any]:
        """Description of the run in its trajectory, which must be the same when it is continued."""
        return {"program": RELAXATION_PROGRAM, "optimizer": self.optimizer, "cell": self.cell}


@dataclass(frozen=True)
class RelaxationStep:
    """Structure on the way, as observers see it.

    Attributes
    ----------
    system : which of the structures, from 0.
    step : from 0, the structure given.
    energy : eV.
    fmax : largest force, eV/Å.
    """

    system: int
    step: int
    energy: float
    fmax: float


@dataclass(frozen=True)
class Relaxation:
    """Outcome of a relaxation.

    Attributes
    ----------
    atoms : last structure, with its results.
    last : its step, energy and largest force.
    converged : whether the forces are as small as wanted.
    stuck : whether a line search found no lower energy, for which rounding is the usual reason.
    """

    atoms: Atoms
    last: RelaxationStep
    converged: bool
    stuck: bool


RelaxationObserver = Callable[[RelaxationStep], None]


def relax(
    images: Atoms | Sequence[Atoms],
    calculator: MolCalculator,
    settings: RelaxationSettings | None = None,
    *,
    trajectory: PathLike | Sequence[PathLike | None] | None = None,
    restart: bool = False,
    force: bool = False,
    observer: RelaxationObserver | None = None,
) -> list[Relaxation]:
    """Relaxed structures, in the order of the input.

    Parameters
    ----------
    images : one structure or several; they stay as they are.
    settings : defaults where None.
    trajectory : file that takes every step; of several structures one each.
    restart : continue trajectories that exist. The steps are those of a relaxation in one piece.
    force : replace trajectories that exist.
    observer : called at every new step, also at the first and at the one that a restart begins with.

    Returns
    -------
    One outcome for each structure.

    Raises
    ------
    InputError
        When a structure or trajectory cannot be used.
    ConfigError
        When a trajectory was made with another model or other settings.
    NonFiniteResultError
        When an energy or force is not finite; names the step.
    """
    settings = settings or RelaxationSettings()
    systems = [images] if isinstance(images, Atoms) else list(images)
    paths = file_of_each(trajectory, len(systems), "trajectory")
    check_trajectories(paths)
    check_distinct(paths)
    for atoms, path in zip(systems, paths):
        if settings.cell:
            check_cell(atoms, calculator, atoms.get_chemical_formula())
        if path is not None and not (restart and path.exists()):
            check_file(path, force=force)
    runs = [_Run(k, atoms, calculator, settings, path, restart) for k, (atoms, path) in enumerate(zip(systems, paths))]
    return [run.take_steps(observer) for run in runs]


def check_cell(atoms: Atoms, calculator: MolCalculator, name: str) -> None:
    """Refuse to relax a cell that is not there, or of which the model knows no stress.

    Parameters
    ----------
    name : of the structure, for the message.

    Raises
    ------
    InputError
    """
    if not atoms.pbc.any():
        raise InputError(f"{name} is not periodic: there is no cell to relax")
    if "stress" not in calculator.implemented_properties:
        raise InputError(f"{calculator.model!r} as it is set up here has no stress")


class _Run:
    """Relaxation of one structure, from its first step or from the last one recorded."""

    def __init__(
        self,
        system: int,
        atoms: Atoms,
        calculator: MolCalculator,
        settings: RelaxationSettings,
        path: Path | None,
        restart: bool,
    ) -> None:
        self._system, self._calculator, self._settings, self._path = system, calculator, settings, path
        self._recorded = _recorded(atoms, calculator, settings, path) if path and restart and path.exists() else []
        self._atoms = (self._recorded[0] if self._recorded else atoms).copy()

    def take_steps(self, observer: RelaxationObserver | None) -> Relaxation:
        """Steps until the forces are small or the steps are used up."""
        atoms, calculator, recorded = self._atoms, self._calculator, self._recorded
        keep_state(atoms, calculator)
        atoms.calc = RetracingCalculator(calculator, recorded) if recorded else calculator
        atoms.get_forces()
        target = FrechetCellFilter(atoms) if self._settings.cell else atoms
        with TrajectoryWriter(self._path, self._settings.description(), len(recorded)) as writer:
            last, converged, stuck = self._iterate(target, writer, observer or _unobserved)
        calculator.get_property("energy", atoms)
        return Relaxation(with_results(atoms, calculator.results, calculator), last, converged, stuck)

    def _iterate(
        self, target: Any, writer: TrajectoryWriter, observer: RelaxationObserver
    ) -> tuple[RelaxationStep, bool, bool]:
        """The last step, whether it converged, and whether the line search is stuck."""
        optimizer = getattr(ase.optimize, self._settings.optimizer)(target, logfile=None)
        n_recorded = len(self._recorded) - 1
        last = RelaxationStep(self._system, -1, math.nan, math.inf)
        try:
            # fmax=0: convergence is judged here, where the retraced steps do not count.
            for _ in optimizer.irun(fmax=0.0, steps=max(self._settings.steps, n_recorded)):
                last = RelaxationStep(self._system, optimizer.nsteps, *_energy_and_force(self._atoms, target))
                if last.step < n_recorded:
                    continue
                if last.step == n_recorded:
                    check_retraced(self._atoms, self._recorded[n_recorded], self._path)
                with held():
                    if last.step > n_recorded:
                        writer.write(self._atoms)
                    observer(last)
                if last.fmax < self._settings.fmax:
                    return last, True, False
        except MolcalcError as error:
            raise type(error)(f"step {last.step + 1}: {error}") from error
        except RuntimeError as error:
            if "LineSearch" not in str(error):
                raise
            return last, False, True
        return last, False, False


def _recorded(atoms: Atoms, calculator: MolCalculator, settings: RelaxationSettings, path: Path) -> list[Atoms]:
    """Steps of the trajectory to continue, which the optimizer retraces before it takes new ones."""
    run = read_recorded(path, RELAXATION_PROGRAM)
    check_same_atoms(atoms, run.frames[0], path)
    check_same_model(calculator, run.frames[-1], path)
    check_same_settings(settings.description(), run, path)
    return run.frames


def _energy_and_force(atoms: Atoms, target: Any) -> tuple[float, float]:
    """Energy and largest force, both finite."""
    energy = float(atoms.get_potential_energy())
    fmax = float(np.linalg.norm(target.get_forces(), axis=1).max())
    if not (math.isfinite(energy) and math.isfinite(fmax)):
        raise NonFiniteResultError(f"energy {energy} eV and largest force {fmax} eV/Å are not finite")
    return energy, fmax


def _unobserved(step: RelaxationStep) -> None:
    """Observer that does nothing."""
