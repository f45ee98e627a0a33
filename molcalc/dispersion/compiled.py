"""D3 energy and first derivatives by compiled loops."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.dispersion.damping import THREE_BODY_RADII
from molcalc.dispersion.energies import DispersionForm
from molcalc.dispersion.lattice import complete_pairs
from molcalc.dispersion.loops import OPERATIONS_PER_DISPERSION_PAIR, by_cell, choose_loops, structure_bounds
from molcalc.dispersion.reference import AtomData
from molcalc.dispersion.three_body import site_pairs
from molcalc.kernels.runtime import share_range, slots_for
from molcalc.units import BOHR, HARTREE

STEP_WIDTH = 1e-200
"""Bohr, width of the switch that stands for none."""


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
