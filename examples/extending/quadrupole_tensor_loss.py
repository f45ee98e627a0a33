"""A loss: the quadrupole as a tensor, so that a molecule may lie in its data in any orientation.

The plain term "quadrupole" averages the errors of the six numbers of a label. An off-diagonal one stands for two
components, so that the same error costs more or less when the molecule turns. Here all nine count:

    fit("co2.db", "physnet-dcm", output="runs/co2", loss={"weights": {"quadrupole_tensor": 10.0}})
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.properties import CYCLIC, PROPERTIES, from_voigt
from molcalc.train.loop.losses import LossTerm, loss_term

N_COMPONENTS = 9


@loss_term("quadrupole_tensor")
class QuadrupoleTensorTerm(LossTerm):
    r"""Error of quadrupoles, averaged over all nine components.

    .. math:: L = \frac{1}{9 N} \sum_{n=1}^N \sum_{ab} \left(Q_{ab}^{(n)} - Q_{ab}^{(n),\mathrm{label}}\right)^2

    For "mse" this is the square of the Frobenius norm, which no rotation changes.
    """

    labels = ("quadrupole",)
    requires = PROPERTIES["quadrupole"].requires

    def count(self, batch: AtomicBatch) -> Float64[Tensor, ""]:
        return N_COMPONENTS * self._labelled(batch).sum().double()

    def total(self, results: Mapping[str, Float[Tensor, " ..."]], batch: AtomicBatch) -> Float64[Tensor, ""]:
        labelled = self._labelled(batch)
        difference = results["quadrupole"].double()[labelled] - batch.labels["quadrupole"][labelled]
        return self.errors(from_voigt(difference, CYCLIC)).sum()

    def _labelled(self, batch: AtomicBatch) -> Bool[Tensor, " n_systems"]:
        """Systems that have a whole quadrupole; a label that is missing is NaN."""
        return torch.isfinite(batch.labels["quadrupole"]).all(dim=1)
