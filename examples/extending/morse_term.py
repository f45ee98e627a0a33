"""An energy term: the Morse energy of a bond, which a network then learns the difference to.

It is a function of positions alone, twice differentiable, and returns energies, never forces. Alone it is a potential:

    potential = Potential([NoNetwork((1,))], [MorseTerm()])
    atoms.calc = MolCalculator(Predictor(potential, model="morse", depends_on=()))
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.electrostatics.sums import WithinCutoff
from molcalc.energy_term import EnergyTerm
from molcalc.errors import checked_positive
from molcalc.nn.radial import polynomial_cutoff

H2 = {"depth": 4.748, "steepness": 1.944, "length": 0.7414}
"""D in eV, a in 1/Å and r₀ in Å of H₂: from Dₑ, ωₑ = 4401 1/cm and rₑ of Huber, Herzberg, Constants of Diatomic
Molecules (1979), with a = ωₑ √(μ / 2 Dₑ)."""


class MorseTerm(EnergyTerm):
    r"""Morse energy of all pairs of two elements, which fades out towards a cutoff.

    .. math:: E = \sum_{i<j} D \left[\left(1 - e^{-a (r_{ij} - r_0)}\right)^2 - 1\right] f(r_{ij})

    with f = 1 − 6x⁵ + 15x⁴ − 10x³, x = r / r_c. Half of a pair's energy belongs to either atom.

    Parameters
    ----------
    elements : atomic numbers of the two atoms of a bond.
    depth, steepness, length : D in eV, a in 1/Å, r₀ in Å.
    cutoff : r_c in Å.

    Raises
    ------
    ConfigError
        For a cutoff that is no positive length.

    References
    ----------
    Morse, Phys. Rev. 34, 57 (1929).
    """

    def __init__(
        self,
        elements: tuple[int, int] = (1, 1),
        depth: float = H2["depth"],
        steepness: float = H2["steepness"],
        length: float = H2["length"],
        cutoff: float = 6.0,
    ) -> None:
        super().__init__()
        self.elements = tuple(sorted(elements))
        self.depth, self.steepness, self.length = depth, steepness, length
        self.summation = WithinCutoff(checked_positive("cutoff", cutoff))
        self.pair_cutoff = self.summation.pair_cutoff

    def forward(
        self, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
    ) -> Float64[Tensor, " n_atoms"]:
        """Return the (n_atoms,) energies in eV."""
        pairs = self.summation.pairs(batch)
        pairs = pairs.select(self._bonds(batch.numbers[pairs.index]))
        distances = pairs.vectors(batch.positions, batch.cell).norm(dim=1)
        stretched = 1.0 - torch.exp(-self.steepness * (distances - self.length))
        energies = 0.5 * self.depth * (stretched * stretched - 1.0) * polynomial_cutoff(distances, self.pair_cutoff)
        i, j = pairs.index
        zeros = torch.zeros(batch.n_atoms, dtype=torch.float64, device=energies.device)
        return zeros.index_add(0, i, energies).index_add(0, j, energies)

    def _bonds(self, numbers: Tensor) -> Tensor:
        """Indices of the pairs (2, n_pairs) of the two elements."""
        low, high = self.elements
        return ((numbers.amin(dim=0) == low) & (numbers.amax(dim=0) == high)).nonzero()[:, 0]
