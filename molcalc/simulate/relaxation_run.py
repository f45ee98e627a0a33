"""Relaxation of one structure: its settings, its steps, its outcome."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.optimize
import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter

from molcalc.calculators.carried_state import keep_state
from molcalc.errors import (
    ConfigError,
    InputError,
    MolcalcError,
    NonFiniteResultError,
    checked_positive,
    checked_whole,
    suggest,
)
from molcalc.prediction.results import Prediction
from molcalc.simulate import GEOMETRY_OPTIMIZERS
from molcalc.simulate.interrupts import held
from molcalc.simulate.provenance import StepResults, carry_results, with_results
from molcalc.simulate.quasi_newton import QuasiNewton
from molcalc.simulate.retracing import RetracingCalculator, check_retraced, recorded_results, structure_key
from molcalc.simulate.side_by_side import Run
from molcalc.simulate.trajectory import (
    RecordedRun,
    TrajectoryWriter,
    check_same_atoms,
    check_same_model,
    check_same_settings,
    read_recorded,
)
from molcalc.simulate.work import Item, Work

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator

RELAXATION_PROGRAM = "molcalc relax"
"""What trajectories say of who wrote them."""
SEARCHING = frozenset({"BFGSLineSearch"})
"""Optimizers that ask for several structures in a step: each relaxation runs alone."""


@dataclass(frozen=True, kw_only=True)
class RelaxationSettings:
    """Settings of a relaxation: optimizer, largest force of a relaxed structure, number of steps, cell.

    Attributes
    ----------
    fmax : largest force on an atom of a relaxed structure, eV/Å; with ``cell`` also of the cell's degrees of freedom.
    steps : at most, with those of a trajectory that is continued.
    optimizer : one of :data:`molcalc.simulate.GEOMETRY_OPTIMIZERS`, in any case; "auto" begins with a model of the
        second derivatives (:class:`~molcalc.simulate.quasi_newton.QuasiNewton`).
    cell : relax the cell as well.

    Raises
    ------
    ConfigError
        When a value is out of range.
    """

    fmax: float = 0.05
    steps: int = 500
    optimizer: str = "auto"
    cell: bool = False

    def __post_init__(self) -> None:
        named = {name.lower(): name for name in GEOMETRY_OPTIMIZERS}
        object.__setattr__(self, "optimizer", named.get(str(self.optimizer).lower(), self.optimizer))
        if self.optimizer not in GEOMETRY_OPTIMIZERS:
            near = suggest(self.optimizer, GEOMETRY_OPTIMIZERS)
            raise ConfigError(f"optimizer={self.optimizer!r}{near}; choose one of {', '.join(GEOMETRY_OPTIMIZERS)}")
        checked_positive("fmax", self.fmax)
        checked_whole("steps", self.steps)

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
    extras : results of the last structure that ASE has no name for, such as standard deviations; none where the last
        step was recorded before.
    """

    atoms: Atoms
    last: RelaxationStep
    converged: bool
    stuck: bool = False
    extras: Mapping[str, Any] = field(default_factory=dict)


RelaxationObserver = Callable[[RelaxationStep], None]


@dataclass(frozen=True, kw_only=True)
class RelaxationWork(Work[Relaxation]):
    """Relaxation of any structure with the same settings."""

    settings: RelaxationSettings

    def run_of(self, item: Item, observer: RelaxationObserver | None = None) -> RelaxationRun:
        return RelaxationRun(self, item, observer)

    def cost(self, item: Item) -> float:
        # From 5 to 40 atoms the number of steps grows like this, from starts of force fields.
        return float(len(item.atoms) ** 1.5)

    def ended(self, runs: Sequence[Run[Relaxation]]) -> Generator[tuple[int, Relaxation | MolcalcError], None, None]:
        if self.settings.optimizer not in SEARCHING:
            yield from super().ended(runs)
            return
        for run in runs:
            assert isinstance(run, RelaxationRun)
            try:
                run.run_alone()
            except MolcalcError as error:
                run.fail(error)
            assert run.outcome is not None
            yield run.system, run.outcome


class RelaxationRun(Run["Relaxation"]):
    """Relaxation of one structure, from its first step or from the last one recorded.

    Optimizers of :data:`SEARCHING` cannot be driven from outside: :meth:`run_alone`.

    Parameters
    ----------
    work : settings of all structures.
    item : structure and trajectory.

    Raises
    ------
    InputError, ConfigError
        When the trajectory belongs to something else.
    """

    def __init__(self, work: RelaxationWork, item: Item, observer: RelaxationObserver | None) -> None:
        calculator, path = work.calculator, item.path
        self.system, self._calculator, self._settings, self._path = item.system, calculator, work.settings, path
        self._observer, self._force = observer, work.force
        run = None
        if path is not None and work.restart and path.exists():
            run = _recorded(item.atoms, calculator, work.settings, path)
        self._recorded, self._n_torn = (run.frames, run.n_torn) if run else ([], 0)
        self._known = recorded_results(self._recorded)
        self._n_recorded = len(self._recorded) - 1
        self.atoms = (self._recorded[0] if self._recorded else item.atoms).copy()
        self.outcome = None
        self._target: Any = self.atoms
        self._writer: TrajectoryWriter | None = None
        self._last = RelaxationStep(self.system, -1, math.nan, math.inf)

    def begin(self) -> None:
        """Make ready for the first step; recorded ones are taken again at once.

        The run ends with an error here when charge or multiplicity contradict each other or the model, or when there
        is no cell to relax.
        """
        try:
            self._prepare()
        except MolcalcError as error:
            self.fail(error)
            return
        self._optimizer = _optimizer(self._settings.optimizer, self._target)
        while self.outcome is None and (known := self._known.get(structure_key(self.atoms))) is not None:
            self.advance(Prediction(dict(known), {}))

    def _prepare(self) -> None:
        self._made_by = keep_state(self.atoms, self._calculator)
        if self._settings.cell:
            check_cell(self.atoms, self._calculator)
            self._target = FrechetCellFilter(self.atoms)
        self._writer = TrajectoryWriter(
            self._path, self._settings.description(), len(self._recorded), n_torn=self._n_torn, force=self._force
        )

    def advance(self, prediction: Prediction) -> None:
        """Take the next step, or end where the forces are small or the steps are used up.

        Parameters
        ----------
        prediction : energy, forces and all else of ``atoms``.
        """
        carry_results(self.atoms, prediction.results, self._calculator.name, self._made_by, StepResults)
        try:
            converged = self._note(self._last.step + 1)
        except MolcalcError as error:
            self.fail(error)
            return
        if converged or self._last.step >= max(self._settings.steps, self._n_recorded):
            last = with_results(self.atoms, prediction.results, self._calculator)
            self._end(Relaxation(last, self._last, converged, extras=prediction.extras))
            return
        self._optimizer.step()

    def fail(self, error: MolcalcError) -> None:
        """End with an error, which is told with the step."""
        self._end(type(error)(f"step {self._last.step + 1}: {error}") if self._last.step >= 0 else error)

    def close(self) -> None:
        """Close the trajectory; a run that has not ended is left where it is."""
        if self._writer is not None:
            self._writer.close()

    def run_alone(self) -> None:
        """All steps with an optimizer that asks for structures itself."""
        self._prepare()
        calculator = self._calculator
        self.atoms.calc = RetracingCalculator(calculator, self._known) if self._recorded else calculator
        self.atoms.get_forces()
        optimizer = _optimizer(self._settings.optimizer, self._target)
        converged = stuck = False
        try:
            # fmax=0: convergence is judged here, where the retraced steps do not count.
            for _ in optimizer.irun(fmax=0.0, steps=max(self._settings.steps, self._n_recorded)):
                if converged := self._note(optimizer.nsteps):
                    break
        except RuntimeError as error:
            if "LineSearch" not in str(error):
                raise
            stuck = True
        finally:
            self.close()
        calculator.get_property("energy", self.atoms)
        last = with_results(self.atoms, calculator.results, calculator)
        self.outcome = Relaxation(last, self._last, converged, stuck, dict(calculator.extras))

    def _note(self, step: int) -> bool:
        """Record a step and tell of it; whether the forces are small now."""
        self._last = RelaxationStep(self.system, step, *_energy_and_force(self.atoms, self._target))
        if step < self._n_recorded:
            return False
        if step == self._n_recorded:
            check_retraced(self.atoms, self._recorded[step], self._path)
        with held():
            if step > self._n_recorded and self._writer is not None:
                self._writer.write(self.atoms)
            if self._observer is not None:
                self._observer(self._last)
        return self._last.fmax < self._settings.fmax

    def _end(self, outcome: Relaxation | MolcalcError) -> None:
        self.outcome = outcome
        self.close()


def _recorded(atoms: Atoms, calculator: MolCalculator, settings: RelaxationSettings, path: Path) -> RecordedRun:
    """Steps of the trajectory to continue, which the optimizer retraces before it takes new ones."""
    run = read_recorded(path, RELAXATION_PROGRAM)
    check_same_atoms(atoms, run.frames[0], path)
    check_same_model(calculator, run.frames[-1], path)
    check_same_settings(settings.description(), run, path)
    return run


def check_cell(atoms: Atoms, calculator: MolCalculator) -> None:
    """Refuse to relax a cell that is not there, or of which the model knows no stress.

    Raises
    ------
    InputError
    """
    if not atoms.pbc.any():
        raise InputError(f"{atoms.get_chemical_formula()} is not periodic: there is no cell to relax")
    if "stress" not in calculator.implemented_properties:
        raise InputError(f"{calculator.model!r} as it is set up here has no stress")


def _optimizer(name: str, target: Any) -> Any:
    """Optimizer of a structure or a cell filter, by its name."""
    kind = QuasiNewton if name == "auto" else getattr(ase.optimize, name)
    return kind(target, logfile=None)


def _energy_and_force(atoms: Atoms, target: Any) -> tuple[float, float]:
    """Energy and largest force, both finite."""
    energy = float(atoms.get_potential_energy())
    fmax = float(np.linalg.norm(target.get_forces(), axis=1).max())
    if not (math.isfinite(energy) and math.isfinite(fmax)):
        raise NonFiniteResultError(f"energy {energy} eV and largest force {fmax} eV/Å are not finite")
    return energy, fmax
