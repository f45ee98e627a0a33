"""PhysNet with distributed charges, from an equivariant or from a plain head.

``charges`` of the trunk enter the head, so that what is learned from electrostatic potentials reaches the whole
network; the head enters the energy only through energy terms that ask for ``dcm_charges``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.errors import ConfigError
from molcalc.models.dcm_heads import ChargeHead, EquivariantHead, EquivariantHeadConfig, PlainHead, PlainHeadConfig
from molcalc.models.network import ReferenceEnergies
from molcalc.models.physnet import Edges, PhysNet, PhysNetConfig

REFERENCE_TRUNK: dict[str, Any] = {
    "n_features": 64, "n_modules": 2, "n_interaction": 1, "n_atomic": 1, "n_output": 0,
}  # fmt: skip
Model = TypeVar("Model", bound="DistributedChargeModel")


@dataclass(frozen=True, kw_only=True)
class PhysNetDCMConfig(EquivariantHeadConfig, PhysNetConfig):
    """Sizes of PhysNet-DCM; the defaults make about 850 thousand parameters."""

    @classmethod
    def reference_size(cls, elements: tuple[int, ...], **changes: Any) -> PhysNetDCMConfig:
        """About 324 thousand parameters, as many as the system this one is compared with."""
        return cls(**{**REFERENCE_TRUNK, "elements": elements, "head_features": 128, "head_radial": 56, **changes})


@dataclass(frozen=True, kw_only=True)
class NonEquivariantConfig(PlainHeadConfig, PhysNetConfig):
    """Sizes of PhysNet with the plain head; the defaults make about 450 thousand parameters."""

    @classmethod
    def reference_size(cls, elements: tuple[int, ...], **changes: Any) -> NonEquivariantConfig:
        """About 122 thousand parameters, as many as the system this one is compared with."""
        return cls(**{**REFERENCE_TRUNK, "elements": elements, "head_features": 120, **changes})


class DistributedChargeModel(ReferenceEnergies):
    """A trunk, a head, and the energies of the free atoms.

    ``forward`` returns ``atomic_energies`` (n_atoms,) float64 in eV, ``charges`` (n_atoms,) in e, ``dcm_charges``
    (n_atoms, n_dcm) in e, ``dcm_positions`` (n_atoms, n_dcm, 3) float64 in Å, and ``atomic_quadrupoles``
    (n_atoms, 3, 3) in e·Å² if the head makes them. Displacements and distances are formed in float64; the network
    works in the dtype of its weights.

    Parameters
    ----------
    config : sizes of both parts.
    """

    float32_parameters = ("trunk.", "head.")
    beside_energy = ("head.",)

    def __init__(self, config: PhysNetConfig, trunk: PhysNet, head: ChargeHead) -> None:
        super().__init__(config.max_number)
        self.config = config
        self.trunk = trunk
        self.head = head

    def initialize(self: Model) -> Model:
        """Draw fresh weights (seed torch before) and set all reference energies to zero."""
        self.trunk.initialize()
        self.head.initialize()
        with torch.no_grad():
            self.shifts.zero_()
        return self

    @property
    def dtype(self) -> torch.dtype:
        """Arithmetic of the network."""
        return self.trunk.embedding.dtype

    @property
    def cutoff(self) -> float:
        """Range of the edges in Å."""
        return max(self.trunk.cutoff, self.head.cutoff)

    @property
    def predicts(self) -> tuple[str, ...]:
        """Names of the predictions beside the atomic energies."""
        return "charges", *self.head.predicts

    @property
    def sees_charge(self) -> bool:
        """False: the total charge only shifts all atomic charges."""
        return False

    @property
    def fixed_in_space(self) -> tuple[str, ...]:
        """What follows from distributed charges that do not turn with the molecule."""
        return self.head.fixed_in_space

    def forward(self, batch: AtomicBatch) -> dict[str, Float[Tensor, "n_atoms ..."]]:
        if batch.cutoff < self.cutoff:
            raise ConfigError(
                f"the edges of the batch reach to {batch.cutoff} Å, the network to {self.cutoff} Å: build the batch "
                f"with cutoff={self.cutoff}"
            )
        edges = Edges.of_batch(batch)
        energies, charges, features = self.trunk(batch, edges)
        predictions = self.head(batch, edges, charges, features)
        predictions["atomic_energies"] = energies.double() + self.reference_energies(batch)
        predictions["charges"] = charges
        return predictions


class PhysNetDCMNetwork(DistributedChargeModel):
    """PhysNet with the equivariant head: charges turn with the molecule."""

    def __init__(self, config: PhysNetDCMConfig) -> None:
        super().__init__(config, PhysNet(config), EquivariantHead(config))


class NonEquivariantDCMNetwork(DistributedChargeModel):
    """PhysNet with the plain head: charges keep their direction in space when the molecule turns."""

    def __init__(self, config: NonEquivariantConfig) -> None:
        super().__init__(config, PhysNet(config), PlainHead(config, config.n_features))
