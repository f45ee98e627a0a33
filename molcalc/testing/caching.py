"""Checks that no result outlives the input it belongs to."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from molcalc.testing.check_report import CheckFailedError, CheckSkippedError
from molcalc.testing.structures import displaced
from molcalc.testing.subject import EnergyAndForces, Subject, describe_error

MOVE = 0.03
# Sums over atoms in another order on a GPU differ by about 1e-6; noise of the model is no excuse.
REPEATABILITY = 1e-5
UNKNOWN_ELEMENT = 118


def _require_fresh(subject: Subject, before: Atoms, after: Atoms, when: str, change: str) -> None:
    """Evaluate two structures with one calculator; the second result must be that of a new calculator."""
    calc = subject.new()
    first, wanted = subject.evaluate(calc, before), subject.reference(after)
    subject.require_visible(first, wanted, change)
    subject.require_same(subject.evaluate(calc, after), wanted, when)


def moved_atoms(subject: Subject) -> None:
    """After atoms are moved in place, energy and forces are those of the new positions."""
    calc, atoms = subject.new(), subject.atoms
    atoms.calc = calc
    subject.evaluate(calc, atoms)
    atoms.positions[:] = displaced(atoms, MOVE).positions
    subject.require_same(subject.evaluate(calc, atoms), subject.reference(atoms), "after atoms were moved")


def changed_numbers(subject: Subject) -> None:
    """After elements are exchanged at the same positions, the results are those of the new elements."""
    atoms, exchanged = subject.atoms, subject.atoms
    kinds = np.unique(atoms.numbers)
    if len(kinds) < 2:
        raise CheckSkippedError("the test structure has one element")
    heavy = [int(np.flatnonzero(atoms.numbers == kind)[0]) for kind in kinds[-2:]]
    exchanged.numbers[heavy] = atoms.numbers[heavy[::-1]]
    _require_fresh(subject, atoms, exchanged, "after elements were exchanged", "exchanging two elements")


def changed_cell(subject: Subject) -> None:
    """After the cell is changed at the same positions, the results are those of the new cell."""
    crystal, strained = subject.crystal, subject.crystal
    strained.set_cell(1.02 * strained.cell.array, scale_atoms=False)
    _require_fresh(subject, crystal, strained, "after the cell was changed", "a larger cell")


def changed_pbc(subject: Subject) -> None:
    """After periodicity is switched off, the results are those without images."""
    crystal, alone = subject.crystal, subject.crystal
    alone.pbc = False
    try:
        subject.reference(alone)
    except Exception as error:  # any refusal: crystals only
        raise CheckSkippedError(f"a structure that is not periodic is refused ({describe_error(error)})") from error
    _require_fresh(subject, crystal, alone, "after pbc was switched off", "switching off pbc")


def changed_charge(subject: Subject) -> None:
    """After ``atoms.info["charge"]`` is changed at the same positions, results are those of the new charge.

    ASE compares positions, numbers, cell and pbc with those of the last calculation, but not ``info``.
    """
    calc, charge = subject.new(), subject.charge
    atoms = subject.with_charge(subject.own_charge)
    atoms.calc = calc
    subject.evaluate(calc, atoms)
    atoms.info["charge"] = charge
    wanted = subject.reference(atoms)
    subject.require_same(subject.evaluate(calc, atoms), wanted, 'after atoms.info["charge"] was changed')


def charge_leak(subject: Subject) -> None:
    """A charge given for one structure is not used for the next one, which gives none."""
    calc = subject.new()
    subject.evaluate(calc, subject.with_charge(subject.charge))
    for atoms in (subject.with_charge(None), displaced(subject.with_charge(None), MOVE)):
        try:
            wanted = subject.reference(atoms)
        except Exception as error:  # a calculator may insist on a charge
            raise CheckSkippedError(f"a structure without a charge is refused ({describe_error(error)})") from error
        found = subject.evaluate(calc, atoms)
        subject.require_same(found, wanted, "for a structure without a charge, after a charged one,")


def info_arrays(subject: Subject) -> None:
    """Arrays in ``atoms.info`` do no harm: comparing whole ``info`` dictionaries would raise."""
    calc, atoms = subject.new(), subject.atoms
    for value in (0.0, 1.0):
        atoms.info["array_of_the_user"] = np.array([value, 2.0, np.nan])
        subject.require_same(subject.evaluate(calc, atoms), subject.standard, "with an array in atoms.info")


def alternating_structures(subject: Subject) -> None:
    """Structures of two sizes in turn give the same results as with a calculator each."""
    calc = subject.new()
    small, large = subject.atoms, subject.other
    wanted = {len(atoms): subject.reference(atoms) for atoms in (small, large)}
    for atoms in (small, large, small, large):
        atoms.calc = calc
        when = f"with structures of {len(small)} and {len(large)} atoms in turn"
        subject.require_same(subject.evaluate(calc, atoms), wanted[len(atoms)], when)


def shared_arrays(subject: Subject) -> None:
    """Arrays given out stay as they are: neither the next result nor the user's edits spoil them."""
    calc, atoms = subject.new(), subject.atoms
    subject.evaluate(calc, atoms)
    kept = dict(calc.results)
    values = {name: np.copy(value) for name, value in kept.items()}
    subject.evaluate(calc, displaced(atoms, MOVE))
    changed = [name for name, value in kept.items() if not np.array_equal(value, values[name], equal_nan=True)]
    if changed:
        raise CheckFailedError(
            f"the next calculation overwrites {', '.join(changed)} of the last: make new arrays for results"
        )
    if subject.has_forces:
        calc.get_forces(atoms)[:] = 0.0
        subject.require_same(subject.evaluate(calc, atoms), subject.standard, "after returned forces were edited")


def atoms_untouched(subject: Subject) -> None:
    """A calculation leaves the Atoms object as it was."""
    calc = subject.new()
    for atoms in subject.structures:
        # Outside the cell: a calculator may wrap its own copy only.
        atoms.positions += atoms.cell.array.sum(axis=0)
        before = atoms.copy()
        subject.evaluate(calc, atoms)
        if atoms != before or set(atoms.arrays) != set(before.arrays) or set(atoms.info) != set(before.info):
            raise CheckFailedError("a calculation changes the positions, cell, arrays or info of the atoms")


def nan_positions(subject: Subject) -> None:
    """Positions that are not numbers raise: FIRE and MD would run on with NaN forces."""
    used = subject.new()
    subject.evaluate(used, subject.atoms)
    # A used calculator may keep its old neighbor list, and with it a finite energy.
    for calc, state in ((subject.new(), "new"), (used, "used")):
        try:
            found = subject.evaluate(calc, _with_nan(subject))
        except Exception:  # which error is the calculator's choice
            continue
        raise CheckFailedError(
            f"positions with NaN give a {state} calculator the energy {found.energy:.6g} instead of an error"
        )


def _with_nan(subject: Subject) -> Atoms:
    atoms = subject.atoms
    atoms.positions[-1, 1] = np.nan
    return atoms


def after_error(subject: Subject) -> None:
    """After an error no results are left, and the next structure is computed correctly."""
    unknown = subject.atoms
    unknown.numbers[0] = UNKNOWN_ELEMENT
    n_errors = 0
    for bad in (_with_nan(subject), unknown):
        calc = subject.new()
        subject.evaluate(calc, displaced(subject.atoms, MOVE))
        try:
            subject.evaluate(calc, bad)
        except Exception as error:  # the error is wanted
            n_errors += 1
            if calc.results:
                raise CheckFailedError(
                    f"{', '.join(calc.results)} can still be had after {describe_error(error)}: assign results "
                    "once, at the end"
                ) from error
            subject.require_same(subject.evaluate(calc, subject.atoms), subject.standard, "after an error")
    if not n_errors:
        raise CheckSkippedError(f"neither NaN positions nor element {UNKNOWN_ELEMENT} raise an error")


def repeatable(subject: Subject) -> None:
    """The same structure gives the same numbers again."""
    calc = subject.new()
    results = []
    for _ in range(3):
        if hasattr(calc, "reset"):
            calc.reset()
        results.append(subject.evaluate(calc, subject.atoms))
    results.append(subject.reference(subject.atoms))
    spread = max(_difference(result, results[0]) for result in results)
    scale = max(1.0, subject.force_scale)
    if not spread <= REPEATABILITY * scale:
        raise CheckFailedError(f"repeated calculations of one structure differ by {spread:.2g} (eV or eV/Å)")


def _difference(a: EnergyAndForces, b: EnergyAndForces) -> float:
    difference = abs(a.energy - b.energy)
    if a.forces is None or b.forces is None:
        return difference
    return max(difference, float(np.abs(a.forces - b.forces).max()))
