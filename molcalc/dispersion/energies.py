"""D3 energy in torch operations: the reference for every faster way."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.dispersion.coordination import coordination_numbers, scatter_pairs
from molcalc.dispersion.damping import rational_damping, smooth_cutoff
from molcalc.dispersion.reference import (
    AtomData,
    InterpolatedC6,
    reference_weights,
)
from molcalc.dispersion.three_body import site_pairs, triple_energies
from molcalc.kernels.constants import LEGACY_MIN_NORM


class DispersionForm(NamedTuple):
    """Damping parameters, and ranges in Bohr, which may be infinite."""

    s6: float
    s8: float
    a1: float
    a2: float
    cutoff: float
    cn_cutoff: float
    switch_width: float
    s9: float = 0.0
    atm_cutoff: float = 0.0


def dispersion_energies(batch: AtomicBatch, atoms: AtomData, form: DispersionForm) -> Float[Tensor, " n_atoms"]:
    """Dispersion energy of each atom.

    Parameters
    ----------
    batch : positions and cell in Bohr.

    Returns
    -------
    (n_atoms,) Hartree.
    """
    vectors, pair_index = batch.pair_vectors(), batch.pair_index
    squared = (vectors * vectors).sum(1)
    distances = squared.sqrt()
    cn = coordination_numbers(pair_index, distances, atoms.covalent_radii, form.cn_cutoff, form.switch_width)
    if atoms.cn_max is not None:
        cn = torch.minimum(cn, atoms.cn_max)
    weights, log_norm = reference_weights(cn, atoms)
    c6 = InterpolatedC6(weights, atoms, dense=batch.n_systems == 1)
    pair_c6 = c6.between(pair_index[0], pair_index[1])
    if atoms.legacy:
        log_norms = log_norm.detach()[pair_index].sum(0)
        pair_c6 = torch.where(log_norms.exp() < LEGACY_MIN_NORM, 0.0, pair_c6)
    energies = pair_energies(pair_c6, squared, distances, pair_index, atoms, form)
    if form.s9 != 0.0:
        pairs = site_pairs(pair_index, batch.pair_shifts, vectors, form.atm_cutoff)
        energies = energies + triple_energies(pairs, c6, atoms, form.s9, form.atm_cutoff, form.switch_width)
    return energies


def pair_energies(
    c6: Float[Tensor, " n_pairs"],
    squared: Float[Tensor, " n_pairs"],
    distances: Float[Tensor, " n_pairs"],
    pair_index: Int[Tensor, "2 n_pairs"],
    atoms: AtomData,
    form: DispersionForm,
) -> Float[Tensor, " n_atoms"]:
    r"""Two-body energy of each atom, half of each pair.

    .. math:: E_{ij} = -C_{6,ij} f(r_{ij})

    Parameters
    ----------
    c6, squared, distances : (n_pairs,) Hartree·Bohr⁶, r² and r in Bohr.

    Returns
    -------
    (n_atoms,) Hartree.
    """
    roots = atoms.roots.index_select(0, pair_index[0]) * atoms.roots.index_select(0, pair_index[1])
    damped = rational_damping(squared, roots, s6=form.s6, s8=form.s8, a1=form.a1, a2=form.a2)
    damped = smooth_cutoff(damped, distances, form.cutoff, form.switch_width)
    return scatter_pairs(-0.5 * (c6 * damped), pair_index, atoms.n_atoms)
