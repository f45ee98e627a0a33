"""Coulomb energy of charges distributed around the atoms, damped at short range."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.electrostatics.pair_formulas import distances_above_zero, thole_damped_inverse
from molcalc.electrostatics.sums import AllPairs
from molcalc.energy_term import EnergyTerm
from molcalc.errors import ConfigError, UnsupportedElementError, checked_positive
from molcalc.units import BOHR, COULOMB

POLARIZABILITIES = {
    1: 4.5, 2: 1.38, 3: 164.0, 4: 38.0, 5: 21.0, 6: 12.0, 7: 7.4, 8: 5.4, 9: 3.8, 10: 2.67, 11: 163.0, 12: 71.0,
    13: 60.0, 14: 37.0, 15: 25.0, 16: 19.6, 17: 15.0, 18: 11.1, 30: 40.0, 33: 29.0, 34: 25.0, 35: 20.0, 36: 16.7,
    53: 35.0,
}  # fmt: skip
"""Bohr³, polarizability of the free atom by Z: Chu, Dalgarno, J. Chem. Phys. 121, 4083 (2004), as in ASE."""


class TholeCoulomb(EnergyTerm):
    r"""Coulomb energy between the distributed charges of different atoms, with Thole damping.

    .. math:: E = k_e \sum_{a<b} \frac{q_a q_b}{r_{ab}} \left[1 - \left(1 + \frac{x}{2}\right) e^{-x}\right], \qquad
        x = \frac{a\, r_{ab}}{(α_i α_j)^{1/6}}

    for charges a on atom i and b on atom j ≠ i. Each charge is smeared out exponentially over the size of its
    atom; coinciding charges have a finite energy and feel no force.

    Parameters
    ----------
    damping : a, dimensionless; larger means less damping.
    polarizabilities : Å³ by atomic number, in place of or in addition to the table of this module.

    References
    ----------
    Thole, Chem. Phys. 59, 341 (1981); Noskov, Lamoureux, Roux, J. Phys. Chem. B 109, 6705 (2005), for charges.
    """

    requires = ("dcm_charges", "dcm_positions")
    summation = AllPairs('train with coulomb="simple" or none')
    pair_cutoff = summation.pair_cutoff
    supports_periodic = summation.supports_periodic

    def __init__(self, damping: float = 2.6, polarizabilities: Mapping[int, float] | None = None) -> None:
        super().__init__()
        self.damping = checked_positive("damping", damping)
        lengths = torch.full((119,), math.nan, dtype=torch.float64)
        for z, polarizability in POLARIZABILITIES.items():
            lengths[z] = (polarizability * BOHR**3) ** (1 / 6)
        for z, polarizability in (polarizabilities or {}).items():
            if not 1 <= z <= 118:
                raise ConfigError(f"polarizabilities: Z={z} is no element; keys are atomic numbers from 1 to 118")
            lengths[z] = checked_positive(f"polarizability of Z={z}", polarizability) ** (1 / 6)
        self.register_buffer("lengths", lengths, persistent=False)

    def forward(
        self, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
    ) -> Float64[Tensor, " n_atoms"]:
        """Return the (n_atoms,) energies in eV.

        Returns
        -------
        (n_atoms,) float64, eV

        Raises
        ------
        CellError
            For a periodic structure.
        UnsupportedElementError
            For an element without polarizability.
        """
        charges = predictions["dcm_charges"].to(torch.float64)
        sites = predictions["dcm_positions"].to(torch.float64)
        lengths = self._lengths(batch.numbers)
        i, j = self.summation.pairs(batch).index
        vectors = sites.index_select(0, j)[:, None, :, :] - sites.index_select(0, i)[:, :, None, :]
        distances = distances_above_zero(vectors.reshape(-1, 3)).reshape(vectors.shape[:-1])
        scale = self.damping / (lengths.index_select(0, i) * lengths.index_select(0, j))
        products = charges.index_select(0, i)[:, :, None] * charges.index_select(0, j)[:, None, :]
        pair_energies = products * scale[:, None, None] * thole_damped_inverse(scale[:, None, None] * distances)
        energy = 0.5 * COULOMB * pair_energies.sum(dim=(1, 2))
        return torch.zeros_like(lengths).index_add(0, i, energy).index_add(0, j, energy)

    def _lengths(self, numbers: Tensor) -> Tensor:
        """(n_atoms,) α^(1/6) in Å^(1/2)."""
        lengths: Tensor = self.get_buffer("lengths").to(numbers.device).index_select(0, numbers)
        if bool(lengths.isnan().any()):
            missing = sorted(set(numbers[lengths.isnan()].tolist()))
            known = ", ".join(map(str, sorted(POLARIZABILITIES)))
            raise UnsupportedElementError(
                f"no polarizability for Z={missing} (built in: Z={known}): pass polarizabilities={{Z: Å³}}"
            )
        return lengths
