"""PhysNet with distributed charges, from an equivariant or from a plain head.

``charges`` of the trunk enter the head, so that what is learned from electrostatic potentials reaches the whole
network; the head enters the energy only through energy terms that ask for ``dcm_charges``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molcalc.batch import AtomicBatch
from molcalc.errors import ConfigError
from molcalc.models.dcm_heads import EquivariantHead, PlainHead
from molcalc.models.physnet import Edges, PhysNet, PhysNetConfig
from molcalc.models.reference import ReferenceEnergies

REFERENCE_TRUNK: dict[str, Any] = {
    "n_features": 64, "n_modules": 2, "n_interaction": 1, "n_atomic": 1, "n_output": 0,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PhysNetDCMConfig(PhysNetConfig):
    """Sizes of PhysNet-DCM; the defaults make about 850 thousand parameters.

    Attributes
    ----------
    n_dcm : charges per atom.
    head_features, head_layers, head_radial : features of each rank, rounds of messages and radial functions.
    head_cutoff : Å, range of the messages of the head.
    max_displacement : Å, bound on the distance of a charge from its atom.
    exact_monopoles : the charges of an atom add up to its atomic charge; otherwise the loss has to see to that.
    quadrupoles : also predict a quadrupole on each atom, for what charges at a center of symmetry or in the plane of
        a molecule cannot describe.
    """

    n_dcm: int = 3
    head_features: int = 176
    head_layers: int = 2
    head_radial: int = 64
    head_cutoff: float = 10.0
    max_displacement: float = 0.3
    exact_monopoles: bool = True
    quadrupoles: bool = False

    @classmethod
    def reference_size(cls, elements: tuple[int, ...], **changes: Any) -> PhysNetDCMConfig:
        """About 324 thousand parameters, as many as the system this one is compared with."""
        return cls(**{**REFERENCE_TRUNK, "elements": elements, "head_features": 128, "head_radial": 56, **changes})


@dataclass(frozen=True, kw_only=True)
class NonEquivariantConfig(PhysNetConfig):
    """Sizes of PhysNet with the plain head; the defaults make about 450 thousand parameters.

    Attributes
    ----------
    n_dcm : charges per atom.
    head_features, head_layers : width and number of hidden layers.
    trunk_features : show the features of the trunk to the head, beside element and charge.
    max_displacement : Å, bound on the distance of a charge from its atom.
    exact_monopoles : the charges of an atom add up to its atomic charge; otherwise the loss has to see to that.
    """

    n_dcm: int = 3
    head_features: int = 128
    head_layers: int = 3
    trunk_features: bool = True
    max_displacement: float = 0.3
    exact_monopoles: bool = True

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
    """

    float32_parameters = ("trunk.", "head.")
    """Beginnings of the names of parameters that may be in single precision while the others are in double."""
    rotation_invariant: ClassVar[bool]
    """Whether the distributed charges turn with the molecule."""
    head: nn.Module
    cutoff: float

    def __init__(self, config: PhysNetConfig) -> None:
        super().__init__(config.max_number)
        self.config = config
        self.trunk = PhysNet(config)

    def initialize(self) -> DistributedChargeModel:
        """Draw fresh weights (seed torch before) and set all reference energies to zero."""
        self.trunk.initialize()
        self.head.initialize()  # type: ignore[operator]
        with torch.no_grad():
            self.shifts.zero_()
        return self

    @property
    def dtype(self) -> torch.dtype:
        """Arithmetic of the network."""
        return self.trunk.embedding.dtype

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers the model was trained on."""
        return self.config.elements

    @property
    def predicts(self) -> tuple[str, ...]:
        """Names of the predictions beside the atomic energies."""
        return "charges", "dcm_charges", "dcm_positions"

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


class PhysNetDCM(DistributedChargeModel):
    """PhysNet with the equivariant head: charges turn with the molecule."""

    rotation_invariant = True

    def __init__(self, config: PhysNetDCMConfig) -> None:
        super().__init__(config)
        self.head = EquivariantHead(config)
        self.cutoff = max(config.cutoff, config.head_cutoff)

    @property
    def predicts(self) -> tuple[str, ...]:
        """Names of the predictions beside the atomic energies."""
        return (*super().predicts, "atomic_quadrupoles") if self.head.with_quadrupoles else super().predicts


class NonEquivariantDCM(DistributedChargeModel):
    """PhysNet with the plain head: charges keep their direction in space when the molecule turns."""

    rotation_invariant = False

    def __init__(self, config: NonEquivariantConfig) -> None:
        super().__init__(config)
        self.head = PlainHead(config)
        self.cutoff = config.cutoff
