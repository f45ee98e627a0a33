"""Quasi-Newton optimizer that starts from a model of the second derivatives."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
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
POOR, GOOD = 0.1, 0.6
"""Parts of the expected fall of the energy below which steps get shorter, and above which they may get longer again."""
SHORTER, LONGER, SHORTEST = 0.5, 1.5, 0.02
"""Factors of the longest step, and Å below which it does not fall."""
JUDGED_ABOVE = 1e-3
"""eV that the energy must be expected to fall: below, rounding in single precision would judge the step."""
CELL_STIFFNESS = 0.3
"""eV/Å³, elastic constant of a cell before anything is known of it (50 GPa)."""
DAMPED_BELOW = 0.2
"""Share of the expected curvature below which the found one is mixed with it, so that the matrix stays positive."""


class QuasiNewton(Optimizer):
    """BFGS in Cartesian coordinates on :func:`~molcalc.simulate.model_hessian.model_hessian` of the present geometry.

    It takes a third of the steps of ASE's BFGS, which starts from one stiffness for all directions. The model follows
    the atoms; what the last steps have shown is added to it. Steps are shorter where the energy does not fall as
    expected (trust radius, as in R. Fletcher, Practical Methods of Optimization, ch. 5.1). Updates are damped (J.
    Nocedal, S. Wright, Numerical Optimization, 2nd ed., procedure 18.2). Use it as any optimizer of ASE, also on a cell
    filter.

    Parameters
    ----------
    atoms : structure, or a filter of ASE.
    maxstep : Å, largest step of an atom.
    options : of :class:`ase.optimize.optimize.Optimizer`.
    """

    def __init__(self, atoms: Any, maxstep: float = 0.2, **options: Any) -> None:
        self.maxstep = self._radius = maxstep
        self._atoms = atoms
        self._steps: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=REMEMBERED)
        self._hessian: np.ndarray | None = None
        self._made_at: np.ndarray | None = None
        self._last: _Step | None = None
        super().__init__(atoms, **options)

    def step(self, forces: np.ndarray | None = None) -> None:
        """Move to the minimum of the model, or as far as a step may go."""
        x = self.optimizable.get_x()
        gradient = self.optimizable.get_gradient() if forces is None else -np.asarray(forces).ravel()
        energy = float(self.optimizable.get_value())
        self._judge(energy)
        hessian = self._renewed(x, gradient)
        step = -np.linalg.solve(hessian, gradient)
        longest = _largest_move(step)
        if longest > self._radius:
            step *= self._radius / longest
        expected = float(gradient @ step + 0.5 * step @ hessian @ step)
        self._last = _Step(x, gradient, energy, expected, min(longest, self._radius))
        self.optimizable.set_x(x + step)

    def _judge(self, energy: float) -> None:
        """Adapt the length of steps to what the last one has done to the energy."""
        last = self._last
        if last is None or last.expected > -JUDGED_ABOVE:
            return
        share = (energy - last.energy) / last.expected
        if share < POOR:
            self._radius = max(SHORTER * last.longest, SHORTEST)
        elif share > GOOD:
            self._radius = min(LONGER * self._radius, self.maxstep)

    def _renewed(self, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Second derivatives with what the last step has shown, and of a new model where atoms have moved far."""
        if self._last is not None:
            self._steps.append((x - self._last.x, gradient - self._last.gradient))
        if self._hessian is None or self._made_at is None or _largest_move(x - self._made_at) > RENEWED_AFTER:
            self._hessian, self._made_at = _modelled(self._atoms), x.copy()
            for step in self._steps:
                self._hessian = _updated(self._hessian, *step)
        elif self._steps:
            self._hessian = _updated(self._hessian, *self._steps[-1])
        return self._hessian


@dataclass(frozen=True)
class _Step:
    """Where a step began, how the energy (eV) was expected to change, and how far (Å) an atom went at most."""

    x: np.ndarray
    gradient: np.ndarray
    energy: float
    expected: float
    longest: float


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
