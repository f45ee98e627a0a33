"""Relaxation and dynamics with any calculator of ASE, every call for forces counted.

Calculators of molcalc take all structures in one batch; others take one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, CalculatorError

from molcalc.calculators.base import MolCalculator
from molcalc.errors import MolcalcError
from molcalc.simulate.dynamics import md_all
from molcalc.simulate.ensembles import DynamicsSettings, degrees_of_freedom, generator, set_velocities
from molcalc.simulate.integrators import integrator
from molcalc.simulate.quasi_newton import QuasiNewton
from molcalc.simulate.relaxation import relax_all
from molcalc.simulate.relaxation_run import Relaxation, RelaxationSettings, RelaxationStep


@dataclass(frozen=True, kw_only=True)
class Relaxed:
    """Structure after its relaxation.

    Attributes
    ----------
    positions : (n_atoms, 3) Å.
    first_energy : eV before the first step.
    energy : eV.
    converged : whether the forces are as small as wanted.
    calls : for forces.
    """

    positions: np.ndarray
    first_energy: float
    energy: float
    converged: bool
    calls: int


@dataclass(frozen=True)
class NotRelaxed:
    """Structure that could not be relaxed.

    Attributes
    ----------
    reason : what the calculator says.
    calls : for forces until then.
    """

    reason: str
    calls: int


def relax_each(
    structures: Sequence[Atoms], calculator: Calculator, settings: RelaxationSettings
) -> list[Relaxed | NotRelaxed]:
    """Structures after relaxation, in their order.

    Parameters
    ----------
    calculator : of molcalc, or any other of ASE; those are driven by
        :class:`~molcalc.simulate.quasi_newton.QuasiNewton`, whatever optimizer the settings name.

    Returns
    -------
    one outcome for each structure
    """
    if not structures:
        return []
    if not isinstance(calculator, MolCalculator):
        return [_relaxed_alone(atoms, calculator, settings) for atoms in structures]
    energies: dict[int, float] = {}
    calls = [0] * len(structures)

    def observe(step: RelaxationStep) -> None:
        energies.setdefault(step.system, step.energy)
        calls[step.system] += 1

    outcomes = relax_all(structures, calculator, settings, observer=observe)
    return [
        Relaxed(
            positions=outcome.atoms.positions,
            first_energy=energies[k],
            energy=outcome.last.energy,
            converged=outcome.converged,
            calls=calls[k],
        )
        if isinstance(outcome, Relaxation)
        else NotRelaxed(str(outcome), calls[k] + 1)
        for k, outcome in enumerate(outcomes)
    ]


def move_each(
    structures: Sequence[Atoms], calculator: Calculator, settings: DynamicsSettings, steps: int
) -> list[Atoms | None]:
    """Structures after molecular dynamics, in their order; each step takes one call for forces, and the start one.

    Returns
    -------
    one for each structure; None where it went wrong
    """
    if isinstance(calculator, MolCalculator):
        outcomes = md_all(structures, calculator, settings, steps=steps)
        return [None if isinstance(outcome, MolcalcError) else outcome.atoms for outcome in outcomes]
    return [_moved_alone(atoms, calculator, replace(settings, system=k), steps) for k, atoms in enumerate(structures)]


def _relaxed_alone(atoms: Atoms, calculator: Calculator, settings: RelaxationSettings) -> Relaxed | NotRelaxed:
    moving = atoms.copy()
    moving.calc = calculator
    optimizer = QuasiNewton(moving, logfile=None)
    try:
        first = moving.get_potential_energy()
        optimizer.run(fmax=settings.fmax, steps=settings.steps)
        energy, forces = moving.get_potential_energy(), moving.get_forces()
    except (CalculatorError, MolcalcError) as error:
        return NotRelaxed(str(error), optimizer.nsteps + 1)
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        return NotRelaxed(f"energy {energy} eV or forces are not finite", optimizer.nsteps + 1)
    return Relaxed(
        positions=moving.positions,
        first_energy=float(first),
        energy=float(energy),
        converged=bool(np.linalg.norm(forces, axis=1).max() < settings.fmax),
        calls=optimizer.nsteps + 1,
    )


def _moved_alone(atoms: Atoms, calculator: Calculator, settings: DynamicsSettings, steps: int) -> Atoms | None:
    moving = atoms.copy()
    moving.calc = calculator
    set_velocities(moving, settings)
    motion = integrator(moving, settings, degrees_of_freedom(moving, settings))
    try:
        for step in range(steps):
            motion.begin(moving.get_forces(), generator(settings, step + 1))
            motion.finish(moving.get_forces())
    except (CalculatorError, MolcalcError):
        return None
    return moving if np.isfinite(moving.positions).all() else None
