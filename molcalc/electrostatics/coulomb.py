"""Coulomb energy of atomic charges summed in real space."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Float64
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

    def forward(
        self, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
    ) -> Float64[Tensor, " n_atoms"]:
        """Return the (n_atoms,) energies in eV; raise CellError for a periodic structure."""
        if batch.periodic:
            pbc = batch.pbc[batch.pbc.any(dim=1)][0].tolist()
            raise CellError(
                f'Coulomb method "simple" is not defined for periodic structures (pbc={pbc}): '
                'choose "dsf" or "ewald", or switch pbc off'
            )
        return COULOMB * _pair_energies(batch, predictions["charges"].to(torch.float64), self.form)


class DSFCoulomb(EnergyTerm):
    r"""Damped, shifted-force Coulomb energy: pairs within a cutoff, for molecules and any periodicity ("dsf").

    .. math:: E = k_e \sum_{i<j} q_i q_j φ(r_{ij})
        - k_e \left(\frac{\mathrm{erfc}(α R)}{2R} + \frac{α}{\sqrt{π}}\right) \sum_i q_i^2, \qquad
        φ(r) = v(r) - v(R) - (r - R)\,v'(R) - \frac{g(r)}{r}, \quad v(r) = \frac{\mathrm{erfc}(α r)}{r}

    φ and its derivative vanish at the cutoff R. The envelope g of :class:`SimpleCoulomb` takes out what
    the network describes. The second sum is the energy of the charges with the neutralising charges that the
    shift puts on the cutoff sphere.

    Parameters
    ----------
    cutoff : R in Å.
    alpha : α in 1/Å.
    short_range_cutoff : range of g in Å; ``None`` leaves g out.

    References
    ----------
    Fennell, Gezelter, J. Chem. Phys. 124, 234104 (2006).
    """

    requires = ("charges",)

    def __init__(self, cutoff: float = 15.0, alpha: float = 0.2, short_range_cutoff: float | None = 4.6) -> None:
        super().__init__()
        self.pair_cutoff = checked_positive("cutoff", cutoff)
        alpha = checked_positive("alpha", alpha)
        short = checked_short_range(short_range_cutoff)
        if short > cutoff:
            raise ConfigError(f"short_range_cutoff={short} Å is beyond cutoff={cutoff} Å: lower it")
        edge = math.erfc(alpha * cutoff) / cutoff
        gaussian = 2.0 * alpha / math.sqrt(math.pi) * math.exp(-((alpha * cutoff) ** 2))
        slope = (edge + gaussian) / cutoff
        self.form = ScreenedCoulomb(alpha, slope, -edge - slope * cutoff, cutoff, short)
        self.self_energy = -COULOMB * (0.5 * edge + alpha / math.sqrt(math.pi))

    def forward(
        self, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
    ) -> Float64[Tensor, " n_atoms"]:
        """Return the (n_atoms,) energies in eV."""
        charges = predictions["charges"].to(torch.float64)
        return COULOMB * _pair_energies(batch, charges, self.form) + self.self_energy * charges * charges


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


def batch_pairs(batch: AtomicBatch, cutoff: float) -> Pairs:
    """Pairs of the batch, complete up to ``cutoff`` Å; raises ConfigError when the list ends before."""
    complete, periodic = math.isinf(batch.pair_cutoff), batch.periodic
    if batch.pair_cutoff < cutoff:
        raise ConfigError(
            f"the pairs of the batch reach to {batch.pair_cutoff} Å, the energy term to {cutoff} Å: "
            f"build the batch with pair_cutoff={cutoff}"
        )
    if complete and periodic:
        raise ConfigError(
            f"pair_cutoff={batch.pair_cutoff} lists no periodic images: build the batch with pair_cutoff={cutoff}"
        )
    shifts = batch.pair_shifts if periodic else NO_SHIFTS
    return Pairs(batch.pair_index, shifts, batch.system_idx, complete)


def _pair_energies(batch: AtomicBatch, charges: Tensor, form: ScreenedCoulomb) -> Tensor:
    """(n_atoms,) energies in e²/Å from the pairs of the batch."""
    return charge_pair_energies(batch.positions, charges, batch.cell, batch_pairs(batch, form.cutoff), form)
