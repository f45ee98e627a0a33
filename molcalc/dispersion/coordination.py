"""Fractional coordination numbers of D3."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from molcalc.dispersion.damping import smooth_cutoff
from molcalc.kernels.constants import COUNT_STEEPNESS


def coordination_numbers(
    pair_index: Int[Tensor, "2 n_pairs"],
    distances: Float[Tensor, " n_pairs"],
    covalent_radii: Float[Tensor, " n_atoms"],
    cutoff: float,
    switch_width: float = 0.0,
) -> Float[Tensor, " n_atoms"]:
    r"""Count the neighbors of each atom.

    .. math:: CN_i = \sum_j \frac{1}{1 + \exp[-16 ((R_i + R_j) / r_{ij} - 1)]}

    Parameters
    ----------
    pair_index : (2, n_pairs) every pair once.
    distances : (n_pairs,) Bohr.
    covalent_radii : (n_atoms,) Bohr, scaled by 4/3.
    cutoff, switch_width : Bohr. The count tends to 1e-7, not to 0: without a cutoff it diverges in a crystal.

    Returns
    -------
    (n_atoms,) coordination numbers

    References
    ----------
    Grimme, Antony, Ehrlich, Krieg, J. Chem. Phys. 132, 154104 (2010), eq. 15.
    """
    i, j = pair_index[0], pair_index[1]
    radii = covalent_radii.index_select(0, i) + covalent_radii.index_select(0, j)
    counts = neighbor_counts(radii, distances)
    counts = smooth_cutoff(counts, distances, cutoff, switch_width)
    return scatter_pairs(counts, pair_index, covalent_radii.shape[0])


def neighbor_counts(radii: Tensor, distances: Tensor, steepness: float = COUNT_STEEPNESS) -> Tensor:
    """Counting function: the share of a neighbor, from 0 to 1, that each of two atoms is to the other.

    Parameters
    ----------
    radii : sums of scaled covalent radii in Bohr, of any shape.
    distances : Bohr, of the same shape.

    Returns
    -------
    Numbers of that shape; the sum over all other atoms is the coordination number.
    """
    return torch.sigmoid(steepness * (radii / distances - 1.0))


def scatter_pairs(
    values: Float[Tensor, " n_pairs"], pair_index: Int[Tensor, "2 n_pairs"], n_atoms: int
) -> Float[Tensor, " {n_atoms}"]:
    """(n_atoms,) sum of a pair quantity (n_pairs,) over the pairs of each atom."""
    return values.new_zeros(n_atoms).index_add(0, pair_index.reshape(-1), values.repeat(2))
