"""Quasi-Newton optimizer that starts from a model of the second derivatives."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from ase import Atoms
from ase.optimize.optimize import Optimizer

from molcalc.simulate.model_hessian import model_hessian

SOFTEST = 0.25
"""eV/Å², added to all directions: rotations about bonds cost nearly nothing in the model, and steps would be long. With
0.1 some rotations run onto a maximum and stay there."""
RENEWED_AFTER = 0.1
"""Å that an atom may move before the model is made again: bonds that turn take their stiff directions with them."""
REMEMBERED = 8
"""Steps whose changes of the forces a new model learns; what was found longer ago held for another geometry."""
CELL_STIFFNESS = 0.3
"""eV/Å³, elastic constant of a cell before anything is known of it (50 GPa)."""
DAMPED_BELOW = 0.2
"""Share of the expected curvature below which the found one is mixed with it, so that the matrix stays positive."""


class QuasiNewton(Optimizer):
    """BFGS in Cartesian coordinates on :func:`~molcalc.simulate.model_hessian.model_hessian` of the present geometry.

    It takes a third of the steps of ASE's BFGS, which starts from one stiffness for all directions. The model follows
    the atoms; what the last steps have shown is added to it. Updates are damped (J. Nocedal, S. Wright, Numerical
    Optimization, 2nd ed., procedure 18.2). Use it as any optimizer of ASE, also on a cell filter.

    Parameters
    ----------
    atoms : structure, or a filter of ASE.
    maxstep : Å, largest step of an atom.
    options : of :class:`ase.optimize.optimize.Optimizer`.
    """

    def __init__(self, atoms: Any, maxstep: float = 0.2, **options: Any) -> None:
        self.maxstep = maxstep
        self._atoms = atoms
        self._steps: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=REMEMBERED)
        self._hessian: np.ndarray | None = None
        self._made_at: np.ndarray | None = None
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        super().__init__(atoms, **options)

    def step(self, forces: np.ndarray | None = None) -> None:
        """Move to the minimum of the model, or as far as a step may go."""
        x = self.optimizable.get_x()
        gradient = self.optimizable.get_gradient() if forces is None else -np.asarray(forces).ravel()
        step = -np.linalg.solve(self._renewed(x, gradient), gradient)
        longest = _largest_move(step)
        if longest > self.maxstep:
            step *= self.maxstep / longest
        self._last = x, gradient
        self.optimizable.set_x(x + step)

    def _renewed(self, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Second derivatives with what the last step has shown, and of a new model where atoms have moved far."""
        if self._last is not None:
            self._steps.append((x - self._last[0], gradient - self._last[1]))
        if self._hessian is None or self._made_at is None or _largest_move(x - self._made_at) > RENEWED_AFTER:
            self._hessian, self._made_at = _modelled(self._atoms), x.copy()
            for step in self._steps:
                self._hessian = _updated(self._hessian, *step)
        elif self._steps:
            self._hessian = _updated(self._hessian, *self._steps[-1])
        return self._hessian


def _largest_move(change: np.ndarray) -> float:
    """Å, largest distance of an atom, or of what a filter counts as one."""
    return float(np.sqrt(np.square(change.reshape(-1, 3)).sum(axis=1).max()))


def _modelled(target: Any) -> np.ndarray:
    """Model of the second derivatives by everything that the optimizer moves."""
    atoms: Atoms = target if isinstance(target, Atoms) else target.atoms
    model = model_hessian(atoms.numbers, atoms.positions, atoms.cell.array, np.asarray(atoms.pbc))
    hessian = SOFTEST * np.eye(3 * len(target))
    n = min(len(model), len(hessian))
    hessian[:n, :n] += model[:n, :n]
    if len(hessian) > n:  # the cell, in units of a filter that divides its strain
        factor = float(getattr(target, "exp_cell_factor", 1.0))
        hessian[n:, n:] = np.eye(len(hessian) - n) * CELL_STIFFNESS * atoms.get_volume() / factor**2
    return hessian


def _updated(hessian: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """The matrix with what a step has shown."""
    product = hessian @ step
    expected = float(step @ product)
    if not expected > 0.0:  # no step: everything is held by constraints
        return hessian
    curvature = float(step @ change)
    if curvature < DAMPED_BELOW * expected:
        share = (1.0 - DAMPED_BELOW) * expected / (expected - curvature)
        change = share * change + (1.0 - share) * product
        curvature = float(step @ change)
    return hessian + np.outer(change, change) / curvature - np.outer(product, product) / expected
