"""D3 energy and first derivatives by compiled loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.dispersion.damping import THREE_BODY_RADII
from molcalc.dispersion.energies import DispersionForm
from molcalc.dispersion.reference import AtomData
from molcalc.dispersion.three_body import site_pairs
from molcalc.nn.compiled import SERIAL_WORK, share_range
from molcalc.units import BOHR, HARTREE

OPERATIONS_PER_PAIR = 100.0
"""Multiply-adds of one pair, to decide on threads."""
STEP_WIDTH = 1e-200
"""Bohr, width of the switch that stands for none."""
SPARSE = 4
"""A molecule with fewer than one in so many of its pairs in the list is summed over the list."""


def compiled_energies(
    batch: AtomicBatch, atoms: AtomData, form: DispersionForm, weights: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Energies (n_atoms,), and derivatives of their sum by positions and cell; in eV and Å.

    Equal to :func:`molcalc.dispersion.energies.dispersion_energies`. ``weights`` (n_atoms,) weight the
    energies in the sum; without them it is plain.
    """
    upstream = np.ones(atoms.n_atoms) if weights is None else weights.contiguous().numpy()
    loops, arrays, numbers = _Loops.over(batch), atoms.arrays, _numbers(form)
    counts, energies, by_cn = np.zeros((3, loops.n_slots, atoms.n_atoms))
    by_xyz = np.zeros((loops.n_slots, 3, atoms.n_atoms))
    by_cell = np.zeros((loops.n_slots, batch.n_systems, 3, 3))
    gradients = (by_xyz, by_cell) if loops.listed else (by_xyz,)
    loops.run(loops.count, arrays.covalent_radii, numbers, counts)
    interpolated = _interpolate(_total(counts), atoms)
    pair_arguments = (arrays.roots, *interpolated, numbers, upstream)
    loops.run(loops.add_pairs, *pair_arguments, energies, by_cn, *gradients)
    if form.s9 != 0.0:
        _add_triples(batch, atoms, form, interpolated, upstream, energies[0], by_cn[0], by_xyz[0], by_cell[0])
    loops.run(loops.add_count_gradient, arrays.covalent_radii, _total(by_cn), numbers, *gradients)
    return (
        torch.from_numpy(_total(energies) * HARTREE),
        torch.from_numpy(np.ascontiguousarray(_total(by_xyz).T) * (HARTREE / BOHR)),
        torch.from_numpy(_total(by_cell) * (HARTREE / BOHR)),
    )


@dataclass(frozen=True)
class _Loops:
    """The kernels that suit a batch, and what all of them need first."""

    listed: bool
    structure: tuple[np.ndarray, ...]
    work: float
    n_slots: int
    count: Callable[..., None]
    add_pairs: Callable[..., None]
    add_count_gradient: Callable[..., None]

    @classmethod
    def over(cls, batch: AtomicBatch) -> _Loops:
        """Choose between all pairs of molecules and the list of the batch."""
        from molcalc.dispersion import kernels, kernels_periodic

        xyz = np.ascontiguousarray(batch.positions.numpy().T) * (1.0 / BOHR)
        system_idx, bounds = _bounds(batch)
        sizes, n_pairs = bounds[1:] - bounds[:-1], batch.pair_index.shape[1]
        n_complete = int(sizes @ (sizes - 1)) // 2
        listed = batch.periodic or SPARSE * n_pairs < n_complete
        if listed:
            cell = np.ascontiguousarray(batch.cell.numpy()) * (1.0 / BOHR)
            lists = batch.pair_index.contiguous().numpy(), batch.pair_shifts.contiguous().numpy()
            structure: tuple[np.ndarray, ...] = (xyz, cell, system_idx, *lists)
            steps = (
                kernels_periodic.listed_counts,
                kernels_periodic.listed_pairs,
                kernels_periodic.listed_count_gradient,
            )
        else:
            structure = (xyz, bounds[system_idx + 1])
            steps = (kernels.molecule_counts, kernels.molecule_pairs, kernels.molecule_count_gradient)
        work = OPERATIONS_PER_PAIR * (n_pairs if listed else n_complete)
        n_slots = max(1, min(torch.get_num_threads(), int(work / SERIAL_WORK)))
        return cls(listed, structure, work, n_slots, *steps)

    def run(self, kernel: Callable[..., None], *args: Any) -> None:
        """Run a kernel on all slots."""
        share_range(kernel, self.n_slots, self.work, *self.structure, *args)


def _interpolate(coordination_number: np.ndarray, atoms: AtomData) -> tuple[np.ndarray, ...]:
    """Weights and derivatives (2, n, K), norms (empty unless legacy), species, projected C6 (2, S·K, n)."""
    from molcalc.dispersion import kernels

    n, arrays = atoms.n_atoms, atoms.arrays
    weights, norms = np.empty((2, n, atoms.n_slots)), np.empty(n)
    projected = np.empty((2, arrays.c6.shape[0], n))
    tables = (arrays.cn_max, arrays.reference_cn, arrays.slot_mask, arrays.species, arrays.c6)
    kernels.interpolate(0, n, coordination_number, *tables, weights, norms, projected)
    return weights, norms if atoms.legacy else norms[:0], arrays.species, projected


def _add_triples(
    batch: AtomicBatch, atoms: AtomData, form: DispersionForm, interpolated: tuple[np.ndarray, ...],
    upstream: np.ndarray, energies: np.ndarray, by_cn: np.ndarray, by_xyz: np.ndarray, by_cell: np.ndarray,
) -> None:  # fmt: skip
    """Add the three-body term to the results of :func:`compiled_energies`."""
    from molcalc.dispersion import kernels_three_body as kernels

    assert atoms.arrays.vdw_radii is not None
    weights, _, species, projected = interpolated
    width = form.switch_width or STEP_WIDTH
    cutoff = form.atm_cutoff if form.switch_width else math.nextafter(form.atm_cutoff, math.inf)
    system_idx, bounds = _bounds(batch)
    pairs = site_pairs(batch.pair_index, batch.pair_shifts, batch.pair_vectors() / BOHR, form.atm_cutoff)
    index, vectors = pairs.ends.numpy(), np.ascontiguousarray(pairs.vectors.numpy().T)
    groups = np.searchsorted(index[0], np.arange(atoms.n_atoms + 1))
    vdw = (THREE_BODY_RADII * atoms.arrays.vdw_radii) ** (16.0 / 3.0)
    squared, factors = np.square(vectors).sum(0), np.empty_like(vectors)
    kernels.pair_factors(squared, vdw[species[index[0]], species[index[1]]], cutoff, width, factors)
    roots = np.empty((atoms.n_atoms, int((bounds[1:] - bounds[:-1]).max(initial=0))))
    kernels.c6_roots(0, atoms.n_atoms, bounds, system_idx, weights, species, projected, roots)
    work = OPERATIONS_PER_PAIR * float(np.square(np.diff(groups), dtype=np.float64).sum())
    n_slots = max(1, min(torch.get_num_threads(), int(work / SERIAL_WORK)))
    shared, by_log_c9 = np.zeros((n_slots, atoms.n_atoms)), np.zeros((n_slots, *roots.shape))
    by_vectors = np.zeros_like(vectors)
    share_range(
        kernels.triples, n_slots, work, groups, index[1], vectors, squared, factors, vdw, species,
        bounds[system_idx], roots, (form.s9, cutoff, width), upstream, shared, by_log_c9, by_vectors,
    )  # fmt: skip
    energies += _total(shared)
    kernels.add_by_cn(bounds, system_idx, weights, species, projected, _total(by_log_c9), by_cn)
    for axis in range(3):
        by_xyz[axis] += np.bincount(index[1], by_vectors[axis], atoms.n_atoms)
        by_xyz[axis] -= np.bincount(index[0], by_vectors[axis], atoms.n_atoms)
    shifts = batch.pair_shifts.numpy()[pairs.source.numpy()] * pairs.sign.numpy()[:, None]
    np.add.at(by_cell, system_idx[index[0]], shifts[:, :, None] * by_vectors.T[:, None, :])


def _bounds(batch: AtomicBatch) -> tuple[np.ndarray, np.ndarray]:
    """Structure of each atom, and the first atom of each structure and of none (n_systems + 1,)."""
    system_idx: np.ndarray = batch.system_idx.numpy()
    return system_idx, np.searchsorted(system_idx, np.arange(batch.n_systems + 1))


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
