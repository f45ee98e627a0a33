r"""Heads that distribute the charge of each atom over point charges around it.

.. math:: q_{ik} = \frac{\tilde q_i}{n} + w_{ik} - \frac{1}{n} \sum_l w_{il}, \qquad
    x_{ik} = R_i + d_{\max} \frac{v_{ik}}{\sqrt{1 + |v_{ik}|^2}}

for k = 1…n: the charges of an atom add up to its atomic charge q̃, and stay within d_max of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from molcalc.batch import AtomicBatch
from molcalc.io.schema import Range
from molcalc.models.network import Depth, NetworkConfig, Reach, Width
from molcalc.models.physnet import Edges, initialize_linear
from molcalc.nn.cartesian import PATHS, Directions, cartesian_message, scalar_message, to_matrix
from molcalc.nn.radial import ExponentialGaussians


@dataclass(frozen=True, kw_only=True)
class HeadConfig(NetworkConfig):
    """Sizes of every head: the charges that it distributes.

    Attributes
    ----------
    n_dcm : charges per atom.
    max_displacement : Å, bound on the distance of a charge from its atom.
    exact_monopoles : the charges of an atom add up to its atomic charge; otherwise the loss has to see to that.
    """

    n_dcm: Annotated[int, Range(1, 100)] = 3
    max_displacement: Reach = 0.3
    exact_monopoles: bool = True


@dataclass(frozen=True, kw_only=True)
class EquivariantHeadConfig(HeadConfig):
    """Sizes of the equivariant head.

    Attributes
    ----------
    head_features : features of each rank.
    head_layers : rounds of messages.
    head_radial : radial functions.
    head_cutoff : Å, range of the messages of the head.
    quadrupoles : also predict a quadrupole on each atom, for what charges at a center of symmetry or in the plane of
        a molecule cannot describe.
    """

    head_features: Width = 176
    head_layers: Depth = 2
    head_radial: Annotated[int, Range(2, 65536)] = 64
    head_cutoff: Reach = 10.0
    quadrupoles: bool = False


@dataclass(frozen=True, kw_only=True)
class PlainHeadConfig(HeadConfig):
    """Sizes of the plain head.

    Attributes
    ----------
    head_features : width of the hidden layers.
    head_layers : hidden layers.
    trunk_features : show the features of the trunk to the head, beside element and charge.
    """

    head_features: Width = 128
    head_layers: Depth = 3
    trunk_features: bool = True


def distribute(
    batch: AtomicBatch,
    charges: Float[Tensor, " n_atoms"],
    weights: Float[Tensor, "n_atoms n_dcm"],
    vectors: Float[Tensor, "n_atoms n_dcm 3"],
    config: HeadConfig,
) -> dict[str, Float[Tensor, "n_atoms n_dcm ..."]]:
    """Charges and their positions, from what a head returns.

    Parameters
    ----------
    charges : (n_atoms,) q̃ in e.
    weights : (n_atoms, n_dcm) w in e.
    vectors : (n_atoms, n_dcm, 3) v, of any length.

    Returns
    -------
    ``dcm_charges`` (n_atoms, n_dcm) e and ``dcm_positions`` (n_atoms, n_dcm, 3) float64, Å
    """
    if config.exact_monopoles:
        weights = weights - weights.mean(dim=1, keepdim=True)
    shorten = torch.rsqrt(1.0 + (vectors * vectors).sum(dim=2, keepdim=True))
    displacements = config.max_displacement * shorten * vectors
    return {
        "dcm_charges": charges[:, None] / weights.shape[1] + weights,
        "dcm_positions": batch.positions[:, None] + displacements.double(),
    }


class RankLinear(nn.Module):
    """One linear map per rank, with a bias for scalars."""

    def __init__(self, n_features: int, n_ranks: int) -> None:
        super().__init__()
        self.ranks = nn.ModuleList(nn.Linear(n_features, n_features, bias=rank == 0) for rank in range(n_ranks))

    def forward(self, parts: list[Float[Tensor, "n_atoms ... F"]]) -> list[Float[Tensor, "n_atoms ... F"]]:
        return [linear(part) for linear, part in zip(self.ranks, parts)]


class RankBlock(nn.Module):
    """x + W₂ γ(W₁ x), where γ multiplies all ranks by the sigmoid of the scalars."""

    def __init__(self, n_features: int, n_ranks: int) -> None:
        super().__init__()
        self.first = RankLinear(n_features, n_ranks)
        self.second = RankLinear(n_features, n_ranks)

    def forward(self, parts: list[Float[Tensor, "n_atoms ... F"]]) -> list[Float[Tensor, "n_atoms ... F"]]:
        hidden = self.first(parts)
        gate = torch.sigmoid(hidden[0])
        gated = [part * (gate if rank == 0 else gate[:, None]) for rank, part in enumerate(hidden)]
        return [part + change for part, change in zip(parts, self.second(gated))]


class ChargeHead(nn.Module, ABC):
    """Part of a network that distributes the charges of atoms.

    Attributes
    ----------
    fixed_in_space : properties that do not turn with the molecule, because the distributed charges do not.
    cutoff : Å, range of the edges that it reads.
    predicts : names of what it returns.
    """

    fixed_in_space: ClassVar[tuple[str, ...]] = ()
    cutoff: float
    predicts: tuple[str, ...] = ("dcm_charges", "dcm_positions")

    @abstractmethod
    def initialize(self) -> None:
        """Draw fresh weights."""

    @abstractmethod
    def forward(
        self, batch: AtomicBatch, edges: Edges, charges: Float[Tensor, " n_atoms"], features: Float[Tensor, "n_atoms F"]
    ) -> dict[str, Float[Tensor, "n_atoms ..."]]:
        """Distributed charges by name, from charges (n_atoms,) in e and features (n_atoms, F) of the trunk."""


class EquivariantHead(ChargeHead):
    """Messages of Cartesian tensors up to rank 2 (see :mod:`molcalc.nn.cartesian`).

    The first layer finds scalars only, and ranks that nothing reads are left out of the last: their weights would
    not change any result.
    """

    def __init__(self, config: EquivariantHeadConfig) -> None:
        super().__init__()
        size = config.head_features
        self.config = config
        self.cutoff = config.head_cutoff
        if config.quadrupoles:
            self.predicts = (*self.predicts, "atomic_quadrupoles")
        last = 3 if config.quadrupoles else 2
        self.n_ranks = [3] * (config.head_layers - 1) + [last]
        self.n_paths = [self.n_ranks[0], *(PATHS[n - 1] for n in self.n_ranks[1:])]
        self.embedding = nn.Parameter(torch.empty(config.max_number + 1, size))
        self.from_charge = nn.Parameter(torch.empty(size))
        self.radial = ExponentialGaussians(config.head_radial, config.head_cutoff)
        self.filters = nn.Linear(config.head_radial, sum(self.n_paths) * size, bias=False)
        self.blocks = nn.ModuleList(RankBlock(size, n) for n in self.n_ranks)
        self.to_weights = nn.Linear(size, config.n_dcm)
        self.to_vectors = nn.Linear(size, config.n_dcm, bias=False)
        if config.quadrupoles:
            self.to_quadrupoles = nn.Linear(size, 1, bias=False)

    def initialize(self) -> None:
        """Draw fresh weights."""
        nn.init.normal_(self.embedding)
        nn.init.normal_(self.from_charge)
        self.radial.initialize()
        initialize_linear(self)

    def forward(
        self, batch: AtomicBatch, edges: Edges, charges: Float[Tensor, " n_atoms"], features: Float[Tensor, "n_atoms F"]
    ) -> dict[str, Float[Tensor, "n_atoms ..."]]:
        """Distributed charges, and quadrupoles if configured; the features of the trunk are not used."""
        size, dtype = self.config.head_features, self.embedding.dtype
        edges = edges.within(self.config.head_cutoff)
        directions = Directions(edges.index, (edges.vectors / edges.distances[:, None]).to(dtype))
        filters = self.filters(self.radial(edges.distances.to(dtype))).view(-1, sum(self.n_paths), size)
        scalars = self.embedding.index_select(0, batch.numbers) + charges[:, None] * self.from_charge
        parts = [scalars]
        for block, weights, n_ranks in zip(self.blocks, filters.split(self.n_paths, dim=1), self.n_ranks):
            if len(parts) == 1:
                message = scalar_message(scalars, weights, directions, n_ranks)
                parts = [scalars + message[0], *message[1:]]
            else:
                message = cartesian_message(parts, weights, directions, n_ranks)
                parts = [part + added for part, added in zip(parts, message)]
            parts = block(parts)
        vectors = self.to_vectors(parts[1]).mT
        predictions = distribute(batch, charges, self.to_weights(parts[0]), vectors, self.config)
        if self.config.quadrupoles:
            predictions["atomic_quadrupoles"] = to_matrix(self.to_quadrupoles(parts[2])[:, :, 0])
        return predictions


class PlainHead(ChargeHead):
    """Perceptron on element, charge and features of the trunk: blind to directions.

    Parameters
    ----------
    n_features : F, features per atom of the trunk.
    """

    fixed_in_space = ("dcm_positions", "dcm_dipole", "esp")
    cutoff = 0.0

    def __init__(self, config: PlainHeadConfig, n_features: int) -> None:
        super().__init__()
        self.config = config
        size = config.head_features
        self.embedding = nn.Parameter(torch.empty(config.max_number + 1, size))
        n_inputs = 1 + (n_features if config.trunk_features else 0)
        self.enter = nn.Linear(n_inputs, size, bias=False)
        self.hidden = nn.ModuleList(nn.Linear(size, size) for _ in range(config.head_layers - 1))
        self.leave = nn.Linear(size, 4 * config.n_dcm)

    def initialize(self) -> None:
        """Draw fresh weights."""
        nn.init.normal_(self.embedding)
        initialize_linear(self)

    def forward(
        self, batch: AtomicBatch, edges: Edges, charges: Float[Tensor, " n_atoms"], features: Float[Tensor, "n_atoms F"]
    ) -> dict[str, Float[Tensor, "n_atoms ..."]]:
        """Distributed charges."""
        inputs = charges[:, None]
        if self.config.trunk_features:
            inputs = torch.cat([inputs, features], dim=1)
        hidden = functional.silu(self.embedding.index_select(0, batch.numbers) + self.enter(inputs))
        for layer in self.hidden:
            hidden = functional.silu(layer(hidden))
        weights, vectors = self.leave(hidden).split((self.config.n_dcm, 3 * self.config.n_dcm), dim=1)
        return distribute(batch, charges, weights, vectors.view(batch.n_atoms, self.config.n_dcm, 3), self.config)
