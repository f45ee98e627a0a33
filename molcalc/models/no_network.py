"""The network of potentials that have none."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molcalc.batch import AtomicBatch
from molcalc.models.network import Network


class NoNetwork(Network):
    """Network of a potential of energy terms alone, which contributes nothing.

    Parameters
    ----------
    elements : atomic numbers that the terms know.
    """

    cutoff = 3.0  # Å; edges are used to find atoms that are too close
    predicts = ()

    def __init__(self, elements: Sequence[int]) -> None:
        super().__init__()
        self._elements = tuple(elements)
        self.zero = nn.Parameter(torch.zeros((), dtype=torch.float64), requires_grad=False)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the terms know."""
        return self._elements

    def forward(self, batch: AtomicBatch) -> dict[str, Float[Tensor, "n_atoms ..."]]:
        """Return atomic energies of zero."""
        return {"atomic_energies": self.zero.expand(batch.n_atoms)}
