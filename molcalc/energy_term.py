"""Base of the energy terms beside the network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Float64
from torch import Tensor, nn

from molcalc.batch import AtomicBatch


@dataclass(frozen=True)
class FirstDerivatives:
    """Energies of a term, and the derivatives of their sum.

    Attributes
    ----------
    energies : (n_atoms,) float64, eV.
    by_positions, by_cell : (n_atoms, 3) and (n_systems, 3, 3) float64, eV/Å.
    by_charges : (n_atoms,) float64, eV/e; None of a term that reads no charges.
    """

    energies: Float64[Tensor, " n_atoms"]
    by_positions: Float64[Tensor, "n_atoms 3"]
    by_cell: Float64[Tensor, "n_systems 3 3"]
    by_charges: Float64[Tensor, " n_atoms"] | None = None

    def __add__(self, other: FirstDerivatives) -> FirstDerivatives:
        by_charges = self.by_charges if other.by_charges is None else other.by_charges
        if self.by_charges is not None and other.by_charges is not None:
            by_charges = self.by_charges + other.by_charges
        return FirstDerivatives(
            self.energies + other.energies,
            self.by_positions + other.by_positions,
            self.by_cell + other.by_cell,
            by_charges,
        )


class EnergyTerm(nn.Module):
    """A differentiable contribution to the energy: Coulomb, dispersion, repulsion.

    A term never returns forces: they come from differentiating the total energy.

    Attributes
    ----------
    requires : names of the model's predictions that the term reads ("charges"); checked when a
        potential is built.
    pair_cutoff : Å, range of ``batch.pair_index`` that the term needs in a periodic structure; 0 if it reads no pairs.
    supports_periodic : False when the term is defined for molecules only.
    """

    requires: tuple[str, ...] = ()
    pair_cutoff: float = math.inf
    supports_periodic: bool = True

    def forward(
        self, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
    ) -> Float64[Tensor, " n_atoms"]:
        """Return the (n_atoms,) float64 contribution in eV.

        ``batch.pair_index`` may hold pairs beyond the range of the term: mask them.

        Returns
        -------
        (n_atoms,) float64, eV
        """
        raise NotImplementedError

    def first_derivatives(
        self, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
    ) -> FirstDerivatives | None:
        """The same energies with their derivatives, where loops compute both together; None leaves it to autograd."""
        return None
