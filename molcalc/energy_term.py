"""Base of the energy terms beside the network."""

from __future__ import annotations

import math
from collections.abc import Mapping

from jaxtyping import Float, Float64
from torch import Tensor, nn

from molcalc.batch import AtomicBatch


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
