"""Neighbors of atoms in dense arrays, for batches of structures with equally many atoms.

Batches are (n_structures, n_atoms, …), and what belongs to pairs is (n_structures, n_atoms, n_places, …): every atom
has the same number of places for neighbors, some of them empty. Where all atoms are neighbors of all, places are atoms,
and nothing is looked up.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

TINY = 1e-12
"""Å², below every squared distance of two atoms: roots of nothing have no derivative."""


@dataclass(frozen=True)
class DenseGraph:
    """Neighbors of every atom of a batch.

    Attributes
    ----------
    present : (1 or n_structures, n_atoms, n_places) 1 where a place has a neighbor, else 0.
    places : (n_structures, n_atoms, n_places) index of the neighbor; None where place k is atom k.
    """

    present: Float[Tensor, "#n_structures n_atoms n_places"]
    places: Int64[Tensor, "n_structures n_atoms n_places"] | None = None

    @classmethod
    def all_pairs(cls, positions: Float[Tensor, "n_structures n_atoms 3"]) -> DenseGraph:
        """Every atom sees all others."""
        n = positions.shape[1]
        return cls((1.0 - torch.eye(n, dtype=positions.dtype, device=positions.device))[None])

    @classmethod
    def within(cls, positions: Float[Tensor, "n_structures n_atoms 3"], cutoff: float) -> DenseGraph:
        """Every atom sees those nearer than a cutoff, in Å, however many they are."""
        squares = _squares(positions)
        n_places = max(1, int((squares < cutoff**2).sum(2).max()))
        nearest = squares.topk(n_places, dim=2, largest=False)
        return cls((nearest.values < cutoff**2).to(positions.dtype), nearest.indices)

    @classmethod
    def bonded_and_nearest(
        cls,
        positions: Float[Tensor, "n_structures n_atoms 3"],
        bonded: Float[Tensor, "n_atoms n_atoms"],
        n_nearest: int,
    ) -> DenseGraph:
        """Every atom sees given ones, and the nearest of the others.

        Parameters
        ----------
        bonded : 1 for pairs that always see each other, else 0.
        n_nearest : number of further neighbors.

        Returns
        -------
        neighbors of every atom
        """
        n_bonded = bonded.sum(1)
        squares = torch.where(bonded.bool(), -1.0, _squares(positions))
        n_places = min(positions.shape[1] - 1, int(n_bonded.max()) + n_nearest)
        nearest = squares.topk(n_places, dim=2, largest=False)
        wanted = torch.arange(n_places, device=positions.device) < n_bonded[:, None] + n_nearest
        return cls((wanted & nearest.values.isfinite()).to(positions.dtype), nearest.indices)

    def near(
        self, values: Float[Tensor, "n_structures n_atoms *shape"]
    ) -> Float[Tensor, "n_structures _ n_places *shape"]:
        """Values of the neighbors; the second axis has length 1 where all atoms have the same ones."""
        if self.places is None:
            return values[:, None]
        n_structures, n_atoms, n_places = self.places.shape
        shape = values.shape[2:]
        index = self.places.reshape(n_structures, -1, *(1 for _ in shape)).expand(-1, -1, *shape)
        return values.gather(1, index).reshape(n_structures, n_atoms, n_places, *shape)

    def vectors(
        self, positions: Float[Tensor, "n_structures n_atoms 3"]
    ) -> Float[Tensor, "n_structures n_atoms n_places 3"]:
        """r_j − r_i, Å, to the neighbors j of each atom i."""
        return self.near(positions) - positions[:, :, None]

    def sum_weighted(
        self,
        values: Float[Tensor, "n_structures n_atoms n_components n_features"],
        weights: Float[Tensor, "n_structures n_atoms n_places n_features"],
    ) -> Float[Tensor, "n_structures n_atoms n_components n_features"]:
        """Σ_j V_j ⊙ w_ij, with one weight for all components."""
        if self.places is None:
            return torch.einsum("bjch,bijh->bich", values, weights)
        return torch.einsum("bijch,bijh->bich", self.near(values), weights)

    def products(
        self,
        own: Float[Tensor, "n_structures n_atoms n_components n_features"],
        others: Float[Tensor, "n_structures n_atoms n_components n_features"],
    ) -> Float[Tensor, "n_structures n_atoms n_places n_features"]:
        """⟨V_i, W_j⟩ over components."""
        if self.places is None:
            return torch.einsum("bich,bjch->bijh", own, others)
        return torch.einsum("bich,bijch->bijh", own, self.near(others))

    def projections(
        self,
        others: Float[Tensor, "n_structures n_atoms n_components n_features"],
        onto: Float[Tensor, "n_structures n_atoms n_places n_components"],
    ) -> Float[Tensor, "n_structures n_atoms n_places n_features"]:
        """⟨W_j, Y_ij⟩ over components."""
        if self.places is None:
            return torch.einsum("bjch,bijc->bijh", others, onto)
        return torch.einsum("bijch,bijc->bijh", self.near(others), onto)


def lengths(vectors: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape"]:
    """Å, with a derivative also where a vector is zero."""
    return (vectors.square().sum(-1) + TINY).sqrt()


def _squares(positions: Tensor) -> Tensor:
    """Å², of all pairs; infinite from an atom to itself. Which atoms are neighbors has no derivative."""
    with torch.no_grad():
        squares = (positions[:, None] - positions[:, :, None]).square().sum(-1)
        return squares.masked_fill(torch.eye(squares.shape[1], dtype=torch.bool, device=squares.device), torch.inf)
