"""D3 energy in torch operations: the reference for every faster way."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from molcalc.dispersion.coordination import coordination_numbers, scatter_pairs
from molcalc.dispersion.damping import rational_damping, smooth_cutoff
from molcalc.dispersion.reference import (
    LEGACY_MIN_NORM,
    AtomData,
    pair_c6,
    project_c6,
    reference_weights,
)
from molcalc.dispersion.three_body import site_pairs, triple_energies


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


def dispersion_energies(
    vectors: Tensor, pair_index: Tensor, pair_shifts: Tensor, atoms: AtomData, form: DispersionForm
) -> Tensor:
    """Dispersion energy of each atom.

    Parameters
    ----------
    vectors : (n_pairs, 3) float64, Bohr, each pair once.
    pair_index, pair_shifts : (2, n_pairs) and (n_pairs, 3), as in a batch.

    Returns
    -------
    (n_atoms,) Hartree.
    """
    distances = torch.linalg.vector_norm(vectors, dim=1)
    cn = coordination_numbers(pair_index, distances, atoms.covalent_radii, form.cn_cutoff, form.switch_width)
    if atoms.cn_max is not None:
        cn = torch.minimum(cn, atoms.cn_max)
    weights, log_norm = reference_weights(cn, atoms)
    projected = project_c6(weights, atoms)
    c6 = pair_c6(weights, projected, pair_index, atoms)
    if atoms.legacy:
        log_norms = log_norm.detach()[pair_index].sum(0)
        c6 = torch.where(log_norms.exp() < LEGACY_MIN_NORM, 0.0, c6)
    energies = pair_energies(c6, distances, pair_index, atoms, form)
    if form.s9 != 0.0:
        pairs = site_pairs(pair_index, pair_shifts, vectors, form.atm_cutoff)
        energies = energies + triple_energies(
            pairs, weights, projected, atoms, form.s9, form.atm_cutoff, form.switch_width
        )
    return energies


def pair_energies(c6: Tensor, distances: Tensor, pair_index: Tensor, atoms: AtomData, form: DispersionForm) -> Tensor:
    r"""Two-body energy of each atom, half of each pair.

    .. math:: E_{ij} = -C_{6,ij} f(r_{ij})

    Parameters
    ----------
    c6, distances : (n_pairs,) Hartree·Bohr⁶, Bohr.

    Returns
    -------
    (n_atoms,) Hartree.
    """
    i, j = pair_index[0], pair_index[1]
    c8_over_c6 = 3.0 * atoms.r4r2.index_select(0, i) * atoms.r4r2.index_select(0, j)
    damped = rational_damping(distances, c8_over_c6, s6=form.s6, s8=form.s8, a1=form.a1, a2=form.a2)
    energies = -c6 * smooth_cutoff(damped, distances, form.cutoff, form.switch_width)
    return scatter_pairs(0.5 * energies, pair_index, atoms.n_atoms)
