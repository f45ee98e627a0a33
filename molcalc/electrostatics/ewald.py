"""Ewald summation of charges in a crystal."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.electrostatics.charged_cells import NEUTRAL, ChargedCells
from molcalc.electrostatics.pair_formulas import PairFormula, ScreenedCoulomb
from molcalc.electrostatics.reciprocal import half_space, structure_factor_energies
from molcalc.electrostatics.sums import ChargeDerivatives, ChargePairs, pair_sum
from molcalc.errors import CellError, ChargeError, ConfigError, checked_positive
from molcalc.neighbors import pair_list

PAIR_COST = 100.0
"""Time of one pair in real space over that of one charge and one reciprocal vector (benchmarks/coulomb.py)."""


@dataclass(frozen=True)
class Splitting:
    """Division of an Ewald sum between real and reciprocal space.

    Attributes
    ----------
    alpha : 1/Å, width parameter of the Gaussians.
    real_cutoff : Å.
    reciprocal_cutoff : 1/Å, largest |k|.
    """

    alpha: float
    real_cutoff: float
    reciprocal_cutoff: float


class EwaldSum:
    r"""Sum over the charges of a crystal that is periodic in three dimensions.

    .. math:: E = \sum_{i<j} \frac{\mathrm{erfc}(α r_{ij}) - g(r_{ij})}{r_{ij}} q_i q_j
        + \frac{2π}{V} \sum_{k ≠ 0} \frac{e^{-k²/4α²}}{k²} |S(k)|² - \frac{α}{\sqrt{π}} \sum_i q_i²
        - \frac{π Q²}{2 V α²}

    with conducting ("tin-foil") surroundings. The first sum runs over pairs and their images; the envelope g
    of the formula takes out what the network describes. The last term is the neutralising background of a cell with
    charge Q.

    Parameters
    ----------
    accuracy : relative size of what both truncated sums leave out.
    background : whether charged cells are allowed; they give one warning,
        :class:`molcalc.electrostatics.charged_cells.ChargedCellWarning`.
    alpha, real_cutoff, reciprocal_cutoff : 1/Å, Å and 1/Å; what is ``None`` is chosen from the accuracy, the cell
        and the number of charges, so that the cost grows as n^1.5.

    References
    ----------
    Ewald, Ann. Phys. 369, 253 (1921); Perram, Petersen, de Leeuw, Mol. Phys. 65, 875 (1988), for the n^1.5.
    """

    supports_periodic = True
    pair_cutoff = 0.0  # the sum makes its own list, whose range depends on the cell

    def __init__(
        self,
        accuracy: float = 1e-8,
        background: bool = True,
        *,
        alpha: float | None = None,
        real_cutoff: float | None = None,
        reciprocal_cutoff: float | None = None,
    ) -> None:
        if not 0.0 < accuracy < 1.0:
            raise ConfigError(f"accuracy={accuracy} must be between 0 and 1, for example 1e-8")
        self.accuracy = float(accuracy)
        self.background = background
        given = {"alpha": alpha, "real_cutoff": real_cutoff, "reciprocal_cutoff": reciprocal_cutoff}
        self.given = {name: checked_positive(name, value) for name, value in given.items() if value is not None}
        self._charged = ChargedCells("a uniform background neutralises it")

    def splitting(self, n_charges: int, volume: float, short_range_cutoff: float = 0.0) -> Splitting:
        """Splitting for a cell of ``volume`` Å³: as given, the rest so that both sums cost and miss the same.

        Parameters
        ----------
        short_range_cutoff : Å that the sum in real space must reach.

        Returns
        -------
        screening in 1/Å and the cutoffs of both sums
        """
        digits = math.sqrt(-math.log(self.accuracy))
        alpha = self.given.get("alpha")
        if alpha is None and "real_cutoff" in self.given:
            alpha = digits / self.given["real_cutoff"]
        elif alpha is None:
            alpha = math.sqrt(math.pi) * (PAIR_COST * n_charges / volume**2) ** (1 / 6)
        return Splitting(
            alpha,
            max(self.given.get("real_cutoff", digits / alpha), short_range_cutoff),
            self.given.get("reciprocal_cutoff", 2.0 * alpha * digits),
        )

    def energies(
        self, batch: AtomicBatch, charges: Float64[Tensor, " n_atoms"], formula: PairFormula
    ) -> Float64[Tensor, " n_atoms"]:
        """(n_atoms,) energies in e²/Å of charges (n_atoms,) in e.

        Returns
        -------
        (n_atoms,) float64, e²/Å

        Raises
        ------
        CellError
            When a structure is not periodic in three directions or its cell has no volume.
        ChargeError
            For a charged cell without background.
        ConfigError
            For a formula that is not Coulomb's law at long range.
        """
        if not (isinstance(formula, ScreenedCoulomb) and formula.bare):
            raise ConfigError(f"an Ewald sum is for Coulomb's law beyond a short range, not for {formula}")
        counts = batch.atoms_per_system().tolist()
        systems = zip(batch.positions.split(counts), charges.split(counts), batch.cell, batch.pbc.tolist())
        return torch.cat([self._system_energies(*system, formula) for system in systems])

    def derivatives(
        self, batch: AtomicBatch, charges: Float64[Tensor, " n_atoms"], formula: PairFormula
    ) -> ChargeDerivatives | None:
        """None: autograd joins the derivatives of the parts of this sum."""
        return None

    def _system_energies(
        self, positions: Tensor, charges: Tensor, cell: Tensor, pbc: list[bool], formula: ScreenedCoulomb
    ) -> Tensor:
        """(n_charges,) energies of one cell in e²/Å."""
        volume = torch.linalg.det(cell).abs()
        self._check(charges, float(volume.detach()), pbc)
        split = self.splitting(len(charges), float(volume.detach()), formula.short_range_cutoff)
        screened = replace(formula, alpha=split.alpha, cutoff=split.real_cutoff)
        real = pair_sum(positions, charges, cell[None], _pairs(positions, cell, split.real_cutoff), screened)
        return real + self._smooth_energies(positions, charges, cell, volume, split)

    def _smooth_energies(
        self, positions: Tensor, charges: Tensor, cell: Tensor, volume: Tensor, split: Splitting
    ) -> Tensor:
        """(n_charges,) energies in e²/Å of all that is not summed in real space."""
        own = split.alpha / math.sqrt(math.pi) * charges
        background = math.pi / (2.0 * split.alpha**2) * charges.sum() / volume
        return _reciprocal_energies(positions, charges, cell, volume, split) - charges * (own + background)

    def _check(self, charges: Tensor, volume: float, pbc: list[bool]) -> None:
        """Refuse what an Ewald sum is not defined for; warn once about a charged cell."""
        if not all(pbc):
            flags = "".join("FT"[flag] for flag in pbc)
            raise CellError(
                f'Ewald needs pbc=TTT, got pbc={flags}: choose Coulomb method "dsf", or "simple" for a molecule'
            )
        if not volume > 1e-6:
            raise CellError(f"cell volume {volume:.3g} Å³ is not positive: set three independent cell vectors")
        total = float(charges.detach().sum())
        if abs(total) > NEUTRAL and not self.background:
            raise ChargeError(f"the cell has charge {total:.4g} e: neutralise it, or allow it with background=True")
        self._charged.look_at(total)


def _pairs(positions: Tensor, cell: Tensor, cutoff: float) -> ChargePairs:
    """Pairs of charges, images included, within the real-space cutoff."""
    places, box = positions.detach().cpu().numpy(), cell.detach().cpu().numpy()
    if not np.isfinite(places).all():
        places = places[:0]  # no search; the reciprocal part makes this system's energy NaN and no other's
    index, shifts = pair_list(places, box, np.ones(3, dtype=bool), cutoff)
    device = positions.device
    one_system = torch.zeros(len(positions), dtype=torch.int64, device=device)
    return ChargePairs(torch.as_tensor(index, device=device), torch.as_tensor(shifts, device=device), one_system)


def _reciprocal_energies(positions: Tensor, charges: Tensor, cell: Tensor, volume: Tensor, split: Splitting) -> Tensor:
    """(n_charges,) reciprocal-space energies in e²/Å; each pair ±k counts once, with twice the weight."""
    inverse = torch.linalg.inv(cell)
    indices = torch.as_tensor(half_space(cell.detach().cpu().numpy(), split.reciprocal_cutoff), device=cell.device)
    vectors = 2.0 * math.pi * indices.to(cell.dtype) @ inverse.T
    squared = (vectors * vectors).sum(dim=1)
    weights = 4.0 * math.pi / volume * torch.exp(squared / (-4.0 * split.alpha**2)) / squared
    fractional = positions @ inverse
    fractional = fractional - fractional.detach().floor()
    return structure_factor_energies(fractional, charges, weights, indices)
