"""Structures as files keep them: with the state they were computed in, their results, and what made them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator

from molcalc.calculators.carried_state import keep_state

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator


class StepResults(SinglePointCalculator):
    """Results of one step of an optimizer or integrator, which moves atoms and cell and nothing else.

    Looking at these alone takes a tenth of the time of a comparison with everything that a structure may have.
    """

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """What has moved since."""
        moved = not np.array_equal(atoms.positions, self.atoms.positions)
        strained = not np.array_equal(atoms.cell.array, self.atoms.cell.array)
        return ["positions"] * moved + ["cell"] * strained


def with_results(atoms: Atoms, results: Mapping[str, Any], calculator: MolCalculator) -> Atoms:
    """Copy of a structure that carries its results, its total charge and what made them.

    Parameters
    ----------
    results : of this structure, by name; those that ASE does not know are left out.

    Returns
    -------
    A structure with a SinglePointCalculator.
    """
    frame = atoms.copy()
    frame.info = {key: value for key, value in atoms.info.items() if key not in all_properties}
    made_by = keep_state(frame, calculator)
    return carry_results(frame, results, calculator.name, made_by)


def with_initial_charges(atoms: Atoms, total: int) -> Atoms:
    """Copy whose initial charges are the calculated ones, adding up to the total charge exactly.

    An ASE database sums initial charges up to its own ``charge``.

    Parameters
    ----------
    atoms : structure of :func:`with_results`.
    total : charge of the whole, e.

    Returns
    -------
    The structure itself when it is neutral.
    """
    if total == 0:
        return atoms
    charges = np.array(atoms.calc.results.get("charges", np.zeros(len(atoms))))
    frame = atoms.copy()
    frame.set_initial_charges(charges + (total - charges.sum()) / len(atoms))
    return carry_results(frame, atoms.calc.results, atoms.calc.name, atoms.calc.parameters)


def carry_results(
    frame: Atoms,
    results: Mapping[str, Any],
    name: str,
    made_by: Mapping[str, Any],
    kind: type[SinglePointCalculator] = SinglePointCalculator,
) -> Atoms:
    """Give a structure a SinglePointCalculator with results, and what made them.

    Parameters
    ----------
    name : of the calculator.
    made_by : provenance, as its ``todict`` gives it.
    kind : class of the calculator.

    Returns
    -------
    The structure itself.
    """
    frame.calc = kind(frame, **{key: results[key] for key in all_properties if key in results})
    frame.calc.name = name
    frame.calc.parameters.update(made_by)
    return frame
