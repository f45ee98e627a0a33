"""Coulomb energy of atomic charges: a formula of the pairs, and a way to sum it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.electrostatics.ewald import EwaldSum
from molcalc.electrostatics.pair_formulas import PairFormula, ScreenedCoulomb, SoftenedCoulomb
from molcalc.electrostatics.pme import MeshEwaldSum
from molcalc.electrostatics.sums import AllPairs, ChargeSum, WithinCutoff
from molcalc.energy_term import EnergyTerm, FirstDerivatives
from molcalc.errors import ConfigError, checked_positive
from molcalc.units import COULOMB


class CoulombEnergy(EnergyTerm):
    r"""Energy of the atomic charges that a network predicts.

    .. math:: E = k_e \Big[\sum_{i<j} q_i q_j φ(r_{ij}) + φ_0 \sum_i q_i^2\Big]

    Parameters
    ----------
    formula : φ, and the energy φ₀ of a unit charge with itself.
    summation : how the first sum is done.
    """

    requires = ("charges",)

    def __init__(self, formula: PairFormula, summation: ChargeSum) -> None:
        super().__init__()
        self.formula, self.summation = formula, summation
        self.supports_periodic = summation.supports_periodic
        self.pair_cutoff = summation.pair_cutoff

    def forward(
        self, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
    ) -> Float64[Tensor, " n_atoms"]:
        """Return the (n_atoms,) energies in eV; raise CellError for a structure that the sum is not defined for."""
        charges = predictions["charges"].to(torch.float64)
        energies = COULOMB * self.summation.energies(batch, charges, self.formula)
        own = self.formula.self_energy
        return energies + COULOMB * own * charges * charges if own else energies

    def first_derivatives(
        self, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
    ) -> FirstDerivatives | None:
        """Energies and derivatives by the loops of the pairs; None where the sum has other parts."""
        charges = predictions["charges"].to(torch.float64)
        by_all = self.summation.derivatives(batch, charges, self.formula)
        if by_all is None:
            return None
        by_positions, by_charges, by_cell = (COULOMB * each for each in by_all)
        own = self.formula.self_energy
        if own:
            by_charges = by_charges + 2.0 * COULOMB * own * charges
        return FirstDerivatives(0.5 * charges * by_charges, by_positions, by_cell, by_charges)


class SimpleCoulomb(CoulombEnergy):
    r"""Coulomb energy over all pairs of a molecule, its short range left to the network ("simple").

    .. math:: E = k_e \sum_{i<j} \frac{(1 - g(r_{ij}))\, q_i q_j}{r_{ij}}

    with g of :func:`molcalc.electrostatics.pair_formulas.beyond_short_range`.

    Parameters
    ----------
    short_range_cutoff : range of g in Å; ``None`` gives the plain Coulomb energy (g = 0).

    References
    ----------
    Anstine, Zubatyuk, Isayev, Chem. Sci. 16, 10228 (2025), doi 10.1039/D4SC08572H.
    """

    def __init__(self, short_range_cutoff: float | None = 4.6) -> None:
        super().__init__(_bare(short_range_cutoff), AllPairs('choose coulomb="dsf" or "ewald"'))


class DSFCoulomb(CoulombEnergy):
    """Damped, shifted-force Coulomb energy: pairs within a cutoff, for molecules and any periodicity ("dsf").

    Energy and force of a pair vanish at the cutoff R; the energy of a charge with itself is that with the neutralising
    charges that the shift puts on the cutoff sphere. See
    :meth:`molcalc.electrostatics.pair_formulas.ScreenedCoulomb.shifted_force`.

    Parameters
    ----------
    cutoff : R in Å.
    alpha : α in 1/Å.
    short_range_cutoff : range of the envelope g in Å; ``None`` leaves g out.

    Raises
    ------
    ConfigError
        When the short range does not end before the cutoff.

    References
    ----------
    Fennell, Gezelter, J. Chem. Phys. 124, 234104 (2006).
    """

    def __init__(self, cutoff: float = 15.0, alpha: float = 0.2, short_range_cutoff: float | None = 4.6) -> None:
        cutoff, alpha = checked_positive("cutoff", cutoff), checked_positive("alpha", alpha)
        short = _short_range(short_range_cutoff)
        if short > cutoff:
            raise ConfigError(f"short_range_cutoff={short} Å is beyond cutoff={cutoff} Å: lower it")
        super().__init__(ScreenedCoulomb.shifted_force(alpha, cutoff, short), WithinCutoff(cutoff))


class EwaldCoulomb(CoulombEnergy):
    """Coulomb energy of a crystal by Ewald summation, its short range left to the network ("ewald").

    Parameters
    ----------
    accuracy : relative size of what the truncated sums leave out.
    short_range_cutoff : range of the envelope g in Å; ``None`` leaves g out.
    background, alpha, real_cutoff, reciprocal_cutoff : of :class:`molcalc.electrostatics.ewald.EwaldSum`.
    """

    def __init__(
        self,
        accuracy: float = 1e-8,
        short_range_cutoff: float | None = 4.6,
        background: bool = True,
        *,
        alpha: float | None = None,
        real_cutoff: float | None = None,
        reciprocal_cutoff: float | None = None,
    ) -> None:
        summation = EwaldSum(
            accuracy, background, alpha=alpha, real_cutoff=real_cutoff, reciprocal_cutoff=reciprocal_cutoff
        )
        super().__init__(_bare(short_range_cutoff), summation)


class PMECoulomb(CoulombEnergy):
    """The energy of :class:`EwaldCoulomb` with its smooth part on a mesh, for large crystals ("pme").

    Parameters
    ----------
    accuracy : relative error of forces and stress, about.
    short_range_cutoff : range of the envelope g in Å; ``None`` leaves g out.
    background, real_cutoff : of :class:`molcalc.electrostatics.pme.MeshEwaldSum`.

    Raises
    ------
    ConfigError
        When the package nvalchemi-toolkit-ops is not installed, or the accuracy is out of reach.
    """

    def __init__(
        self,
        accuracy: float = 1e-6,
        short_range_cutoff: float | None = 4.6,
        background: bool = True,
        *,
        real_cutoff: float = 9.0,
    ) -> None:
        super().__init__(_bare(short_range_cutoff), MeshEwaldSum(accuracy, background, real_cutoff=real_cutoff))


class PhysNetCoulomb(CoulombEnergy):
    """PhysNet's Coulomb energy, softened where the network sees the charges.

    See :class:`molcalc.electrostatics.pair_formulas.SoftenedCoulomb`.

    Parameters
    ----------
    short_cutoff : Å, the cutoff of the network; the energy is exact from half of it.
    long_cutoff : Å, where energy and force of a pair end; ``None`` sums over all pairs of a molecule.

    Raises
    ------
    ConfigError
        When the long cutoff is within the softened range.

    References
    ----------
    Unke, Meuwly, J. Chem. Theory Comput. 15, 3678 (2019).
    """

    def __init__(self, short_cutoff: float = 10.0, long_cutoff: float | None = None) -> None:
        exact_from = 0.5 * checked_positive("short_cutoff", short_cutoff)
        if long_cutoff is None:
            super().__init__(SoftenedCoulomb(exact_from), AllPairs("set long_cutoff"))
            return
        end = checked_positive("long_cutoff", long_cutoff)
        if end < exact_from:
            raise ConfigError(f"long_cutoff={long_cutoff} Å is within the switched range of {exact_from} Å: raise it")
        super().__init__(SoftenedCoulomb(exact_from, end), WithinCutoff(end))


def _bare(short_range_cutoff: float | None) -> ScreenedCoulomb:
    """Coulomb's law beyond the short range."""
    return ScreenedCoulomb(short_range_cutoff=_short_range(short_range_cutoff))


def _short_range(short_range_cutoff: float | None) -> float:
    """Short-range cutoff in Å with 0 for none; raises ConfigError when it is not a positive number."""
    return 0.0 if short_range_cutoff is None else checked_positive("short_range_cutoff", short_range_cutoff)
