"""Checks of what ASE expects from results, parameters and copies of a calculator."""

from __future__ import annotations

import copy
import os
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase.db
import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.io import jsonio

from molcalc.properties import PROPERTIES
from molcalc.testing.check_report import CheckFailedError, CheckSkippedError
from molcalc.testing.subject import Subject, describe_error

SCALARS = ("energy", "free_energy", "magmom")
ARRAY_SHAPES: dict[str, tuple[int | str, ...]] = {
    **{
        p.ase_name: ("n_atoms", *p.shape) if p.kind == "atom" else (6,) if p.rank == 2 else p.shape
        for p in PROPERTIES.values()
        if p.ase_name not in (None, *SCALARS)
    },
    "stresses": ("n_atoms", 6),
    "dielectric_tensor": (3, 3),
    "born_effective_charges": ("n_atoms", 3, 3),
    "polarization": (3,),
}
PERIODIC_PROPERTIES = ("stress", "stresses", "polarization", "dielectric_tensor", "born_effective_charges")
# An energy extrapolated to zero electronic temperature is this close to the free energy, eV per atom.
LARGEST_ENTROPY = 0.5


def ase_properties(subject: Subject, *, periodic: bool = False) -> list[str]:
    """Return the implemented properties that ASE knows and that exist for such a structure."""
    known = [name for name in subject.implemented if name in all_properties]
    return [name for name in known if periodic or name not in PERIODIC_PROPERTIES]


def collect(subject: Subject) -> list[tuple[str, Any, Atoms]]:
    """Return name, value and structure of all properties of the molecule, then of the crystal.

    A property that is refused has the exception as its value.

    Returns
    -------
    name, value and structure of every property that could be computed
    """
    calc, atoms = subject.new(), subject.atoms
    names = ase_properties(subject, periodic=bool(atoms.pbc.all()))
    found = [(name, _ask(calc, name, atoms), atoms) for name in names]
    left = [name for name in ase_properties(subject, periodic=True) if name not in names]
    if left:
        try:
            crystal = subject.crystal
        except CheckSkippedError as reason:
            found += [(name, reason, atoms) for name in left]
        else:
            found += [(name, _ask(calc, name, crystal), crystal) for name in left]
    return found


def _ask(calc: Any, name: str, atoms: Atoms) -> Any:
    try:
        return calc.get_property(name, atoms)
    except Exception as error:  # the refusal is the answer; properties_delivered reports it
        return error


def property_names(subject: Subject) -> None:
    """``implemented_properties`` and ``results`` hold only names that ASE knows."""
    unknown = sorted(set(subject.implemented) - set(all_properties))
    if unknown:
        raise CheckFailedError(
            f"implemented_properties lists {', '.join(unknown)}, which ASE does not know "
            f"(it knows {', '.join(all_properties)})"
        )
    calc = subject.new()
    subject.evaluate(calc, subject.atoms)
    unknown = sorted(set(calc.results) - set(all_properties))
    if unknown:
        raise CheckFailedError(f"results holds {', '.join(unknown)}, which ASE does not know: keep it elsewhere")


def properties_delivered(subject: Subject) -> None:
    """Every implemented property is there when asked for, and finite."""
    problems = []
    for name, value, _ in collect(subject):
        if isinstance(value, CheckSkippedError):
            problems.append(f"{name} can never be had: {value}")
        elif isinstance(value, Exception):
            problems.append(f"{name} raises {describe_error(value)}")
        elif value is None or not np.all(np.isfinite(value)):
            problems.append(f"{name} is {'None' if value is None else 'not finite'}")
    if problems:
        raise CheckFailedError("implemented_properties promises what is not delivered: " + "; ".join(problems))


def scalar_types(subject: Subject) -> None:
    """Energies are Python floats: no arrays of size one, no float32, no tensors."""
    problems = [
        f"{name} is a {_type_name(value)}, not a float"
        for name, value, _ in collect(subject)
        if name in SCALARS and not isinstance(value, (float, Exception))
    ]
    if problems:
        raise CheckFailedError("; ".join(problems))


def array_types(subject: Subject) -> None:
    """Arrays are numpy float64 arrays of the shape that ASE documents."""
    problems = []
    for name, value, atoms in collect(subject):
        if name in SCALARS or isinstance(value, Exception):
            continue
        if not isinstance(value, np.ndarray) or value.dtype != np.float64:
            problems.append(f"{name} is a {_type_name(value)}, not an array of float64")
        shape = tuple(len(atoms) if size == "n_atoms" else size for size in ARRAY_SHAPES[name])
        if np.shape(value) != shape:
            problems.append(f"{name} of {len(atoms)} atoms has the shape {np.shape(value)}, not {shape}")
    if problems:
        raise CheckFailedError("; ".join(problems))


def _type_name(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"numpy array of {value.dtype}"
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def free_energy(subject: Subject) -> None:
    """The free energy exists (optimizers, MD and finite differences ask for it) and is plausible."""
    if "free_energy" not in subject.implemented:
        raise CheckFailedError(
            "free_energy is missing: get_potential_energy(force_consistent=True) raises; "
            "without electronic temperature it is the energy"
        )
    calc, atoms = subject.new(), subject.atoms
    difference = float(calc.get_property("free_energy", atoms)) - float(calc.get_property("energy", atoms))
    if not abs(difference) <= LARGEST_ENTROPY * len(atoms):
        raise CheckFailedError(f"free_energy and energy of one structure differ by {difference:.3g} eV")


def one_pass(subject: Subject) -> None:
    """Energy, forces and the other properties of one structure come from one calculation.

    ASE asks for energy and forces one after the other: a calculator that computes only what is asked for
    does the work twice in every step.
    """
    for atoms in subject.structures:
        calc = subject.new()
        requests = count_calculations(calc)
        order = ["energy", "forces", *ase_properties(subject, periodic=bool(atoms.pbc.all()))]
        for name in [name for name in dict.fromkeys(order) if name in subject.implemented]:
            before = len(requests)
            if isinstance(_ask(calc, name, atoms), Exception):
                # What is not delivered is reported by another check.
                del requests[before:]
        if not requests:
            raise CheckSkippedError("calculate() is never called")
        if len(requests) > 1:
            asked = "; then ".join(", ".join(names) for names in requests)
            raise CheckFailedError(
                f"one structure takes {len(requests)} calculations ({asked}): fill every property that costs "
                "little in the first"
            )


def count_calculations(calc: Any) -> list[list[str]]:
    """Return a list that grows by the requested properties at every call of ``calc.calculate``."""
    requests: list[list[str]] = []
    original = calc.calculate

    def counting(*args: Any, **kwargs: Any) -> Any:
        names = kwargs.get("properties", args[1] if len(args) > 1 else None)
        requests.append(list(names or ["unspecified"]))
        return original(*args, **kwargs)

    calc.calculate = counting
    return requests


def todict(subject: Subject) -> None:
    """``todict()`` survives JSON and says nothing about this computer."""
    calc = subject.new()
    subject.evaluate(calc, subject.atoms)
    parameters = calc.todict()
    if not isinstance(parameters, dict):
        raise CheckFailedError(f"todict() returns a {_type_name(parameters)}, not a dict")
    problems = list(_foreign_values(parameters, "todict()"))
    if problems:
        raise CheckFailedError("; ".join(problems))
    jsonio.decode(jsonio.encode(parameters))


def _foreign_values(value: Any, where: str) -> Iterator[str]:
    """Yield a sentence for everything but strings, numbers, bools, None and arrays of them."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from _foreign_values(entry, f"{where}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for index, entry in enumerate(value):
            yield from _foreign_values(entry, f"{where}[{index}]")
    elif isinstance(value, str):
        if os.path.isabs(value) or value.startswith("~") or (os.sep in value and os.path.exists(value)):
            yield f"{where} is the path {value!r}, which means nothing elsewhere"
    elif isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufcU":
            yield f"{where} is a {_type_name(value)}"
    elif value is not None and not isinstance(value, (bool, int, float, complex, np.generic)):
        yield f"{where} is a {_type_name(value)}"


def database(subject: Subject) -> None:
    """A structure written to an ASE database is read back with the same energy and forces."""
    atoms = subject.atoms
    atoms.calc = subject.new()
    wanted = subject.evaluate(atoms.calc, atoms)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "check.db")
        with ase.db.connect(file) as connection:
            connection.write(atoms)
        row = ase.db.connect(file).get(id=1)
        if row.get("energy") != wanted.energy:
            raise CheckFailedError(f"a database gives the energy {row.get('energy')} instead of {wanted.energy}")
        if wanted.forces is None:
            return
        found = row.get("forces")
        if found is None or found.shape != wanted.forces.shape or not np.array_equal(found, wanted.forces):
            shape = None if found is None else found.shape
            raise CheckFailedError(
                f"forces of the type {wanted.forces.dtype} and shape {wanted.forces.shape} come back from a "
                f"database with the shape {shape} or other values"
            )


def deepcopy(subject: Subject) -> None:
    """A deep copy, made before or after a calculation, works and is independent of the original."""
    _check_copies(subject, copy.deepcopy, "a deep copy")


def pickling(subject: Subject) -> None:
    """A calculator survives pickling, as multiprocessing needs it, before and after a calculation."""
    # S301: the bytes are made two lines above, not read from anywhere.
    _check_copies(subject, lambda calc: pickle.loads(pickle.dumps(calc)), "an unpickled copy")  # noqa: S301


def _check_copies(subject: Subject, duplicate: Any, what: str) -> None:
    unused = duplicate(subject.new())
    subject.require_same(subject.evaluate(unused, subject.atoms), subject.standard, f"in {what}")
    original = subject.new()
    subject.evaluate(original, subject.atoms)
    used = duplicate(original)
    other = subject.other
    subject.require_same(subject.evaluate(used, other), subject.reference(other), f"in {what} after use")
    again = subject.evaluate(original, subject.atoms)
    subject.require_same(again, subject.standard, f"in the original, after {what} was used,")
