r"""PhysNet: the network that predicts atomic energies and charges from distances.

The model that users train is one of :mod:`molcalc.models.dcm`: this trunk and a head of distributed charges.

References
----------
Unke, Meuwly, J. Chem. Theory Comput. 15, 3678 (2019), doi:10.1021/acs.jctc.9b00181.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, cast

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn

from molcalc.batch import AtomicBatch
from molcalc.io.schema import Range
from molcalc.models.network import Depth, NetworkConfig, Reach, Width
from molcalc.nn.interaction_stack import compiled_stack_usable, interaction_stack
from molcalc.nn.join import join_flat
from molcalc.nn.radial import ExponentialGaussians
from molcalc.nn.residual import Residual, shifted_softplus
from molcalc.nn.segments import segment_sum

OUTPUT_SCALE = 0.1
"""Standard deviation, times √n_features, of fresh output weights: charges and forces start small, but not at zero,
where the gradients of products of them would vanish."""


@dataclass(frozen=True, kw_only=True)
class PhysNetConfig(NetworkConfig):
    """Sizes of the trunk.

    Attributes
    ----------
    n_features : F, features per atom.
    n_radial : K, radial functions.
    n_modules : interaction modules, each of which passes messages once.
    n_interaction : residual blocks on the message of each module.
    n_atomic : residual blocks on the features of each module.
    n_output : residual blocks in the output of each module.
    cutoff : Å, range of the messages of the trunk.
    """

    n_features: Width = 96
    n_radial: Annotated[int, Range(2, 65536)] = 64
    n_modules: Depth = 3
    n_interaction: Annotated[int, Range(0, 100)] = 2
    n_atomic: Annotated[int, Range(0, 100)] = 2
    n_output: Annotated[int, Range(0, 100)] = 1
    cutoff: Reach = 6.0


@dataclass(frozen=True)
class Edges:
    """Edges within a cutoff.

    Attributes
    ----------
    index : (2, n_edges) int64, receiver i and source j.
    vectors : (n_edges, 3) float64 r_ij, Å.
    distances : (n_edges,) float64, Å.
    """

    index: Int[Tensor, "2 n_edges"]
    vectors: Float64[Tensor, "n_edges 3"]
    distances: Float64[Tensor, " n_edges"]

    @classmethod
    def of_batch(cls, batch: AtomicBatch) -> Edges:
        """All edges of a batch."""
        vectors = batch.edge_vectors()
        return cls(batch.edge_index, vectors, (vectors * vectors).sum(dim=1).sqrt())

    def within(self, cutoff: float) -> Edges:
        """The edges shorter than ``cutoff`` Å."""
        return self.chosen(self.distances.detach() < cutoff)

    def chosen(self, mask: Bool[Tensor, " n_edges"]) -> Edges:
        """The edges that (n_edges,) a mask leaves."""
        rows = mask.nonzero()[:, 0]
        if len(rows) == len(self.distances):
            return self
        index, vectors = self.index.index_select(1, rows), self.vectors.index_select(0, rows)
        return Edges(index, vectors, self.distances.index_select(0, rows))


class Interaction(nn.Module):
    r"""One round of messages and the update of the features.

    .. math::
        m_i &= σ(W_I σ(x_i) + b_I) + \sum_j G g(r_{ij}) ∘ σ(W_J σ(x_j) + b_J) \\
        x_i &← u ∘ x_i + W σ(m_i) + b

    with residual blocks on m and on the new x.
    """

    def __init__(self, config: PhysNetConfig) -> None:
        super().__init__()
        size = config.n_features
        self.both = nn.Linear(size, 2 * size)  # W_I and W_J, which act on the same input
        self.message_blocks = nn.Sequential(*(Residual(size) for _ in range(config.n_interaction)))
        self.gate = nn.Parameter(torch.empty(size))
        self.update = nn.Linear(size, size)
        self.atomic_blocks = nn.Sequential(*(Residual(size) for _ in range(config.n_atomic)))
        self.output_blocks = nn.Sequential(*(Residual(size) for _ in range(config.n_output)))
        self.output = nn.Linear(size, 2, bias=False)

    def initialize(self) -> None:
        """Draw fresh weights."""
        initialize_linear(self)
        nn.init.ones_(self.gate)
        nn.init.normal_(self.output.weight, std=OUTPUT_SCALE * len(self.gate) ** -0.5)

    def weights(self) -> list[Float[Tensor, "*_"]]:
        """All weights, in the order of the compiled stack."""
        before = (self.both, *_layers(self.message_blocks))
        after = (self.update, *_layers(self.atomic_blocks), *_layers(self.output_blocks))
        return [*_weights(before), self.gate, *_weights(after), self.output.weight]

    def forward(
        self, x: Float[Tensor, "n_atoms F"], filters: Float[Tensor, "n_edges F"], edge_index: Int[Tensor, "2 n_edges"]
    ) -> tuple[Float[Tensor, "n_atoms F"], Float[Tensor, "n_atoms 2"]]:
        """Return new features (n_atoms, F) and (n_atoms, 2) contributions to energy and charge."""
        own, others = shifted_softplus(self.both(shifted_softplus(x))).chunk(2, dim=1)
        message = own.index_add(0, edge_index[0], filters * others.index_select(0, edge_index[1]))
        message = self.message_blocks(message)
        x = self.atomic_blocks(self.gate * x + self.update(shifted_softplus(message)))
        return x, self.output(shifted_softplus(self.output_blocks(x)))


def _layers(blocks: nn.Sequential) -> list[nn.Linear]:
    """Linear layers of residual blocks."""
    return [layer for block in cast("Iterable[Residual]", blocks) for layer in (block.first, block.second)]


def _weights(layers: Iterable[nn.Linear]) -> list[Tensor]:
    """Weights and biases of linear layers."""
    return [tensor for layer in layers for tensor in (layer.weight, layer.bias)]


class PhysNet(nn.Module):
    """Trunk: features, energies (without those of the free atoms) and charges of atoms."""

    def __init__(self, config: PhysNetConfig) -> None:
        super().__init__()
        size = config.n_features
        self.cutoff = config.cutoff
        self.embedding = nn.Parameter(torch.empty(config.max_number + 1, size))
        self.radial = ExponentialGaussians(config.n_radial, config.cutoff)
        self.filters = nn.Linear(config.n_radial, config.n_modules * size, bias=False)  # G of all modules
        self.interactions = nn.ModuleList(Interaction(config) for _ in range(config.n_modules))
        self.blocks = (config.n_interaction, config.n_atomic, config.n_output)
        self.scales = nn.Parameter(torch.empty(config.max_number + 1, 2))
        self.charge_shifts = nn.Parameter(torch.empty(config.max_number + 1))

    def initialize(self) -> None:
        """Draw fresh weights."""
        bound = 3.0**0.5
        with torch.no_grad():
            nn.init.uniform_(self.embedding, -bound, bound)
            self.radial.initialize()
            initialize_linear(self.filters)
            self.scales.fill_(1.0)
            self.charge_shifts.zero_()
            for interaction in self._stack:
                interaction.initialize()

    def forward(
        self, batch: AtomicBatch, edges: Edges
    ) -> tuple[Float[Tensor, " n_atoms"], Float[Tensor, " n_atoms"], Float[Tensor, "n_atoms F"]]:
        """Evaluate the network.

        Returns
        -------
        energies : (n_atoms,) eV, without the energies of the free atoms.
        charges : (n_atoms,) e, which add up to the total charge of each system.
        features : (n_atoms, F)
        """
        edges = edges.within(self.cutoff)
        basis = self.radial(edges.distances.to(self.embedding.dtype))
        x, outputs = self._interact(self.embedding.index_select(0, batch.numbers), self.filters(basis), edges.index)
        values = self.scales.index_select(0, batch.numbers) * outputs
        charges = values[:, 1] + self.charge_shifts.index_select(0, batch.numbers)
        return values[:, 0], conserve_charge(charges, batch), x

    @property
    def _stack(self) -> list[Interaction]:
        return cast("list[Interaction]", list(self.interactions))

    def _interact(self, x: Tensor, filters: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        """Features after all modules, and the sum of their outputs."""
        if compiled_stack_usable(x, filters):
            weights = join_flat([weight for interaction in self._stack for weight in interaction.weights()])
            n_modules = len(self._stack)
            outputs, x = interaction_stack(filters, x, weights, edge_index, n_modules, self.blocks)
            return x, outputs
        total = x.new_zeros(len(x), 2)
        for interaction, filter_ in zip(self._stack, filters.chunk(len(self._stack), dim=1)):
            x, output = interaction(x, filter_, edge_index)
            total = total + output
        return x, total


def conserve_charge(charges: Float[Tensor, " n_atoms"], batch: AtomicBatch) -> Float[Tensor, " n_atoms"]:
    r"""Share what is missing to the total charge equally: q̃_i = q_i + (Q − Σ_j q_j) / N.

    Parameters
    ----------
    charges : (n_atoms,) e.

    Returns
    -------
    (n_atoms,) e, with the total charge of each system
    """
    total = segment_sum(charges, batch.system_idx, batch.n_systems)
    share = (batch.total_charge.to(charges.dtype) - total) / batch.atoms_per_system()
    return charges + share.index_select(0, batch.system_idx)


def initialize_linear(module: nn.Module) -> None:
    """Draw the weights of all linear layers (Glorot) and set their biases to zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
