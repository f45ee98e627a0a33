"""Compiled loops that suit a batch, and the arrays they run over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from molcalc.batch import AtomicBatch
from molcalc.dispersion.lattice import Translations, complete_pairs, derivative_by_cell, translations
from molcalc.kernels.runtime import share_range, slots_for
from molcalc.units import BOHR

OPERATIONS_PER_DISPERSION_PAIR = 100.0
"""Multiply-adds of one pair, to decide on threads."""
LISTED_COST = 4.0
"""Cost of a pair from a list, in pairs of the other loops."""
WIDE = 1.5
"""Extent of a structure over the cutoff, beyond which a list is made: a translation would bring few atoms near."""


@dataclass(frozen=True)
class Loops:
    """Three kernels over the pairs of a batch, by one of three ways to find them.

    *molecules*: all pairs. *lattice*: all pairs, and all translations within reach. *listed*: the pair list of
    the batch, for large structures with short cutoffs.
    """

    kind: str
    structure: tuple[np.ndarray, ...]
    work: float
    n_slots: int
    count: Callable[..., None]
    add_pairs: Callable[..., None]
    add_count_gradient: Callable[..., None]

    def run(self, kernel: Callable[..., None], *args: Any) -> None:
        """Run a kernel on all slots."""
        share_range(kernel, self.n_slots, self.work, *self.structure, *args)


def choose_loops(batch: AtomicBatch, cutoff: float) -> Loops:
    """Choose loops for pairs within ``cutoff`` (Å)."""
    system_idx, bounds = structure_bounds(batch)
    sizes = bounds[1:] - bounds[:-1]
    has_list = batch.pair_cutoff >= cutoff
    list_work = LISTED_COST * batch.pair_index.shape[1]
    if not batch.periodic:
        n_pairs = int(sizes @ (sizes - 1)) // 2
        return _listed(batch) if has_list and list_work < n_pairs else _molecules(batch, bounds, n_pairs)
    parts = _translations(batch, bounds, cutoff)
    starts = np.cumsum([0] + [part.vectors.shape[1] for part in parts])
    n_pairs = int((sizes * (sizes + 1) // 2) @ np.diff(starts))
    if has_list and list_work < n_pairs:
        return _listed(batch)
    if not has_list and max(part.extent for part in parts) * BOHR > WIDE * cutoff:
        return _listed(complete_pairs(batch, cutoff))
    wrapped = np.ascontiguousarray(np.concatenate([part.wrapped for part in parts]).T)
    vectors = np.concatenate([part.vectors for part in parts], axis=1)
    return _lattice((wrapped, bounds[system_idx + 1], system_idx, starts, vectors), n_pairs)


def by_cell(loops: Loops, extra: np.ndarray, by_xyz: np.ndarray, batch: AtomicBatch) -> np.ndarray:
    """(n_systems, 3, 3) derivatives by cell from what the kernels gather beside the gradient (3, n_atoms)."""
    if loops.kind != "lattice":
        return extra
    _, bounds = structure_bounds(batch)
    positions, cell = batch.positions.detach().numpy() / BOHR, batch.cell.detach().numpy() / BOHR
    result = np.zeros_like(extra)
    for s, pbc in enumerate(batch.pbc.numpy()):
        atoms = slice(bounds[s], bounds[s + 1])
        result[s] = derivative_by_cell(extra[s], by_xyz.T[atoms], positions[atoms], cell[s], pbc)
    return result


def structure_bounds(batch: AtomicBatch) -> tuple[np.ndarray, np.ndarray]:
    """Structure of each atom, and the first atom of each structure and of none (n_systems + 1,)."""
    system_idx: np.ndarray = batch.system_idx.numpy()
    return system_idx, np.searchsorted(system_idx, np.arange(batch.n_systems + 1))


def _coordinates(batch: AtomicBatch) -> np.ndarray:
    """(3, n_atoms) Bohr."""
    return np.ascontiguousarray(batch.positions.detach().numpy().T) * (1.0 / BOHR)


def _molecules(batch: AtomicBatch, bounds: np.ndarray, n_pairs: int) -> Loops:
    from molcalc.kernels import dispersion_molecules as k

    structure = (_coordinates(batch), bounds[batch.system_idx.numpy() + 1])
    work = OPERATIONS_PER_DISPERSION_PAIR * n_pairs
    steps = (k.molecule_counts, k.molecule_pairs, k.molecule_count_gradient)
    return Loops("molecules", structure, work, slots_for(work), *steps)


def _listed(batch: AtomicBatch) -> Loops:
    from molcalc.kernels import dispersion_listed as k

    cell = np.ascontiguousarray(batch.cell.detach().numpy()) * (1.0 / BOHR)
    lists = batch.pair_index.contiguous().numpy(), batch.pair_shifts.contiguous().numpy()
    structure = (_coordinates(batch), cell, batch.system_idx.numpy(), *lists)
    work = LISTED_COST * OPERATIONS_PER_DISPERSION_PAIR * batch.pair_index.shape[1]
    steps = (k.listed_counts, k.listed_pairs, k.listed_count_gradient)
    return Loops("listed", structure, work, slots_for(work), *steps)


def _lattice(structure: tuple[np.ndarray, ...], n_pairs: int) -> Loops:
    from molcalc.kernels import dispersion_lattice as k

    work = OPERATIONS_PER_DISPERSION_PAIR * n_pairs
    steps = (k.lattice_counts, k.lattice_pairs, k.lattice_count_gradient)
    return Loops("lattice", structure, work, slots_for(work), *steps)


def _translations(batch: AtomicBatch, bounds: np.ndarray, cutoff: float) -> list[Translations]:
    """Of each structure, in Bohr; ``cutoff`` in Å."""
    positions, cell, pbc = (
        batch.positions.detach().numpy() / BOHR,
        batch.cell.detach().numpy() / BOHR,
        batch.pbc.numpy(),
    )
    structures = (slice(first, last) for first, last in zip(bounds[:-1], bounds[1:]))
    return [translations(cell[s], pbc[s], positions[atoms], cutoff / BOHR) for s, atoms in enumerate(structures)]
