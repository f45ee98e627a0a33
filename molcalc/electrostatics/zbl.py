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
from molcalc.units import COULOMB, COVALENT_RADII


class ZBLRepulsion(EnergyTerm):
    r"""Ziegler–Biersack–Littmark repulsion, switched off smoothly towards a cutoff.

    .. math:: E = k_e \sum_{i<j} \frac{Z_i Z_j}{r_{ij}}\, φ(r_{ij}/a_{ij})\, s(r_{ij})

    see :func:`molcalc.electrostatics.pair_formulas.zbl_repulsion`.

    Parameters
    ----------
    cutoff : Å, of every pair.
    switch_start : Å; ``None`` takes half of the cutoff.
    covalent : where the repulsion of a pair ends, as a share of the sum of its covalent radii; instead of a cutoff and
        a start of the switch, which is at half of that. Below 0.85 no bond at rest is repelled (the triple bonds of N2
        and CO have 0.77 and 0.79 of the sum, with what little is left of the switch there: 0.05 eV).

    Attributes
    ----------
    ends : (119,) Å, by atomic number: a pair is not repelled beyond the sum of both.
    starts : (119,) Å, the same for the start of the switch.

    References
    ----------
    Ziegler, Biersack, Littmark, The Stopping and Range of Ions in Solids (Pergamon, 1985), chapter 2.
    """

    ends: Float64[Tensor, " n_numbers"]
    starts: Float64[Tensor, " n_numbers"]

    def __init__(
        self, cutoff: float = 2.0, switch_start: float | None = None, *, covalent: float | None = None
    ) -> None:
        super().__init__()
        radii = torch.as_tensor(COVALENT_RADII, dtype=torch.float64)
        if covalent is None:
            end = checked_positive("cutoff", cutoff)
            start = 0.5 * end if switch_start is None else float(switch_start)
            if not 0.0 <= start < end:
                raise ConfigError(f"switch_start={switch_start} Å must be between 0 and cutoff={cutoff} Å")
            ends, starts = torch.full_like(radii, 0.5 * end), torch.full_like(radii, 0.5 * start)
        else:
            ends = checked_positive("covalent", covalent) * radii
            starts = 0.5 * ends
        self.register_buffer("ends", ends, persistent=False)
        self.register_buffer("starts", starts, persistent=False)
        self.summation = WithinCutoff(2.0 * float(ends.max()))
        self.pair_cutoff = self.summation.pair_cutoff

    def forward(
        self, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
    ) -> Float64[Tensor, " n_atoms"]:
        """Return the (n_atoms,) energies in eV."""
        pairs = self.summation.pairs(batch)
        near = self._near(pairs.vectors(batch.positions.detach(), batch.cell.detach()))
        pairs = pairs.select(near)
        distances = distances_above_zero(pairs.vectors(batch.positions, batch.cell))
        numbers = batch.numbers.to(torch.float64)
        i, j = pairs.index
        z_i, z_j = numbers.index_select(0, i), numbers.index_select(0, j)
        own = (table.index_select(0, batch.numbers) for table in (self.starts, self.ends))
        start, end = (of_atom.index_select(0, i) + of_atom.index_select(0, j) for of_atom in own)
        energy = 0.5 * COULOMB * zbl_repulsion(distances, z_i, z_j, start, end)
        return torch.zeros_like(numbers).index_add(0, i, energy).index_add(0, j, energy)

    def _near(self, vectors: Tensor) -> Tensor:
        """Indices of the pairs within the cutoff."""
        return ((vectors * vectors).sum(dim=1) < self.pair_cutoff**2).nonzero()[:, 0]
