"""Continuing a relaxation: the optimizer retraces its recorded steps.

Every optimizer of ASE is deterministic. Shown the recorded energies and forces, it walks through the same structures
again in milliseconds and arrives with the Hessian, step lengths and cell filter that it had when it was stopped, so
that a relaxation in parts takes the same steps as one in a piece. No second file with the state can be lost or
lag behind the trajectory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from molcalc.errors import ConfigError

RETRACED_WITHIN = 1e-6
"""Å between a retraced and a recorded structure that may come from another processor's rounding."""


class RetracingCalculator(Calculator):
    """Calculator with recorded results for the structures of a trajectory, and another one for everything else.

    Parameters
    ----------
    calculator : asked about new structures.
    known : results by :func:`structure_key`, as :func:`recorded_results` collects them.
    """

    def __init__(self, calculator: Any, known: Mapping[bytes, Mapping[str, Any]]) -> None:
        self._calculator = calculator
        super().__init__()
        self.implemented_properties = list(calculator.implemented_properties)
        self._known = known

    @property
    def name(self) -> str:
        """Name that trajectories give the source of the results: that of the other calculator."""
        return str(self._calculator.name)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Look the structure up, or calculate it."""
        super().calculate(atoms, properties, system_changes)
        recorded = self._known.get(structure_key(self.atoms), {})
        if all(name in recorded for name in properties):
            self.results = dict(recorded)
        else:
            for name in properties:
                self._calculator.get_property(name, self.atoms)
            self.results = dict(self._calculator.results)

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Origin of the results: the other calculator."""
        values: dict[str, Any] = self._calculator.todict()
        return values


def check_retraced(atoms: Atoms, recorded: Atoms, path: Path | None) -> None:
    """Refuse to continue when the optimizer did not come to the recorded structure.

    Raises
    ------
    ConfigError
    """
    if not (
        np.allclose(atoms.positions, recorded.positions, rtol=0.0, atol=RETRACED_WITHIN)
        and np.allclose(atoms.cell.array, recorded.cell.array, rtol=0.0, atol=RETRACED_WITHIN)
    ):
        raise ConfigError(
            f"the optimizer does not retrace the steps of {path} (written with another version of ASE?): relax its "
            f"last frame, {path}@-1, with a new trajectory"
        )


def recorded_results(frames: Iterable[Atoms]) -> dict[bytes, Mapping[str, Any]]:
    """Results of the structures of a trajectory.

    Returns
    -------
    results by :func:`structure_key`; a frame without any is left out.
    """
    return {structure_key(frame): frame.calc.results for frame in frames if frame.calc is not None}


def structure_key(atoms: Atoms) -> bytes:
    """All digits of positions and cell."""
    return bytes(atoms.positions.tobytes() + atoms.cell.array.tobytes())
