"""Screened repulsion of nuclei at short range."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.electrostatics.pair_formulas import distances_above_zero, zbl_repulsion
from molcalc.electrostatics.sums import WithinCutoff
from molcalc.energy_term import EnergyTerm
from molcalc.errors import ConfigError, checked_positive
from molcalc.units import COULOMB


class ZBLRepulsion(EnergyTerm):
    r"""Ziegler–Biersack–Littmark repulsion, switched off smoothly towards a cutoff.

    .. math:: E = k_e \sum_{i<j} \frac{Z_i Z_j}{r_{ij}}\, φ(r_{ij}/a_{ij})\, s(r_{ij})

    see :func:`molcalc.electrostatics.pair_formulas.zbl_repulsion`.

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
        self.summation = WithinCutoff(checked_positive("cutoff", cutoff))
        self.pair_cutoff = self.summation.pair_cutoff
        self.switch_start = 0.5 * cutoff if switch_start is None else float(switch_start)
        if not 0.0 <= self.switch_start < cutoff:
            raise ConfigError(f"switch_start={switch_start} Å must be between 0 and cutoff={cutoff} Å")

    def forward(
        self, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
    ) -> Float64[Tensor, " n_atoms"]:
        """Return the (n_atoms,) energies in eV."""
        pairs = self.summation.pairs(batch)
        near = self._near(pairs.vectors(batch.positions.detach(), batch.cell.detach()))
        pairs = pairs.select(near)
        distances = distances_above_zero(pairs.vectors(batch.positions, batch.cell))
        numbers = batch.numbers.to(torch.float64)
        i, j = pairs.index[0], pairs.index[1]
        z_i, z_j = numbers.index_select(0, i), numbers.index_select(0, j)
        energy = 0.5 * COULOMB * zbl_repulsion(distances, z_i, z_j, self.switch_start, self.pair_cutoff)
        return torch.zeros_like(numbers).index_add(0, i, energy).index_add(0, j, energy)

    def _near(self, vectors: Tensor) -> Tensor:
        """Indices of the pairs within the cutoff."""
        return ((vectors * vectors).sum(dim=1) < self.pair_cutoff**2).nonzero()[:, 0]
