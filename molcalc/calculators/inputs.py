"""Checks of a structure before any network sees it, and who decides charge and multiplicity."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii

from molcalc.errors import (
    AtomsTooCloseError,
    CellError,
    ChargeError,
    InputError,
    SpinError,
    UnsupportedElementError,
)

SPIN_KEYS = ("spin", "multiplicity", "spin_multiplicity", "mult")
CLOSEST_FRACTION = 0.25
"""Share of the sum of covalent radii below which two atoms are taken for a mistake."""
MIN_VOLUME = 0.1
"""Å³ per atom."""
MAX_CONDITION = 1e6


@dataclass(frozen=True)
class State:
    """Charge, multiplicity and fidelity of one structure, resolved."""

    charge: int
    multiplicity: int
    fidelity: int = 0


def check_structure(atoms: Atoms, elements: Iterable[int], model: str, periodic: bool) -> None:
    """Refuse structures a model cannot describe.

    Parameters
    ----------
    elements : atomic numbers the model was trained on.
    periodic : whether the model supports periodic structures.

    Raises
    ------
    InputError, UnsupportedElementError, CellError
    """
    if len(atoms) == 0:
        raise InputError("the structure has no atoms")
    finite = np.isfinite(atoms.positions).all(axis=1)
    if not finite.all():
        atom = int(np.flatnonzero(~finite)[0])
        raise InputError(f"positions are not finite: atom {atom} is at {atoms.positions[atom].tolist()}")
    _check_elements(atoms.numbers, tuple(elements), model)
    if atoms.pbc.any():
        _check_cell(atoms, model, periodic)


def _check_elements(atomic_numbers: np.ndarray, elements: tuple[int, ...], model: str) -> None:
    unknown = ~np.isin(atomic_numbers, elements)
    if not unknown.any():
        return
    z = int(atomic_numbers[unknown][0])
    where = np.flatnonzero(atomic_numbers == z).tolist()
    name = f"{chemical_symbols[z]} (Z={z})" if 0 < z < len(chemical_symbols) else f"Z={z}"
    supported = ", ".join(chemical_symbols[e] for e in elements)
    raise UnsupportedElementError(
        f"element {name} of atoms {where} is not covered by {model!r} (supported: {supported}); remove the atoms or "
        "train a model on this element"
    )


def _check_cell(atoms: Atoms, model: str, periodic: bool) -> None:
    cell, pbc = np.asarray(atoms.cell.array), np.asarray(atoms.pbc)
    if not np.isfinite(cell).all():
        raise CellError(f"cell is not finite: {cell.tolist()}")
    if not periodic:
        raise CellError(
            f"{model!r} as it is set up here is not defined for periodic structures, but pbc={pbc.tolist()}: choose "
            'coulomb="dsf" or coulomb="ewald" (PhysNet: coulomb="shifted"), or switch off with atoms.pbc = False'
        )
    if not cell.any():
        raise CellError(f"pbc={pbc.tolist()} with a zero cell: set the cell or switch off pbc")
    vectors = cell[pbc]
    rank = int(np.linalg.matrix_rank(vectors, tol=1e-8))
    if rank < len(vectors):
        raise CellError(f"pbc={pbc.tolist()} with a cell of cell rank {rank}: set the missing lattice vectors")
    if pbc.all():
        volume = abs(float(np.linalg.det(cell)))
        if volume < MIN_VOLUME * len(atoms) or np.linalg.cond(cell) > MAX_CONDITION:
            raise CellError(f"cell volume {volume:.3g} Å3, {volume / len(atoms):.3g} Å3/atom, is too small or too flat")


def check_distances(atomic_numbers: np.ndarray, vectors: np.ndarray, index: np.ndarray, minimum: float | None) -> None:
    """Refuse two atoms, or an atom and a periodic image, that are too close.

    Parameters
    ----------
    vectors : (n_edges, 3) Å.
    index : (2, n_edges).
    minimum : Å for all pairs; None takes a quarter of the sum of covalent radii.

    Raises
    ------
    AtomsTooCloseError
    """
    squared = np.einsum("ex,ex->e", vectors, vectors)
    if minimum is None:
        radii = CLOSEST_FRACTION * covalent_radii[atomic_numbers]
        limits = radii[index[0]] + radii[index[1]]
    else:
        limits = np.full(len(squared), minimum)
    close = np.flatnonzero((squared < limits * limits) | (squared == 0.0))
    if len(close):
        worst = close[np.argmin(squared[close])]
        i, j = int(index[0, worst]), int(index[1, worst])
        which = f"atom {i} and its own periodic image" if i == j else f"atoms {min(i, j)} and {max(i, j)}"
        raise AtomsTooCloseError(
            f"{which} are {np.sqrt(squared[worst]):.3f} Å apart (in the same image or a neighboring one); the minimum "
            f"for this pair is {limits[worst]:.3f} Å: check the structure, or lower min_distance"
        )


def resolve_charge(atoms: Atoms, argument: float | None) -> int:
    """Total charge: explicit argument > ``atoms.info["charge"]`` > sum of initial charges if non-zero > 0.

    Raises
    ------
    ChargeError
        For a value that is not a whole number or impossible, and for sources that contradict each other.
    """
    sources = {}
    if argument is not None:
        sources["charge argument of the calculator"] = _whole(argument, "charge", ChargeError)
    if atoms.info.get("charge") is not None:
        sources['atoms.info["charge"]'] = _whole(atoms.info["charge"], "charge", ChargeError)
    if atoms.has("initial_charges"):
        total = float(atoms.get_initial_charges().sum())
        if abs(total) > 1e-6 or not np.isfinite(total):
            sources["sum of initial charges"] = _whole(total, "charge", ChargeError)
    if len(set(sources.values())) > 1:
        listed = ", ".join(f"{name} = {value}" for name, value in sources.items())
        raise ChargeError(f"contradictory total charges ({listed}); the first takes precedence: remove the others")
    charge = next(iter(sources.values()), 0)
    limit = max(4, len(atoms))
    if abs(charge) > limit or charge > int(atoms.numbers.sum()):
        raise ChargeError(f"charge {charge} is impossible for {len(atoms)} atoms; |charge| ≤ {limit} is accepted")
    return charge


def resolve_multiplicity(atoms: Atoms, argument: int | None, charge: int) -> tuple[int, bool]:
    """Spin multiplicity 2S+1, and whether it was given: explicit argument > ``atoms.info`` > lowest possible.

    Raises
    ------
    SpinError
        For a value that is not a whole number ≥ 1, impossible for this number of electrons, or contradictory.
    """
    sources = {}
    if argument is not None:
        sources["multiplicity argument of the calculator"] = _whole(argument, "multiplicity", SpinError)
    for key in SPIN_KEYS:
        if atoms.info.get(key) is not None:
            sources[f'atoms.info["{key}"]'] = _whole(atoms.info[key], "multiplicity", SpinError)
    if len(set(sources.values())) > 1:
        listed = ", ".join(f"{name} = {value}" for name, value in sources.items())
        raise SpinError(f"contradictory multiplicities ({listed}); the first takes precedence: remove the others")
    electrons = int(atoms.numbers.sum()) - charge
    lowest = 1 + electrons % 2
    multiplicity = next(iter(sources.values()), lowest)
    if multiplicity < 1 or (electrons + multiplicity) % 2 == 0 or multiplicity > electrons + 1:
        raise SpinError(
            f"{electrons} electrons cannot have multiplicity {multiplicity} (2S+1); "
            f"allowed are {lowest}, {lowest + 2}, …"
        )
    return multiplicity, bool(sources)


def _whole(value: Any, name: str, error: type[InputError]) -> int:
    """An integer from a scalar; raises ``error`` for anything else."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, np.number)):
        shape = getattr(value, "shape", None)
        kind = f"{type(value).__name__} of shape {tuple(shape)}" if shape is not None else repr(value)
        raise error(f"{name} {kind} is not a number; expected an integer")
    number = float(value)
    if not np.isfinite(number) or abs(number - round(number)) > 1e-6:
        raise error(f"{name} {number:g} is not an integer: give a whole number")
    return round(number)
