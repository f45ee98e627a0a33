"""D3 energy and first derivatives from the compiled library of the package dftd3 (simple-dftd3)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.dispersion.energies import DispersionForm
from molcalc.dispersion.lattice import completed_cell, derivative_by_cell
from molcalc.units import BOHR, HARTREE


def library_energies(
    batch: AtomicBatch, form: DispersionForm, weights: Float64[Tensor, " n_atoms"] | None
) -> tuple[Float64[Tensor, " n_atoms"], Float64[Tensor, "n_atoms 3"], Float64[Tensor, "n_systems 3 3"]]:
    """Energies (n_atoms,), and derivatives of their sum by positions and cell; in eV and Å.

    The library is called for one structure after another. It knows no ``weights`` in the sum but ones, and cuts
    coordination numbers off without a switch: ``form.switch_width`` must be 0.

    Returns
    -------
    energies : (n_atoms,) eV.
    by_positions : (n_atoms, 3) eV/Å.
    by_cell : (n_systems, 3, 3) eV/Å.
    """
    assert weights is None
    positions, cell = batch.positions.detach().numpy() / BOHR, batch.cell.detach().numpy() / BOHR
    pbc, numbers = batch.pbc.numpy(), batch.numbers.numpy()
    energies, by_positions, by_cell = np.zeros(len(numbers)), np.zeros_like(positions), np.zeros_like(cell)
    bounds = np.searchsorted(batch.system_idx.numpy(), np.arange(batch.n_systems + 1))
    for s, (first, last) in enumerate(zip(bounds[:-1], bounds[1:])):
        atoms = slice(first, last)
        energies[atoms], by_positions[atoms], by_cell[s] = _one_structure(
            numbers[atoms], positions[atoms], cell[s], pbc[s], form
        )
    gradient_unit = HARTREE / BOHR
    return (
        torch.from_numpy(energies * HARTREE),
        torch.from_numpy(by_positions * gradient_unit),
        torch.from_numpy(by_cell * gradient_unit),
    )


def _one_structure(
    numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, form: DispersionForm
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Results for one structure in atomic units."""
    from dftd3.interface import DispersionModel, RationalDampingParam

    lattice, periodic, inside = None, None, positions
    if pbc.any():
        lattice = completed_cell(cell, pbc, positions, vacuum=max(form.cutoff, form.cn_cutoff, form.atm_cutoff))
        # In version 1.7, rows without periodicity change the result unless they are orthogonal to the others;
        # and it sums over the images of a chain on one side only: one is given as a crystal of far chains.
        periodic = pbc if pbc.sum() > 1 else np.ones_like(pbc)
        # It also wraps atoms into the cell where there is no periodicity, which would cut a slab in two.
        fractions = positions @ np.linalg.inv(lattice)
        middle = 0.5 * (fractions.min(axis=0) + fractions.max(axis=0))
        inside = positions + np.where(pbc, 0.0, 0.5 - middle) @ lattice
    model = DispersionModel(numbers, inside, lattice, periodic)
    model.set_realspace_cutoff(form.cutoff, form.atm_cutoff or form.cutoff, form.cn_cutoff)
    damping = RationalDampingParam(s6=form.s6, s8=form.s8, s9=form.s9, a1=form.a1, a2=form.a2)
    results = model.get_dispersion(damping, grad=True)
    by_pair = model.get_pairwise_dispersion(damping)
    energies = sum(part.sum(1) for part in by_pair.values())
    gradient = results["gradient"]
    return energies, gradient, derivative_by_cell(results["virial"], gradient, positions, cell, pbc)
