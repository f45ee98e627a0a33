"""Axilrod-Teller-Muto three-body dispersion in torch operations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from molcalc.dispersion.damping import smooth_cutoff, three_body_damping
from molcalc.dispersion.reference import AtomData, InterpolatedC6

TRIPLES_AT_ONCE = 200_000
"""Triples computed at once."""


class SitePairs(NamedTuple):
    """Pairs within the three-body cutoff, of an atom with later sites, sorted by the atom.

    A site is an atom or one of its images. Of two images of one atom the earlier has the smaller shift, in
    lexicographic order. Every triple of sites then has one first site, whose pairs hold the two others.

    Attributes
    ----------
    ends : (2, n) int64, the atoms of each pair.
    vectors : (n, 3) Bohr.
    source : (n,) int64, position in the original list.
    sign : (n,) −1 where the pair was turned round, else 1.
    """

    ends: Int[Tensor, "2 n"]
    vectors: Float[Tensor, "n 3"]
    source: Int[Tensor, " n"]
    sign: Float[Tensor, " n"]


def site_pairs(
    pair_index: Int[Tensor, "2 n_pairs"],
    pair_shifts: Float[Tensor, "n_pairs 3"],
    vectors: Float[Tensor, "n_pairs 3"],
    cutoff: float,
) -> SitePairs:
    """Select and order pairs for :func:`triple_energies`; arguments as for the two-body term, in Bohr."""
    within = (~(vectors.detach().square().sum(1) > cutoff * cutoff)).nonzero()[:, 0]
    i, j = pair_index.index_select(1, within)
    a, b, c = pair_shifts.index_select(0, within).unbind(1)
    backward = (a < 0) | ((a == 0) & ((b < 0) | ((b == 0) & (c < 0))))
    turn = (i > j) | ((i == j) & backward)
    index = torch.stack([torch.where(turn, j, i), torch.where(turn, i, j)])
    order = torch.argsort(index[0], stable=True)
    sign = (1.0 - 2.0 * turn.to(vectors.dtype)).index_select(0, order)
    source = within.index_select(0, order)
    return SitePairs(index.index_select(1, order), vectors.index_select(0, source) * sign[:, None], source, sign)


def triple_energies(
    pairs: SitePairs, c6: InterpolatedC6, atoms: AtomData, s9: float, cutoff: float, width: float
) -> Float[Tensor, " n_atoms"]:
    r"""Three-body energy of each atom, a third of each triple.

    .. math::

        E_{ijk} = s_9 \sqrt{C_{6,ij} C_{6,ik} C_{6,jk}} \,
        \frac{1 + 3 \cos\theta_i \cos\theta_j \cos\theta_k}{(r_{ij} r_{ik} r_{jk})^3} \, f_{damp}

    Parameters
    ----------
    cutoff, width : Bohr; all three distances of a triple are within the cutoff.

    Returns
    -------
    (n_atoms,) Hartree.

    References
    ----------
    Grimme, Antony, Ehrlich, Krieg, J. Chem. Phys. 132, 154104 (2010), eq. 11-14.
    """
    energies = pairs.vectors.new_zeros(atoms.n_atoms)
    for p, q in _pairs_of_pairs(pairs.ends[0], atoms.n_atoms):
        r_ij, r_ik = pairs.vectors.index_select(0, p), pairs.vectors.index_select(0, q)
        near = (~((r_ik - r_ij).detach().square().sum(1) > cutoff * cutoff)).nonzero()[:, 0]
        p, q = p.index_select(0, near), q.index_select(0, near)
        r_ij, r_ik = r_ij.index_select(0, near), r_ik.index_select(0, near)
        i, j, k = pairs.ends[0].index_select(0, p), pairs.ends[1].index_select(0, p), pairs.ends[1][q]
        sides = [torch.stack([i, j]), torch.stack([i, k]), torch.stack([j, k])]
        squared = [(vector * vector).sum(1) for vector in (r_ij, r_ik, r_ik - r_ij)]
        c9 = s9 * (c6.between(i, j) * c6.between(i, k) * c6.between(j, k)).sqrt()
        third = c9 * _geometry(squared, sides, atoms, cutoff, width) / 3.0
        energies = energies.index_add(0, torch.cat([i, j, k]), third.repeat(3))
    return energies


def _geometry(squared: list[Tensor], sides: list[Tensor], atoms: AtomData, cutoff: float, width: float) -> Tensor:
    """Everything of E_ijk but C9, from the squared distances of the sides ij, ik, jk."""
    assert atoms.vdw_radii is not None
    ij, ik, jk = squared
    product2 = ij * ik * jk
    angle = 0.375 * (ij + jk - ik) * (ij - jk + ik) * (ik + jk - ij) / product2 + 1.0
    values = angle / (product2 * product2.sqrt())
    ratio = torch.ones_like(product2)
    for r2, side in zip(squared, sides):
        distance = r2.sqrt()
        species = atoms.species[side]
        ratio = ratio * atoms.vdw_radii[species[0], species[1]] / distance
        if width > 0.0:
            values = smooth_cutoff(values, distance, cutoff, width)
    return values * three_body_damping(ratio)


def _pairs_of_pairs(center: Tensor, n_atoms: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Positions p < q of two pairs with the same first atom, in chunks; ``center`` is sorted."""
    last = torch.cumsum(torch.bincount(center, minlength=n_atoms), 0).index_select(0, center)
    partners = last - torch.arange(len(center), device=center.device) - 1
    chunk = torch.cumsum(partners, 0) // TRIPLES_AT_ONCE
    for members in torch.split(torch.arange(len(center), device=center.device), torch.bincount(chunk).tolist()):
        counts = partners.index_select(0, members)
        p = members.repeat_interleave(counts)
        first = (torch.cumsum(counts, 0) - counts).repeat_interleave(counts)
        yield p, p + 1 + torch.arange(len(p), device=p.device) - first
