"""Constraints of ASE in runs of many structures: each acts on its own structure, and goes wrong there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ase import Atoms

from molcalc.errors import InputError, MolcalcError


def removed_freedom(atoms: Atoms) -> int:
    """Degrees of freedom that the constraints of a structure take away.

    Returns
    -------
    number of them

    Raises
    ------
    InputError
        For a constraint that does not say how many: the structure has no temperature then.
    """
    removed = 0
    for constraint in atoms.constraints:
        try:
            removed += int(constraint.get_removed_dof(atoms))
        except (NotImplementedError, AttributeError) as error:
            raise InputError(
                f"the constraint {type(constraint).__name__} does not say how many degrees of freedom it takes away, "
                "so that there is no temperature: use FixAtoms, FixCartesian, FixBondLengths or another one that does"
            ) from error
    return removed


@contextmanager
def constraints_named(atoms: Atoms) -> Iterator[None]:
    """Say what happened where a constraint cannot be kept.

    Raises
    ------
    InputError
    """
    try:
        yield
    except MolcalcError:
        raise
    except (RuntimeError, ValueError, ArithmeticError, IndexError) as error:
        if not atoms.constraints:
            raise
        names = ", ".join(sorted({type(constraint).__name__ for constraint in atoms.constraints}))
        raise InputError(f"the constraints ({names}) cannot be kept: {error}; take shorter steps, or others") from error
