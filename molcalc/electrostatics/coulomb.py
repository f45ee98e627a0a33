"""Coulomb energy of atomic charges summed in real space."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.electrostatics.pair_sum import NO_SHIFTS, Pairs, ScreenedCoulomb, charge_pair_energies
from molcalc.energy_term import EnergyTerm
from molcalc.errors import CellError, ConfigError
from molcalc.units import COULOMB


class SimpleCoulomb(EnergyTerm):
    r"""Coulomb energy over all pairs of a molecule, its short range left to the network ("simple").

    .. math:: E = k_e \sum_{i<j} \frac{(1 - g(r_{ij}))\, q_i q_j}{r_{ij}}, \qquad
        g(r) = \exp\!\left(1 - \frac{1}{1 - (r/r_s)^2}\right) \text{ for } r < r_s

    Parameters
    ----------
    short_range_cutoff : r_s in Å; ``None`` gives the plain Coulomb energy (g = 0).

    References
    ----------
    Anstine, Zubatyuk, Isayev, Chem. Sci. 16, 10228 (2025), doi 10.1039/D4SC08572H.
    """

    requires = ("charges",)
    pair_cutoff = math.inf
    supports_periodic = False

    def __init__(self, short_range_cutoff: float | None = 4.6) -> None:
        super().__init__()
        self.form = ScreenedCoulomb(short_range_cutoff=checked_short_range(short_range_cutoff))

    def forward(self, batch: AtomicBatch, predictions: Mapping[str, Tensor]) -> Tensor:
        """Return the (n_atoms,) energies in eV; raise CellError for a periodic structure."""
        if batch.periodic:
            pbc = batch.pbc[batch.pbc.any(dim=1)][0].tolist()
            raise CellError(
                f'Coulomb method "simple" is not defined for periodic structures (pbc={pbc}): '
                'choose "dsf" or "ewald", or switch pbc off'
            )
        return COULOMB * _pair_energies(batch, predictions, self.form)


def checked_short_range(short_range_cutoff: float | None) -> float:
    """Short-range cutoff in Å with 0 for none; raises ConfigError when it is not a positive number."""
    if short_range_cutoff is None:
        return 0.0
    return checked_positive("short_range_cutoff", short_range_cutoff)


def checked_positive(name: str, value: float) -> float:
    """Return the value as float; raise ConfigError when it is not positive and finite."""
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name}={value} must be a positive, finite number")
    return float(value)


def _pair_energies(batch: AtomicBatch, predictions: Mapping[str, Tensor], form: ScreenedCoulomb) -> Tensor:
    """(n_atoms,) energies in e²/Å from the pairs of the batch."""
    if batch.pair_cutoff < form.cutoff:
        raise ConfigError(
            f"the pairs of the batch reach to {batch.pair_cutoff} Å, the Coulomb term to {form.cutoff} Å: "
            f"build the batch with pair_cutoff={form.cutoff}"
        )
    charges = predictions["charges"].to(torch.float64)
    complete = math.isinf(batch.pair_cutoff)  # there are no infinite lists of periodic structures
    shifts = NO_SHIFTS if complete or not batch.periodic else batch.pair_shifts
    pairs = Pairs(batch.pair_index, shifts, batch.system_idx, complete)
    return charge_pair_energies(batch.positions, charges, batch.cell, pairs, form)
