"""AIMNet2 with a head that distributes the charges of atoms, or puts dipoles and quadrupoles on them.

The head reads the features that the last pass of AIMNet2 reads, and the charges; the energy knows nothing of it. On the
weights of a published model it teaches a potential in a minute, and leaves energies and forces as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from jaxtyping import Float
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.models.aimnet2 import AIMNet2Config, AIMNet2Network
from molcalc.models.dcm_heads import ChargeHead, PlainHead, PlainHeadConfig
from molcalc.models.pair_head import PairHead, PairHeadConfig
from molcalc.models.physnet import Edges

Headed = TypeVar("Headed", bound="AIMNet2WithHead")


@dataclass(frozen=True, kw_only=True)
class AIMNet2DCMConfig(PairHeadConfig, AIMNet2Config):
    """Sizes of AIMNet2 with the head of pairs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head_cutoff > self.cutoff:
            raise ValueError(f"head_cutoff={self.head_cutoff} Å is beyond the cutoff of the trunk, {self.cutoff} Å")


@dataclass(frozen=True, kw_only=True)
class AIMNet2NonEquivariantConfig(PlainHeadConfig, AIMNet2Config):
    """Sizes of AIMNet2 with the plain head.

    Attributes
    ----------
    head_elements : atomic numbers that the head learned; () are all of the trunk.
    """

    head_elements: tuple[int, ...] = ()


class AIMNet2WithHead(AIMNet2Network):
    """AIMNet2 whose charges are distributed by a head.

    ``forward`` returns what AIMNet2 does, ``dcm_charges`` (n_atoms, n_dcm) in e, ``dcm_positions`` (n_atoms, n_dcm, 3)
    float64 in Å, and the moments of atoms that the head makes. The head computes in double precision.
    """

    beside_energy = ("head.",)
    head: ChargeHead
    config: AIMNet2DCMConfig | AIMNet2NonEquivariantConfig

    def initialize(self: Headed) -> Headed:
        """Draw fresh weights (seed torch before) and set all reference energies to zero.

        Returns
        -------
        the network itself
        """
        super().initialize()
        self.head.initialize()
        return self

    @property
    def predicts(self) -> tuple[str, ...]:
        """Names of the predictions beside the atomic energies."""
        return (*super().predicts, *self.head.predicts)

    @property
    def charge_elements(self) -> tuple[int, ...]:
        """Atomic numbers that the head learned."""
        return self.config.head_elements or self.elements

    @property
    def fixed_in_space(self) -> tuple[str, ...]:
        """Properties that do not turn with the structure though they should."""
        return self.head.fixed_in_space

    def predictions(
        self, batch: AtomicBatch, charges: Float[Tensor, "n_atoms C"], features: Float[Tensor, "n_atoms A·G"]
    ) -> dict[str, Float[Tensor, "n_atoms ..."]]:
        """Charges of the atoms, and what the head makes of them."""
        found = super().predictions(batch, charges, features)
        return {**found, **self.head(batch, Edges.of_batch(batch), found["charges"], features)}


class AIMNet2DCMNetwork(AIMNet2WithHead):
    """AIMNet2 with the head of pairs: charges turn with the molecule."""

    def __init__(self, config: AIMNet2DCMConfig) -> None:
        super().__init__(config)
        self.head = PairHead(config, config.n_channels * config.n_radial)


class AIMNet2NonEquivariantNetwork(AIMNet2WithHead):
    """AIMNet2 with the plain head: charges keep their direction in space when the molecule turns."""

    def __init__(self, config: AIMNet2NonEquivariantConfig) -> None:
        super().__init__(config)
        self.head = PlainHead(config, config.n_channels * config.n_radial)
