"""Batches of structures: checks before any network sees one, and the neighbors that a potential needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from torch import Tensor

from molcalc.batch import AtomicBatch, build_batch
from molcalc.cells import cell_fault, reduced_cell
from molcalc.devices import device_memory
from molcalc.errors import (
    AtomsTooCloseError,
    CellError,
    InputError,
    UnsupportedElementError,
    memory_named,
    short,
)
from molcalc.io.budget import limited_addresses
from molcalc.neighbors import VerletList, all_pairs, neighbor_list, pair_list
from molcalc.potential import Potential
from molcalc.prediction.extrapolation import Extrapolation
from molcalc.state import State
from molcalc.units import hill_formula

CLOSEST_FRACTION = 0.25
"""Share of the sum of covalent radii below which two atoms are taken for a mistake."""

MANY_ATOMS = 5000
"""Atoms from which on it is asked how much memory is free: they take 0.5 GB and more."""
LISTED_ATOMS = 1000
"""Atoms of a molecule up to which all its pairs are listed."""


@contextmanager
def memory_of(numbers: np.ndarray | Tensor, n_systems: int = 1) -> Iterator[None]:
    """Keeps watch over memory: what is evaluated is named where it does not fit, before the system ends the process.

    Parameters
    ----------
    numbers : atomic numbers of all structures together.

    Raises
    ------
    ResourceError
        When the block takes more than there is.
    """

    def words() -> str:
        atoms = list(map(int, numbers))
        what = hill_formula(atoms) if n_systems == 1 else f"a batch of {n_systems} structures"
        return f"{what} with {len(atoms)} atoms"

    memory = device_memory(torch.device("cpu")) if len(numbers) >= MANY_ATOMS else None
    limited = nullcontext() if memory is None else limited_addresses(int(memory[0]))
    with memory_named(words, "use a machine with more, or a smaller structure"), limited:
        yield


def check_images(images: Iterable[Atoms]) -> list[Atoms]:
    """The structures of a call that takes many, each of them looked at.

    Returns
    -------
    list of Atoms

    Raises
    ------
    InputError
        For one structure in place of a list, and for an entry that is none; says which one.
    """
    if isinstance(images, Atoms):
        raise InputError("one structure was given where a list is expected: evaluate([atoms])")
    if isinstance(images, str) or not isinstance(images, Iterable):
        raise InputError(f"{short(images)} is a {type(images).__name__}; expected a list of ase.Atoms")
    found = list(images)
    for k, atoms in enumerate(found):
        if not isinstance(atoms, Atoms):
            raise InputError(f"structure {k} is {short(atoms)}, a {type(atoms).__name__}; expected ase.Atoms")
    return found


def check_positions(atoms: Atoms) -> None:
    """Refuse positions that are not finite.

    Raises
    ------
    InputError
        Names the first such atom.
    """
    finite = np.isfinite(atoms.positions).all(axis=1)
    if not finite.all():
        atom = int(np.flatnonzero(~finite)[0])
        raise InputError(f"positions are not finite: atom {atom} is at {atoms.positions[atom].tolist()}")


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
    check_positions(atoms)
    if atoms.has("initial_magmoms"):
        moments = atoms.get_initial_magnetic_moments()
        finite = np.isfinite(moments).reshape(len(atoms), -1).all(axis=1)
        if not finite.all():
            atom = int(np.flatnonzero(~finite)[0])
            raise InputError(
                f"initial magnetic moments are not finite: that of atom {atom} is {moments[atom].tolist()}; "
                "atoms.set_initial_magnetic_moments(None) takes them away"
            )
    _check_elements(atoms.numbers, tuple(elements), model)
    if atoms.pbc.any():
        _check_cell(atoms, model, periodic)


def _check_elements(atomic_numbers: np.ndarray, elements: tuple[int, ...], model: str) -> None:
    unknown = set(atomic_numbers.tolist()).difference(elements)  # on a few atoms a tenth of the time of np.isin
    if not unknown:
        return
    z = next(z for z in atomic_numbers.tolist() if z in unknown)
    where = np.flatnonzero(atomic_numbers == z).tolist()
    if z == 0:
        raise UnsupportedElementError(f"atoms {where} are dummy or ghost atoms (Z=0), of no element: remove them")
    name = f"{chemical_symbols[z]} (Z={z})" if 0 < z < len(chemical_symbols) else f"Z={z}"
    supported = ", ".join(chemical_symbols[e] for e in elements)
    raise UnsupportedElementError(
        f"element {name} of atoms {where} is not covered by {model!r} (supported: {supported}); remove the atoms or "
        "train a model on this element"
    )


def _check_cell(atoms: Atoms, model: str, periodic: bool) -> None:
    cell, pbc = np.asarray(atoms.cell.array), np.asarray(atoms.pbc)
    if not periodic:
        raise CellError(
            f"{model!r} as it is set up here is not defined for periodic structures, but pbc={pbc.tolist()}: choose "
            'coulomb="dsf" or coulomb="ewald" (PhysNet: coulomb="shifted"), or switch off with atoms.pbc = False'
        )
    wrong = cell_fault(cell, pbc, len(atoms))
    if wrong is not None:
        raise CellError(wrong)


def initial_charge(atoms: Atoms) -> float | None:
    """Sum of initial charges in e; None where there are none."""
    return float(atoms.get_initial_charges().sum()) if atoms.has("initial_charges") else None


def check_distances(
    atomic_numbers: np.ndarray, vectors: np.ndarray, index: np.ndarray, minimum: float | None
) -> np.ndarray:
    """Refuse two atoms, or an atom and a periodic image, that are too close.

    Parameters
    ----------
    vectors : (n_edges, 3) Å.
    index : (2, n_edges).
    minimum : Å for all pairs; None takes a quarter of the sum of covalent radii.

    Returns
    -------
    (n_edges,) squares of the distances, Å²

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
    return squared


def make_batch(
    atoms: Atoms,
    potential: Potential,
    state: State,
    min_distance: float | None,
    edges: VerletList | None = None,
    extrapolation: Extrapolation | None = None,
) -> AtomicBatch:
    """A batch of one structure.

    Parameters
    ----------
    min_distance : Å below which two atoms are an error; None takes a quarter of their covalent radii.
    edges : follows earlier steps of the structure, and saves finding the neighbors again.
    extrapolation : judges distances by those of the training data.

    Returns
    -------
    AtomicBatch
        With pairs as far as the terms of the potential need them: all of a molecule, those in range of a crystal or
        large molecule; none where that were all of a large one, and terms list what they cannot do without. Its
        cell is the reduced one of the same lattice, and lattice translations are of that.

    Raises
    ------
    AtomsTooCloseError, ExtrapolationError
    """
    positions = np.array(atoms.positions, dtype=np.float64)
    pbc = np.array(atoms.pbc)
    cell = reduced_cell(atoms.cell.array, pbc).cell
    cutoff = potential.cutoff
    lists = edges.update(positions, cell, pbc) if edges else neighbor_list(positions, cell, pbc, cutoff)
    vectors = positions[lists[0][1]] - positions[lists[0][0]]
    if pbc.any():
        vectors += lists[1] @ cell
    squared = check_distances(atoms.numbers, vectors, lists[0], min_distance)
    pair_cutoff = potential.pair_cutoff
    large = len(atoms) > LISTED_ATOMS
    if pair_cutoff is None or (large and np.isinf(pair_cutoff)):
        pairs, pair_cutoff = (np.empty((2, 0), dtype=np.int64), np.empty((0, 3))), 0.0
    elif not pbc.any() and not large:
        index = all_pairs(len(atoms))
        pairs, pair_cutoff = (index, np.zeros((index.shape[1], 3))), np.inf
    else:
        pairs = pair_list(positions, cell, pbc, pair_cutoff)
    if extrapolation is not None:
        extrapolation.check_distances(atoms.numbers, squared, lists[0], state)
        extrapolation.check_fragments(atoms.numbers, lists[0], cutoff, state)
    return build_batch(
        numbers=np.array(atoms.numbers),
        positions=positions,
        cell=cell,
        pbc=pbc,
        edges=lists,
        cutoff=cutoff,
        pairs=pairs,
        pair_cutoff=pair_cutoff,
        total_charge=state.charge,
        multiplicity=state.multiplicity,
        fidelity=state.fidelity,
    )
