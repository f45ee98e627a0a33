"""A network: energies that are linear in smooth functions of the distances, with its calculator and its entry.

A kind of model is closed to the outside: a file may name only what is in the table ``molcalc.registry.MODELS``, so that
reading it never imports anything. In the package the parts stand in ``models/linear_pairs.py``,
``calculators/linear_pairs.py`` and ``registry.py``.

    fit("molecules.db", "linear-pairs", output="runs/linear")
    atoms.calc = LinearPairsCalculator("runs/linear")
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molcalc.assembly.opening import AnyModel
from molcalc.assembly.potentials import PotentialOptions
from molcalc.batch import AtomicBatch
from molcalc.calculators.of_model import ModelCalculator
from molcalc.io.schema import Range
from molcalc.models.network import NetworkConfig, Reach, ReferenceEnergies
from molcalc.nn.radial import exponential_gaussians
from molcalc.nn.segments import segment_sum
from molcalc.prediction.options import PredictorOptions
from molcalc.registry import ModelEntry, Training

FRESH_WEIGHTS = 0.01
"""eV, standard deviation of random weights: small beside bonds, but not zero, where all pairs would be alike."""


@dataclass(frozen=True, kw_only=True)
class LinearPairsConfig(NetworkConfig):
    """Sizes of the model.

    Attributes
    ----------
    n_radial : K, radial functions.
    cutoff : Å, range of the pairs.
    """

    n_radial: Annotated[int, Range(2, 1000)] = 16
    cutoff: Reach = 5.0


class LinearPairs(ReferenceEnergies):
    r"""Sum over neighbors of radial functions, weighted by the elements of both atoms.

    .. math:: E_i = E_{Z_i} + \sum_j \sum_k w_{Z_i Z_j k}\, g_k(r_{ij})

    with the g of :mod:`molcalc.nn.radial`, evenly spaced in exp(−r). It predicts energies alone.

    Parameters
    ----------
    config : sizes; weights are not initialized.
    """

    float32_parameters = ("weights",)
    predicts = ()
    config: LinearPairsConfig

    def __init__(self, config: LinearPairsConfig) -> None:
        super().__init__(config.max_number)
        self.config = config
        n_elements = len(config.elements)
        self.weights = nn.Parameter(torch.empty(n_elements, n_elements, config.n_radial))

    @property
    def cutoff(self) -> float:
        """Range of the edges in Å."""
        return self.config.cutoff

    @property
    def dtype(self) -> torch.dtype:
        """Arithmetic of the weights."""
        return self.weights.dtype

    def initialize(self) -> LinearPairs:
        """Draw fresh weights (seed torch before) and set all reference energies to zero."""
        with torch.no_grad():
            self.weights.normal_(std=FRESH_WEIGHTS)
            self.shifts.zero_()
        return self

    def forward(self, batch: AtomicBatch) -> dict[str, Float[Tensor, "n_atoms ..."]]:
        functions = self._radial(batch.edge_vectors().norm(dim=1)).to(self.dtype)
        known = torch.tensor(self.config.elements, device=batch.numbers.device)
        species = (batch.numbers[:, None] == known).int().argmax(dim=1)
        i, j = batch.edge_index
        energies = (self.weights[species[i], species[j]] * functions).sum(dim=1).double()
        energies = segment_sum(energies, i, batch.n_atoms)
        return {"atomic_energies": energies + self.reference_energies(batch)}

    def _radial(self, distances: Float[Tensor, " n_edges"]) -> Float[Tensor, "n_edges n_radial"]:
        """g_k at distances in Å; neighboring ones overlap as in PhysNet."""
        last, n_radial = math.exp(-self.cutoff), self.config.n_radial
        centers = torch.linspace(last, 1.0, n_radial, dtype=distances.dtype, device=distances.device)
        widths = torch.full_like(centers, (n_radial / 2.0 / (1.0 - last)) ** 2)
        return exponential_gaussians(distances, centers, widths, self.cutoff)


class LinearPairsCalculator(ModelCalculator):
    """Energies, forces and stress from a linear model; options are those of :class:`molcalc.PhysNetDCM`."""

    name = "linear-pairs"

    def __init__(
        self,
        model: AnyModel,
        *,
        fidelity: str | None = None,
        dispersion: Any = "auto",
        coulomb: str = "auto",
        member: int | None = None,
        **options: Any,
    ) -> None:
        energy = PotentialOptions(dispersion=dispersion, coulomb=coulomb, member=member)
        super().__init__(model, fidelity, energy, PredictorOptions(**options))


ENTRY = ModelEntry(
    network=LinearPairs,
    config=LinearPairsConfig,
    calculator=f"{__name__}.LinearPairsCalculator",
    training=Training(options={"batch_size": 32, "epochs": 100, "learning_rate": 0.01}),
)
"""The line ``"linear-pairs": ENTRY`` of the table."""
