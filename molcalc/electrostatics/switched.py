"""PhysNet's Coulomb energy: softened where the network sees the charges, exact beyond."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.electrostatics.coulomb import batch_pairs, checked_positive
from molcalc.electrostatics.pair_sum import distances_above_zero, radial_pair_energies
from molcalc.energy_term import EnergyTerm
from molcalc.errors import CellError, ConfigError
from molcalc.units import COULOMB


class PhysNetCoulomb(EnergyTerm):
    r"""Coulomb energy of all pairs, with 1/r turned into 1/√(r²+1) at short range.

    .. math:: E = k_e \sum_{i<j} q_i q_j \left[(1 - s)\, v(\sqrt{r^2 + 1}) + s\, v(r)\right], \qquad
        s = 10y^3 - 15y^4 + 6y^5, \quad y = \min(2r / r_c, 1)

    where v(d) = 1/d, or v(d) = 1/d + d/L² − 2/L for r < L and 0 beyond when there is a long-range cutoff L, at which
    energy and force then vanish.

    Parameters
    ----------
    short_cutoff : r_c in Å, the cutoff of the network; the energy is exact from half of it.
    long_cutoff : L in Å; ``None`` sums over all pairs of a molecule.

    References
    ----------
    Unke, Meuwly, J. Chem. Theory Comput. 15, 3678 (2019).
    """

    requires = ("charges",)

    def __init__(self, short_cutoff: float = 10.0, long_cutoff: float | None = None) -> None:
        super().__init__()
        self.exact_from = 0.5 * checked_positive("short_cutoff", short_cutoff)
        self.supports_periodic = long_cutoff is not None
        self.pair_cutoff = math.inf if long_cutoff is None else checked_positive("long_cutoff", long_cutoff)
        if self.pair_cutoff < self.exact_from:
            raise ConfigError(
                f"long_cutoff={long_cutoff} Å is within the switched range of {self.exact_from} Å: raise it"
            )

    def forward(
        self, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
    ) -> Float64[Tensor, " n_atoms"]:
        """Return the (n_atoms,) energies in eV; raise CellError for a crystal without long-range cutoff."""
        if batch.periodic and not self.supports_periodic:
            raise CellError(
                "PhysNet's Coulomb energy without long-range cutoff is not defined for periodic structures: "
                "set long_cutoff, or switch pbc off"
            )
        pairs = batch_pairs(batch, self.pair_cutoff)
        distances = distances_above_zero(pairs.vectors(batch.positions, batch.cell))
        charges = predictions["charges"].to(torch.float64)
        return COULOMB * radial_pair_energies(distances, charges, pairs, self.radial)

    def radial(self, r: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Energy of two unit charges in e²/Å at distances r > 0 in Å."""
        y = (r / self.exact_from).clamp(max=1.0)
        switch = y**3 * (10.0 - 15.0 * y + 6.0 * y * y)
        return (1.0 - switch) * self._interaction(torch.sqrt(r * r + 1.0), r) + switch * self._interaction(r, r)

    def _interaction(self, d: Tensor, r: Tensor) -> Tensor:
        if math.isinf(self.pair_cutoff):
            return 1.0 / d
        return (1.0 / d + d / self.pair_cutoff**2 - 2.0 / self.pair_cutoff) * (r < self.pair_cutoff)
