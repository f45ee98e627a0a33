"""D3 energy and first derivatives by compiled loops, and the choice of loops that suit a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.dispersion.damping import THREE_BODY_RADII
from molcalc.dispersion.energies import DispersionForm
from molcalc.dispersion.lattice import Translations, complete_pairs, derivative_by_cell, translations
from molcalc.dispersion.reference import AtomData
from molcalc.dispersion.three_body import site_pairs
from molcalc.kernels.runtime import share_range, slots_for
from molcalc.units import BOHR, HARTREE

STEP_WIDTH = 1e-200
"""Bohr, width of the switch that stands for none."""
OPERATIONS_PER_DISPERSION_PAIR = 100.0
"""Multiply-adds of one pair, to decide on threads."""
LISTED_COST = 4.0
"""Cost of a pair from a list, in pairs of the other loops."""
WIDE = 1.5
"""Extent of a structure over the cutoff, beyond which a list is made: a translation would bring few atoms near."""


def compiled_energies(
    batch: AtomicBatch, atoms: AtomData, form: DispersionForm, weights: Float64[Tensor, " n_atoms"] | None
) -> tuple[Float64[Tensor, " n_atoms"], Float64[Tensor, "n_atoms 3"], Float64[Tensor, "n_systems 3 3"]]:
    """Energies (n_atoms,), and derivatives of their sum by positions and cell; in eV and Å.

    Equal to :func:`molcalc.dispersion.energies.dispersion_energies`, but needs no pair list. ``weights``
    (n_atoms,) weight the energies in the sum; without them it is plain.

    Returns
    -------
    energies : (n_atoms,) eV.
    by_positions : (n_atoms, 3) eV/Å.
    by_cell : (n_systems, 3, 3) eV/Å.
    """
    upstream = np.ones(atoms.n_atoms) if weights is None else weights.detach().contiguous().numpy()
    loops = choose_loops(batch, max(form.cutoff, form.cn_cutoff) * BOHR)
    arrays, numbers = atoms.arrays, _numbers(form)
    counts, energies, by_cn = np.zeros((3, loops.n_slots, atoms.n_atoms))
    by_xyz, extra = np.zeros((loops.n_slots, 3, atoms.n_atoms)), np.zeros((loops.n_slots, batch.n_systems, 3, 3))
    gradients = (by_xyz,) if loops.kind == "molecules" else (by_xyz, extra)
    loops.run(loops.count, arrays.covalent_radii, numbers, counts)
    interpolated = _interpolate(_total(counts), atoms)
    loops.run(loops.add_pairs, arrays.roots, *interpolated, numbers, upstream, energies, by_cn, *gradients)
    triples = None
    if form.s9 != 0.0:
        triples = _triples(batch, atoms, form, interpolated, upstream, energies[0], by_cn[0])
    loops.run(loops.add_count_gradient, arrays.covalent_radii, _total(by_cn), numbers, *gradients)
    gradient = _total(by_xyz)
    cell_gradient = by_cell(loops, _total(extra), gradient, batch)
    if triples is not None:
        gradient, cell_gradient = gradient + triples[0], cell_gradient + triples[1]
    return (
        torch.from_numpy(_total(energies) * HARTREE),
        torch.from_numpy(np.ascontiguousarray(gradient.T) * (HARTREE / BOHR)),
        torch.from_numpy(cell_gradient * (HARTREE / BOHR)),
    )


def _interpolate(coordination_number: np.ndarray, atoms: AtomData) -> tuple[np.ndarray, ...]:
    """Weights and derivatives (2, n, K), norms (empty unless legacy), species, projected C6 (2, S·K, n)."""
    from molcalc.kernels import dispersion_molecules as kernels

    n, arrays = atoms.n_atoms, atoms.arrays
    weights, norms = np.empty((2, n, atoms.n_slots)), np.empty(n)
    projected = np.empty((2, arrays.c6.shape[0], n))
    tables = (arrays.cn_max, arrays.reference_cn, arrays.slot_mask, arrays.species, arrays.c6)
    kernels.interpolate(0, n, coordination_number, *tables, weights, norms, projected)
    return weights, norms if atoms.legacy else norms[:0], arrays.species, projected


def _triples(
    batch: AtomicBatch, atoms: AtomData, form: DispersionForm, interpolated: tuple[np.ndarray, ...],
    upstream: np.ndarray, energies: np.ndarray, by_cn: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Add the three-body term to energies and derivatives by CN; return those by xyz and by cell at fixed CN."""
    from molcalc.kernels import dispersion_three_body as kernels

    assert atoms.arrays.vdw_radii is not None
    weights, _, species, projected = interpolated
    width = form.switch_width or STEP_WIDTH
    cutoff = form.atm_cutoff if form.switch_width else math.nextafter(form.atm_cutoff, math.inf)
    system_idx, bounds = structure_bounds(batch)
    batch = complete_pairs(batch, form.atm_cutoff * BOHR)
    pairs = site_pairs(batch.pair_index, batch.pair_shifts, batch.pair_vectors().detach() / BOHR, form.atm_cutoff)
    ends, vectors = pairs.ends.numpy(), np.ascontiguousarray(pairs.vectors.numpy().T)
    groups = np.searchsorted(ends[0], np.arange(atoms.n_atoms + 1))
    vdw = (THREE_BODY_RADII * atoms.arrays.vdw_radii) ** (16.0 / 3.0)
    squared, factors = np.square(vectors).sum(0), np.empty_like(vectors)
    kernels.pair_factors(squared, vdw[species[ends[0]], species[ends[1]]], cutoff, width, factors)
    roots = np.empty((atoms.n_atoms, int((bounds[1:] - bounds[:-1]).max(initial=0))))
    kernels.c6_roots(0, atoms.n_atoms, bounds, system_idx, weights, species, projected, roots)
    work = OPERATIONS_PER_DISPERSION_PAIR * float(np.square(np.diff(groups), dtype=np.float64).sum())
    n_slots = slots_for(work)
    shared, by_log_c9 = np.zeros((n_slots, atoms.n_atoms)), np.zeros((n_slots, *roots.shape))
    by_vectors = np.zeros_like(vectors)
    share_range(
        kernels.triples, n_slots, work, groups, ends[1], vectors, squared, factors, vdw, species,
        bounds[system_idx], roots, (form.s9, cutoff, width), upstream, shared, by_log_c9, by_vectors,
    )  # fmt: skip
    energies += _total(shared)
    kernels.add_by_cn(bounds, system_idx, weights, species, projected, _total(by_log_c9), by_cn)
    difference = [np.bincount(ends[1], f, atoms.n_atoms) - np.bincount(ends[0], f, atoms.n_atoms) for f in by_vectors]
    shifts = batch.pair_shifts.numpy()[pairs.source.numpy()] * pairs.sign.numpy()[:, None]
    by_cell = np.zeros((batch.n_systems, 3, 3))
    np.add.at(by_cell, system_idx[ends[0]], shifts[:, :, None] * by_vectors.T[:, None, :])
    return np.stack(difference), by_cell


def _numbers(form: DispersionForm) -> tuple[float, ...]:
    """The form as kernels read it, its switch never of width 0; a step includes the cutoff itself."""
    if form.switch_width > 0.0:
        return tuple(form[:7])
    cutoffs = (math.nextafter(form.cutoff, math.inf), math.nextafter(form.cn_cutoff, math.inf))
    return *form[:4], *cutoffs, STEP_WIDTH


def _total(slots: np.ndarray) -> np.ndarray:
    """Sum over the leading axis, without a copy when it has one entry."""
    total: np.ndarray = slots[0] if len(slots) == 1 else slots.sum(axis=0)
    return total


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
