r"""Energies of two charges as functions of their distance; :mod:`molcalc.electrostatics.sums` says how they are summed.

All of it is in Å, and energies of two unit charges are in e²/Å: they are times :data:`molcalc.units.COULOMB` in eV.
Functions of plain tensors of any shape are what exported programs call too, whose compiler reads their annotations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from molcalc.kernels.constants import LARGEST_ENVELOPE_ARGUMENT, MIN_SQUARED_DISTANCE
from molcalc.nn.switch import smooth_step
from molcalc.units import BOHR

ZBL_PREFACTORS = (0.18175, 0.50986, 0.28022, 0.02817)
ZBL_EXPONENTS = (3.19980, 0.94229, 0.40290, 0.20162)
"""Universal screening function of Ziegler, Biersack and Littmark."""
ZBL_LENGTH, ZBL_POWER = 0.8854 * BOHR, 0.23
"""Screening length in Å of Z = 1 twice over, and how it falls with Z."""
THOLE_SERIES = 0.02
"""Scaled distance below which a series replaces the difference of nearly equal numbers."""


def beyond_short_range(d: Tensor, short_range_cutoff: float, largest: float = LARGEST_ENVELOPE_ARGUMENT) -> Tensor:
    r"""Share of the Coulomb energy that is not left to the network, 1 − g(d).

    .. math:: g(d) = \exp\!\left(1 - \frac{1}{1 - (d/r_s)^2}\right) \text{ for } d < r_s, \text{ else } 0

    Parameters
    ----------
    d : distances in Å, of any shape.
    short_range_cutoff : r_s in Å.
    largest : d / r_s that is put into the envelope at most.

    Returns
    -------
    Numbers between 0 and 1 of the shape of ``d``.

    References
    ----------
    Anstine, Zubatyuk, Isayev, Chem. Sci. 16, 10228 (2025), doi 10.1039/D4SC08572H.
    """
    x = (d / short_range_cutoff).clamp(max=largest)
    inside = -torch.expm1(-x * x / (1.0 - x * x))
    return torch.where(d < short_range_cutoff, inside, torch.ones_like(inside))


def thole_damped_inverse(x: Tensor) -> Tensor:
    r"""Coulomb energy of two charges that are smeared out exponentially, times the scale of their distance.

    .. math:: [1 - (1 + x/2)\, e^{-x}] / x, \qquad ½ \text{ at } x = 0

    Parameters
    ----------
    x : distances a·r / (α_i α_j)^(1/6) ≥ 0, dimensionless, of any shape.

    Returns
    -------
    Numbers of the shape of ``x``.

    References
    ----------
    Thole, Chem. Phys. 59, 341 (1981).
    """
    small = x < THOLE_SERIES
    near = torch.where(small, x, 0.0)
    series = 0.5 - near**2 * (1 / 12 - near * (1 / 24 - near * (1 / 80 - near * (1 / 360 - near / 2016))))
    far = torch.where(small, 1.0, x)
    return torch.where(small, series, (1.0 - (1.0 + 0.5 * far) * torch.exp(-far)) / far)


def zbl_repulsion(
    r: Tensor,
    z_i: Tensor,
    z_j: Tensor,
    switch_start: Tensor,
    cutoff: Tensor,
    prefactors: tuple[float, float, float, float] = ZBL_PREFACTORS,
    exponents: tuple[float, float, float, float] = ZBL_EXPONENTS,
    length: float = ZBL_LENGTH,
    power: float = ZBL_POWER,
) -> Tensor:
    r"""Repulsion of two nuclei screened by their electrons, switched off smoothly.

    .. math:: \frac{Z_i Z_j}{r}\, φ(r/a_{ij})\, s(r), \qquad
        a_{ij} = \frac{0.8854\, a_0}{Z_i^{0.23} + Z_j^{0.23}}, \quad φ(x) = \sum_{k=1}^4 c_k e^{-d_k x}

    Parameters
    ----------
    r : distances > 0 in Å.
    z_i, z_j : atomic numbers as floating point numbers, of shapes that go with ``r``.
    switch_start, cutoff : Å between which s falls from 1 to 0; of shapes that go with ``r``.
    prefactors, exponents, length, power : c, d, a₀·0.8854 in Å and 0.23 above.

    Returns
    -------
    e²/Å, of the shape of ``r``.

    References
    ----------
    Ziegler, Biersack, Littmark, The Stopping and Range of Ions in Solids (Pergamon, 1985), chapter 2.
    """
    scaled = r * (z_i**power + z_j**power) / length
    screening = torch.zeros_like(r)
    for prefactor, exponent in zip(prefactors, exponents):
        screening = screening + prefactor * torch.exp(-exponent * scaled)
    t = ((r - switch_start) / (cutoff - switch_start)).clamp(0.0, 1.0)
    return z_i * z_j / r * screening * (1.0 - smooth_step(t))


class PairFormula(Protocol):
    """Energy of two unit charges as a function of their distance.

    Attributes
    ----------
    cutoff : Å beyond which it is zero; infinite for one that falls as 1/d.
    self_energy : e²/Å that a unit charge has with itself, where the formula brings one along.
    """

    @property
    def cutoff(self) -> float: ...

    @property
    def self_energy(self) -> float: ...

    def value(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Energies in e²/Å at distances d > 0 in Å."""
        ...

    def distances(self, vectors: Float[Tensor, "n_pairs 3"]) -> Float[Tensor, " n_pairs"]:
        """(n_pairs,) lengths in Å at which the formula and its derivative are finite, where it is damped."""
        ...


@dataclass(frozen=True)
class ScreenedCoulomb:
    r"""Coulomb's law, screened and shifted, its short range left to the network; zero for d ≥ ``cutoff``.

    .. math:: φ(d) = \frac{\mathrm{erfc}(α d) - g(d)}{d} + a\,d + b, \qquad
        g(d) = \exp\!\left(1 - \frac{1}{1 - (d/r_s)^2}\right) \text{ for } d < r_s

    Attributes
    ----------
    alpha : screening α in 1/Å; 0 leaves 1/d.
    slope, shift : a in 1/Å² and b in 1/Å.
    cutoff : Å.
    short_range_cutoff : r_s in Å; 0 leaves the envelope g out.
    self_energy : e²/Å, of a unit charge with what the shift puts on the cutoff sphere.
    """

    alpha: float = 0.0
    slope: float = 0.0
    shift: float = 0.0
    cutoff: float = math.inf
    short_range_cutoff: float = 0.0
    self_energy: float = 0.0

    @classmethod
    def shifted_force(cls, alpha: float, cutoff: float, short_range_cutoff: float) -> ScreenedCoulomb:
        r"""The formula whose energy and force vanish at the cutoff R.

        .. math:: φ(d) = v(d) - v(R) - (d - R)\,v'(R) - \frac{g(d)}{d}, \quad v(d) = \frac{\mathrm{erfc}(α d)}{d}

        Returns
        -------
        formula that is zero from the cutoff on

        References
        ----------
        Fennell, Gezelter, J. Chem. Phys. 124, 234104 (2006).
        """
        edge = math.erfc(alpha * cutoff) / cutoff
        gaussian = 2.0 * alpha / math.sqrt(math.pi) * math.exp(-((alpha * cutoff) ** 2))
        slope = (edge + gaussian) / cutoff
        own = -(0.5 * edge + alpha / math.sqrt(math.pi))
        return cls(alpha, slope, -edge - slope * cutoff, cutoff, short_range_cutoff, own)

    def value(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """φ(d) in 1/Å."""
        value = self._numerator(d) / d + (self.slope * d + self.shift)
        return value * (d < self.cutoff)

    def derivative(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """dφ/dd in 1/Å²."""
        change = torch.zeros_like(d)
        if self.short_range_cutoff:
            x = (d / self.short_range_cutoff).clamp(max=LARGEST_ENVELOPE_ARGUMENT)
            rest = 1.0 / (1.0 - x * x)
            envelope = torch.exp(-x * x * rest)
            change = envelope * (2.0 / self.short_range_cutoff) * x * rest * rest
        if self.alpha:
            screened = torch.exp(-((self.alpha * d) ** 2))
            change = change - 2.0 * self.alpha / math.sqrt(math.pi) * screened
        derivative = (change - self._numerator(d) / d) / d + self.slope
        return derivative * (d < self.cutoff)

    def distances(self, vectors: Float[Tensor, "n_pairs 3"]) -> Float[Tensor, " n_pairs"]:
        """(n_pairs,) distances in Å; bounded from below where φ is damped."""
        if self.short_range_cutoff:
            return distances_above_zero(vectors)
        return (vectors * vectors).sum(dim=1).sqrt()

    def _numerator(self, d: Tensor) -> Tensor:
        """erfc(αd) − g(d), without cancellation where both are near 1 or erfc is tiny."""
        far = torch.special.erfc(self.alpha * d) if self.alpha else torch.ones_like(d)
        if not self.short_range_cutoff:
            return far
        x = (d / self.short_range_cutoff).clamp(max=LARGEST_ENVELOPE_ARGUMENT)
        near = -torch.expm1(-x * x / (1.0 - x * x))
        if self.alpha:
            near = near - torch.special.erf(self.alpha * d)
        return torch.where(d < self.short_range_cutoff, near, far)

    @cached_property
    def bare(self) -> bool:
        """Whether φ(d) = (1 − g(d)) / d at every distance."""
        return (self.alpha, self.slope, self.shift, self.cutoff) == (0.0, 0.0, 0.0, math.inf)

    @cached_property
    def parameters(self) -> Float64[np.ndarray, " 5"]:
        """(5,) float64, in the order the compiled kernels read them."""
        return np.array([self.alpha, self.slope, self.shift, self.cutoff, self.short_range_cutoff])


@dataclass(frozen=True)
class SoftenedCoulomb:
    r"""PhysNet's Coulomb law: 1/√(d²+1) where the network sees the charges, exact beyond.

    .. math:: φ(d) = (1 - s)\, v(\sqrt{d^2 + 1}) + s\, v(d), \qquad s = 10y^3 - 15y^4 + 6y^5, \quad y = \min(d/d_0, 1)

    where v(d) = 1/d, or v(d) = 1/d + d/L² − 2/L for d < L and 0 beyond when there is a cutoff L, at which energy and
    force then vanish.

    Attributes
    ----------
    exact_from : d₀ in Å.
    cutoff : L in Å.

    References
    ----------
    Unke, Meuwly, J. Chem. Theory Comput. 15, 3678 (2019).
    """

    exact_from: float
    cutoff: float = math.inf
    self_energy: ClassVar[float] = 0.0

    def value(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """φ(d) in 1/Å."""
        switch = smooth_step((d / self.exact_from).clamp(max=1.0))
        return (1.0 - switch) * self._interaction(torch.sqrt(d * d + 1.0), d) + switch * self._interaction(d, d)

    def distances(self, vectors: Float[Tensor, "n_pairs 3"]) -> Float[Tensor, " n_pairs"]:
        """(n_pairs,) distances in Å, bounded from below."""
        return distances_above_zero(vectors)

    def _interaction(self, softened: Tensor, d: Tensor) -> Tensor:
        if math.isinf(self.cutoff):
            return 1.0 / softened
        return (1.0 / softened + softened / self.cutoff**2 - 2.0 / self.cutoff) * (d < self.cutoff)


def distances_above_zero(vectors: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    """(n,) lengths in Å, bounded from below so that a damped energy of coinciding charges has a gradient."""
    return (vectors * vectors).sum(dim=1).clamp(min=MIN_SQUARED_DISTANCE).sqrt()
