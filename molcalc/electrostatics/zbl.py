"""Screened repulsion of nuclei at short range."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.electrostatics.coulomb import batch_pairs, checked_positive
from molcalc.electrostatics.pair_sum import distances_above_zero
from molcalc.energy_term import EnergyTerm
from molcalc.errors import ConfigError
from molcalc.units import BOHR, COULOMB

PREFACTORS = (0.18175, 0.50986, 0.28022, 0.02817)
EXPONENTS = (3.19980, 0.94229, 0.40290, 0.20162)
"""Universal screening function of Ziegler, Biersack and Littmark."""
LENGTH, POWER = 0.8854 * BOHR, 0.23
"""Screening length in Å of Z = 1 twice over, and how it falls with Z."""


class ZBLRepulsion(EnergyTerm):
    r"""Ziegler–Biersack–Littmark repulsion, switched off smoothly towards a cutoff.

    .. math:: E = k_e \sum_{i<j} \frac{Z_i Z_j}{r_{ij}}\, φ(r_{ij}/a_{ij})\, s(r_{ij}), \qquad
        a_{ij} = \frac{0.8854\, a_0}{Z_i^{0.23} + Z_j^{0.23}}, \quad φ(x) = \sum_{k=1}^4 c_k e^{-d_k x}

    s = 1 − 10t³ + 15t⁴ − 6t⁵ falls from 1 to 0 between ``switch_start`` and ``cutoff``.

    Parameters
    ----------
    cutoff : Å.
    switch_start : Å; ``None`` takes half of the cutoff.

    References
    ----------
    Ziegler, Biersack, Littmark, The Stopping and Range of Ions in Solids (Pergamon, 1985), chapter 2.
    """

    def __init__(self, cutoff: float = 2.0, switch_start: float | None = None) -> None:
        super().__init__()
        self.pair_cutoff = checked_positive("cutoff", cutoff)
        self.switch_start = 0.5 * cutoff if switch_start is None else float(switch_start)
        if not 0.0 <= self.switch_start < cutoff:
            raise ConfigError(f"switch_start={switch_start} Å must be between 0 and cutoff={cutoff} Å")

    def forward(
        self, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
    ) -> Float64[Tensor, " n_atoms"]:
        """Return the (n_atoms,) energies in eV."""
        pairs = batch_pairs(batch, self.pair_cutoff)
        near = self._near(pairs.vectors(batch.positions.detach(), batch.cell.detach()))
        pairs = pairs.select(near)
        distances = distances_above_zero(pairs.vectors(batch.positions, batch.cell))
        numbers = batch.numbers.to(torch.float64)
        i, j = pairs.index[0], pairs.index[1]
        energy = 0.5 * self.energies(distances, numbers.index_select(0, i), numbers.index_select(0, j))
        return torch.zeros_like(numbers).index_add(0, i, energy).index_add(0, j, energy)

    def energies(
        self, r: Float[Tensor, " n_pairs"], z_i: Float[Tensor, " n_pairs"], z_j: Float[Tensor, " n_pairs"]
    ) -> Float[Tensor, " n_pairs"]:
        """(n_pairs,) energies in eV at distances r > 0 in Å."""
        scaled = r * (z_i**POWER + z_j**POWER) / LENGTH
        screening = torch.zeros_like(r)
        for prefactor, exponent in zip(PREFACTORS, EXPONENTS):
            screening = screening + prefactor * torch.exp(-exponent * scaled)
        t = ((r - self.switch_start) / (self.pair_cutoff - self.switch_start)).clamp(0.0, 1.0)
        switch = 1.0 - t**3 * (10.0 - 15.0 * t + 6.0 * t * t)
        return COULOMB * z_i * z_j / r * screening * switch

    def _near(self, vectors: Tensor) -> Tensor:
        """Indices of the pairs within the cutoff."""
        return ((vectors * vectors).sum(dim=1) < self.pair_cutoff**2).nonzero()[:, 0]
