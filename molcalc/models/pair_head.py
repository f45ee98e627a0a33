r"""Head that tells charges and moments of atoms from the features of a trunk, by messages between pairs of atoms.

.. math::
    h_i &= σ(W x_i + w\, q_i + e_{Z_i}), \qquad
    w_{ij} = f_c(r_{ij})\, \mathrm{MLP}(A h_i + B h_j + C g(r_{ij})) \\
    q'_i &= q_i + \sum_j (w^q_{ij} - w^q_{ji}), \qquad
    V_{ic} = \sum_j w^V_{ijc}\, u_{ij}, \qquad T_{ic} = \sum_j w^T_{ijc}\, [u_{ij} ⊗ u_{ij}]_0

Each edge carries charge from one of its atoms to the other: whatever the weights are, the total charge stays. A second
perceptron of h_i, |V_ic|² and |T_ic|² says how charges, dipoles and quadrupoles of the atom are made of V and T.

Charges that follow vectors stay in the mirror planes of an atom, and at its centers of symmetry: no vector leads out of
the plane of benzene, where its π electrons are. Of three charges or more, two therefore lie on both sides of the atom,
on an axis that has no direction, the principal axis of M = Σ_c y_c T_c. Their charges −(λ_1 − λ_0) / 2d² vanish where
the axis is not defined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from molcalc.batch import AtomicBatch
from molcalc.io.schema import Range
from molcalc.models.dcm_heads import ChargeHead, HeadConfig, distribute
from molcalc.models.network import Depth, Reach, Width
from molcalc.models.physnet import Edges
from molcalc.nn.cartesian import Directions, to_matrix
from molcalc.nn.principal_axis import principal_axis
from molcalc.nn.radial import ExponentialGaussians, polynomial_cutoff


@dataclass(frozen=True, kw_only=True)
class PairHeadConfig(HeadConfig):
    """Sizes of the head of pairs.

    Attributes
    ----------
    multipoles : put a charge, a dipole and a quadrupole on each atom in place of several charges around it; ``n_dcm``
        is 1 then.
    head_elements : atomic numbers that the head learned; atoms of others, and pairs with them, keep their charge, and
        have no moments. () are all of the trunk.
    axial_pair : two of at least three charges lie opposite to each other.
    pair_distance : Å, of both from their atom.
    exact_monopoles : the charges of an atom add up to its charge in the trunk; otherwise pairs of atoms exchange some.
    head_features, head_channels, head_radial : features of an atom, vectors and tensors of an atom, radial functions.
    pair_features, pair_layers : width and number of hidden layers of the perceptron of a pair.
    head_cutoff : Å, range of its messages; at most that of the trunk.
    """

    n_dcm: Annotated[int, Range(1, 100)] = 4
    max_displacement: Reach = 0.5
    exact_monopoles: bool = False
    multipoles: bool = False
    head_elements: tuple[int, ...] = ()
    axial_pair: bool = True
    pair_distance: Annotated[float, Range(0, 100, above=True)] = 0.5
    head_features: Width = 64
    head_channels: Width = 8
    head_radial: Annotated[int, Range(2, 65536)] = 16
    pair_features: Width = 96
    pair_layers: Depth = 2
    head_cutoff: Reach = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.multipoles and self.n_dcm != 1:
            raise ValueError(f"n_dcm={self.n_dcm} with multipoles=True: moments belong to one charge per atom, n_dcm=1")

    @property
    def n_directed(self) -> int:
        """Charges per atom that follow vectors."""
        return self.n_dcm - 2 if self.axial_pair and self.n_dcm >= 3 else self.n_dcm


class PairHead(ChargeHead):
    """Charges, and vectors or moments, from features of a trunk and pairs of atoms.

    Parameters
    ----------
    n_features : F, features per atom of the trunk.
    """

    def __init__(self, config: PairHeadConfig, n_features: int) -> None:
        super().__init__()
        c = self.config = config
        self.cutoff = config.head_cutoff
        if config.multipoles:
            self.predicts = (*self.predicts, "atomic_dipoles", "atomic_quadrupoles")
        self.embedding = nn.Parameter(torch.empty(c.max_number + 1, c.head_features))
        self.from_charge = nn.Parameter(torch.empty(c.head_features))
        self.enter = nn.Linear(n_features, c.head_features)
        self.radial = ExponentialGaussians(c.head_radial, c.head_cutoff)
        self.receiver = nn.Linear(c.head_features, c.pair_features)
        self.source = nn.Linear(c.head_features, c.pair_features, bias=False)
        self.distance = nn.Linear(c.head_radial, c.pair_features, bias=False)
        self.pair_hidden = nn.ModuleList(nn.Linear(c.pair_features, c.pair_features) for _ in range(c.pair_layers - 1))
        self.pair_leave = nn.Linear(c.pair_features, 1 + 2 * c.head_channels)
        self.atom_hidden = nn.Linear(c.head_features + 2 * c.head_channels, c.head_features)
        n_mixtures = 3 if c.multipoles else c.n_directed + (c.n_directed < c.n_dcm)
        outputs = n_mixtures * c.head_channels + (0 if c.multipoles else c.n_directed)
        self.atom_leave = nn.Linear(c.head_features, outputs)

    def initialize(self) -> None:
        """Draw fresh weights, small ones: from larger ones, molecules that were not learned come out worse."""
        nn.init.normal_(self.embedding)
        nn.init.normal_(self.from_charge)
        self.radial.initialize()
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        if self.config.multipoles:  # moments begin as averages of vectors and tensors
            channels = self.config.head_channels
            with torch.no_grad():
                self.atom_leave.bias[: 2 * channels] = 1.0 / channels

    def forward(
        self, batch: AtomicBatch, edges: Edges, charges: Float[Tensor, " n_atoms"], features: Float[Tensor, "n_atoms F"]
    ) -> dict[str, Float[Tensor, "n_atoms ..."]]:
        """Charges and their positions, and with multipoles the moments of atoms."""
        c, dtype = self.config, self.from_charge.dtype
        edges = edges.within(c.head_cutoff)
        charges, features = charges.to(dtype), features.to(dtype)
        entered = self.enter(features) + charges[:, None] * self.from_charge
        h = functional.silu(entered + self.embedding.index_select(0, batch.numbers))
        if c.head_elements:
            edges = edges.chosen(_learned(batch, c.head_elements, edges))
        moved, vectors, tensors = self._messages(h, edges)
        if not c.exact_monopoles:
            charges = charges + moved
        norms = [part.square().sum(dim=1) for part in (vectors, tensors)]
        made = self.atom_leave(functional.silu(self.atom_hidden(torch.cat([h, *norms], dim=1))))
        if c.multipoles:
            return self._on_atoms(batch, charges, vectors, tensors, made)
        return self._around_atoms(batch, charges, vectors, tensors, made)

    def _messages(self, h: Tensor, edges: Edges) -> tuple[Tensor, Tensor, Tensor]:
        """Charges (n_atoms,) that pairs exchange, vectors (n_atoms, 3, C) and tensors (n_atoms, 5, C) of the atoms."""
        dtype, (i, j) = h.dtype, edges.index
        distances = edges.distances.to(dtype)
        pair = self.receiver(h).index_select(0, i) + self.source(h).index_select(0, j)
        pair = functional.silu(pair + self.distance(self.radial(distances)))
        for layer in self.pair_hidden:
            pair = functional.silu(layer(pair))
        weights = self.pair_leave(pair) * polynomial_cutoff(distances, self.cutoff)[:, None]
        flow, directed = weights[:, 0], weights[:, 1:].view(-1, 2, self.config.head_channels)
        moved = h.new_zeros(len(h)).index_add(0, i, flow).index_add(0, j, -flow)
        directions = Directions(edges.index, (edges.vectors / edges.distances[:, None]).to(dtype))
        vectors, tensors = directed_sums(directed, directions, len(h))
        return moved, vectors, tensors

    def _around_atoms(
        self, batch: AtomicBatch, charges: Tensor, vectors: Tensor, tensors: Tensor, made: Tensor
    ) -> dict[str, Tensor]:
        """Several charges around each atom."""
        c = self.config
        weights, mixed = made[:, : c.n_directed], made[:, None, c.n_directed :].unflatten(2, (-1, c.head_channels))
        sites = (mixed[:, :, : c.n_directed] * vectors[:, :, None]).sum(dim=3).mT
        found = distribute(batch, charges, weights - weights.mean(dim=1, keepdim=True), sites, c)
        if c.n_directed == c.n_dcm:
            return found
        leaning = to_matrix((mixed[:, 0, -1:] * tensors).sum(dim=2))
        axis, gap = principal_axis(leaning, toward=vectors.mean(dim=2))
        pair = (-0.5 * gap / c.pair_distance**2)[:, None].expand(-1, 2)
        arms = c.pair_distance * torch.stack([axis, -axis], dim=1)
        near = found["dcm_charges"] - pair.sum(dim=1, keepdim=True) / c.n_directed
        return {
            "dcm_charges": torch.cat([near, pair], dim=1),
            "dcm_positions": torch.cat([found["dcm_positions"], batch.positions[:, None] + arms.double()], dim=1),
        }

    def _on_atoms(
        self, batch: AtomicBatch, charges: Tensor, vectors: Tensor, tensors: Tensor, made: Tensor
    ) -> dict[str, Tensor]:
        """Charges, dipoles and quadrupoles on the atoms."""
        of_vectors, of_tensors, of_products = made[:, None].split(self.config.head_channels, dim=2)
        quadrupoles = to_matrix((of_tensors * tensors).sum(dim=2))
        quadrupoles = quadrupoles + traceless_square(vectors, of_products)
        return {
            "dcm_charges": charges[:, None],
            "dcm_positions": batch.positions[:, None],
            "atomic_dipoles": (of_vectors * vectors).sum(dim=2),
            "atomic_quadrupoles": quadrupoles,
        }


def _learned(batch: AtomicBatch, elements: tuple[int, ...], edges: Edges) -> Tensor:
    """(n_edges,) bool, edges between atoms of these elements."""
    known = torch.isin(batch.numbers, torch.tensor(elements, device=batch.numbers.device))
    return known.index_select(0, edges.index[0]) & known.index_select(0, edges.index[1])


def directed_sums(
    weights: Float[Tensor, "n_edges 2 C"], directions: Directions, n_atoms: int
) -> tuple[Float[Tensor, "n_atoms 3 C"], Float[Tensor, "n_atoms 5 C"]]:
    """Sums over the edges of each atom: w u, and the five components of w [u ⊗ u]₀.

    Parameters
    ----------
    weights : (n_edges, 2, C) radial weights w of both.

    Returns
    -------
    (n_atoms, 3, C) and (n_atoms, 5, C)
    """
    tensor = torch.einsum("eak,ea->ek", directions.project, directions.unit)
    vectors = directions.unit[:, :, None] * weights[:, :1]
    tensors = tensor[:, :, None] * weights[:, 1:]
    both = torch.cat([vectors, tensors], dim=1)
    summed = both.new_zeros(n_atoms, *both.shape[1:]).index_add(0, directions.index[0], both)
    return summed[:, :3], summed[:, 3:]


def traceless_square(
    vectors: Float[Tensor, "n_atoms 3 C"], weights: Float[Tensor, "n_atoms 1 C"]
) -> Float[Tensor, "n_atoms 3 3"]:
    """(n_atoms, 3, 3) Σ_c w_c [V_c ⊗ V_c]₀, symmetric and without trace."""
    square = torch.einsum("nxc,nyc->nxy", weights * vectors, vectors)
    trace = square.diagonal(dim1=1, dim2=2).mean(dim=1)
    return square - trace[:, None, None] * torch.eye(3, dtype=square.dtype, device=square.device)
