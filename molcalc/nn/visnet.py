r"""ViSNet: scalars and vectors on atoms, angles and torsions seen at the cost of pairs.

With vectors on atoms :math:`V_i \approx \sum_j \hat u_{ij}`, the product :math:`\langle V_i, V_i\rangle` sums cosines
of angles, and what is left of V_i and V_j perpendicular to the bond between them has the product

.. math:: \langle \mathrm{Rej}_{\hat u}(V_i), \mathrm{Rej}_{\hat u}(V_j)\rangle, \qquad
    \mathrm{Rej}_{\hat u}(v) = v - \langle v, Y(\hat u)\rangle\, Y(\hat u)

which sums cosines of torsions. Every degree of the harmonics is rejected by itself: over all components together,
I − YYᵀ would be a reflection, and the product the same whatever the torsion.

All scalars are the same for mirror images; :class:`Pseudoscalars` tell these apart.

References
----------
Wang, Wang, Li, He, Li, Wang, Zheng, Shao, Liu, Nat. Commun. 15, 313 (2024).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from molcalc.nn.dense_graph import DenseGraph, lengths
from molcalc.nn.vector_basis import cosine_cutoff

LEAST_SQUARE = 1e-10
"""Below squares of vectors that have a direction."""


@dataclass(frozen=True)
class EdgeGeometry:
    """Geometry of pairs of a batch.

    Attributes
    ----------
    graph : who is whose neighbor.
    radial : (n_structures, n_atoms, n_places, n_radial) radial functions.
    harmonics : (…, n_components) Y(û_ij), one unit vector for each degree.
    cutoff : (…,) C(r_ij); 0 at empty places.
    """

    graph: DenseGraph
    radial: Float[Tensor, "n_structures n_atoms n_places n_radial"]
    harmonics: Float[Tensor, "n_structures n_atoms n_places n_components"]
    cutoff: Float[Tensor, "n_structures n_atoms n_places"]


def edges_of(
    positions: Float[Tensor, "n_structures n_atoms 3"], graph: DenseGraph, cutoff: float, n_radial: int, degree: int
) -> EdgeGeometry:
    """Radial functions, harmonics and cutoff function of all pairs.

    Parameters
    ----------
    positions : Å.
    cutoff : Å.
    degree : highest of the harmonics.

    Returns
    -------
    geometry of the pairs
    """
    vectors = graph.vectors(positions)
    distances = lengths(vectors)
    inside = cosine_cutoff(distances, cutoff) * graph.present
    radial = exponential_normal(distances, cutoff, n_radial) * inside[..., None]
    return EdgeGeometry(graph, radial, harmonics(vectors / distances[..., None], degree), inside)


def exponential_normal(
    distances: Float[Tensor, "*shape"], cutoff: float, n_radial: int
) -> Float[Tensor, "*shape n_radial"]:
    """exp(−β (e^{−αr} − μ_k)²) with α = 5/r_c, and μ_k spaced evenly from e^{−5}, its value at the cutoff, to 1."""
    last = math.exp(-5.0)
    centers = torch.linspace(last, 1.0, n_radial, dtype=distances.dtype, device=distances.device)
    width = (2.0 / n_radial * (1.0 - last)) ** -2
    return torch.exp(-width * (torch.exp(-5.0 / cutoff * distances)[..., None] - centers).square())


def harmonics(units: Float[Tensor, "*shape 3"], degree: int) -> Float[Tensor, "*shape n_components"]:
    """Real spherical harmonics of degrees 1 and, where asked for, 2, each degree a unit vector."""
    if degree == 1:
        return units
    x, y, z = units.unbind(-1)
    root = math.sqrt(3.0)
    second = [root * x * z, root * x * y, y * y - 0.5 * (x * x + z * z), root * y * z, 0.5 * root * (z * z - x * x)]
    return torch.cat([units, torch.stack(second, dim=-1)], dim=-1)


def rejected_products(
    own: Float[Tensor, "n_structures n_atoms n_components n_features"],
    others: Float[Tensor, "n_structures n_atoms n_components n_features"],
    edges: EdgeGeometry,
) -> Float[Tensor, "n_structures n_atoms n_places n_features"]:
    """Σ_l ⟨Rej(V_i), Rej(W_j)⟩ of all pairs, where Rej takes out what lies along Y_l(û_ij), degree by degree.

    Y_l of the opposite direction differs in sign at most, so that Rej is the same for both atoms, and the product is
    ⟨V_i, W_j⟩ − Σ_l ⟨V_i, Y_l⟩ ⟨W_j, Y_l⟩.

    Returns
    -------
    (n_structures, n_atoms, n_places, n_features)
    """
    result = edges.graph.products(own, others)
    for part in (slice(0, 3), slice(3, 8))[: 1 if edges.harmonics.shape[-1] == 3 else 2]:
        directions = edges.harmonics[..., part]
        along_own = torch.einsum("bich,bijc->bijh", own[:, :, part], directions)
        result = result - along_own * edges.graph.projections(others[:, :, part], directions)
    return result


class ViSNetLayer(nn.Module):
    """One round of messages, with scalars x_i, vectors V_i and edges f_ij.

    Parameters
    ----------
    n_heads : of the attention; a divisor of ``n_features``.
    first : whether there are no vectors yet: nothing is multiplied with them, and edges stay.
    last : whether edges are not needed any more.
    """

    def __init__(self, n_features: int, n_heads: int, *, first: bool, last: bool) -> None:
        super().__init__()
        n, self.n_heads = n_features, n_heads
        self.norm = nn.LayerNorm(n)
        self.queries_keys_values = nn.Linear(n, 3 * n)
        self.edge_keys_values = nn.Linear(n, 2 * n)
        # Without a shift: SiLU(0) = 0, and empty places say nothing.
        self.split = nn.Linear(n, n if first else 2 * n, bias=False)
        self.out = nn.Linear(n, n if first else 3 * n)
        self.vector_products = None if first else nn.Linear(n, 3 * n, bias=False)
        self.edge_vectors = None if first or last else nn.Linear(n, 2 * n, bias=False)
        self.edge_gate = None if first or last else nn.Linear(n, n)
        self.apply(_xavier)

    def forward(
        self,
        x: Float[Tensor, "n_structures n_atoms n_features"],
        vectors: Float[Tensor, "n_structures n_atoms n_components n_features"] | None,
        f: Float[Tensor, "n_structures n_atoms n_places n_features"],
        edges: EdgeGeometry,
    ) -> tuple[
        Float[Tensor, "n_structures n_atoms n_features"],
        Float[Tensor, "n_structures n_atoms n_components n_features"],
        Float[Tensor, "n_structures n_atoms n_places n_features"],
    ]:
        """Scalars, vectors and edges after this round."""
        queries, keys, values = self.queries_keys_values(self.norm(x)).chunk(3, dim=-1)
        edge_keys, edge_values = functional.silu(self.edge_keys_values(f)).chunk(2, dim=-1)
        products = queries[:, :, None] * edges.graph.near(keys) * edge_keys
        attention = functional.silu(products.unflatten(-1, (self.n_heads, -1)).sum(-1)) * edges.cutoff[..., None]
        messages = (edges.graph.near(values) * edge_values).unflatten(-1, (self.n_heads, -1)) * attention[..., None]
        messages = messages.flatten(-2)
        split, out = functional.silu(self.split(messages)), self.out(messages.sum(2))
        if vectors is None or self.vector_products is None:
            return x + out, torch.einsum("bijc,bijh->bich", edges.harmonics, split), f
        of_vectors, of_directions = split.chunk(2, dim=-1)
        vector_messages = edges.graph.sum_weighted(vectors, of_vectors)
        vector_messages = vector_messages + torch.einsum("bijc,bijh->bich", edges.harmonics, of_directions)
        if self.edge_vectors is not None and self.edge_gate is not None:
            own, others = self.edge_vectors(vectors).chunk(2, dim=-1)
            f = f + functional.silu(self.edge_gate(f)) * rejected_products(own, others, edges)
        gate, scale, shift = out.chunk(3, dim=-1)
        one, two, three = self.vector_products(vectors).chunk(3, dim=-1)
        x = x + (one * two).sum(2) * scale + shift
        return x, vectors + three * gate[:, :, None] + vector_messages, f


class ViSNet(nn.Module):
    """Scalars and vectors of atoms from positions.

    Parameters
    ----------
    n_features : of atoms and edges.
    n_radial : radial functions.
    degree : highest degree of the harmonics, 1 or 2.
    """

    def __init__(self, n_features: int, n_layers: int, n_heads: int, n_radial: int, degree: int) -> None:
        super().__init__()
        self.n_radial, self.degree = n_radial, degree
        self.neighbor_filter = nn.Linear(n_radial, n_features)
        self.edge_filter = nn.Linear(n_radial, n_features)
        self.joined = nn.Linear(2 * n_features, n_features)
        self.layers = nn.ModuleList(
            ViSNetLayer(n_features, n_heads, first=k == 0, last=k == n_layers - 1) for k in range(n_layers)
        )
        self.norm = nn.LayerNorm(n_features)
        for linear in (self.neighbor_filter, self.edge_filter, self.joined):
            _xavier(linear)

    def forward(
        self,
        own: Float[Tensor, "n_atoms n_features"],
        as_neighbor: Float[Tensor, "n_atoms n_features"],
        positions: Float[Tensor, "n_structures n_atoms 3"],
        graph: DenseGraph,
        cutoff: float,
    ) -> tuple[
        Float[Tensor, "n_structures n_atoms n_features"],
        Float[Tensor, "n_structures n_atoms n_components n_features"],
    ]:
        """Scalars and vectors.

        Parameters
        ----------
        own, as_neighbor : what is known of each atom without positions, for itself and for its neighbors.
        positions : Å.
        cutoff : Å.

        Returns
        -------
        x : (n_structures, n_atoms, n_features).
        vectors : (n_structures, n_atoms, n_components, n_features).
        """
        edges = edges_of(positions, graph, cutoff, self.n_radial, self.degree)
        shape = (*positions.shape[:2], own.shape[-1])
        filters = self.neighbor_filter(edges.radial) * edges.cutoff[..., None]
        neighbors = (graph.near(as_neighbor.expand(shape)) * filters).sum(2)
        x = self.joined(torch.cat([own.expand(shape), neighbors], dim=-1))
        f = (x[:, :, None] + graph.near(x)) * self.edge_filter(edges.radial)
        first, *others = self.layers
        x, vectors, f = first(x, None, f, edges)
        for layer in others:
            x, vectors, f = layer(x, vectors, f, edges)
        return self.norm(x), vectors


class Pseudoscalars(nn.Module):
    r"""Numbers of each atom that a mirror turns into their negatives, and rotations leave as they are.

    .. math:: τ = \frac{t}{1 + |t|}, \qquad t = (W_a \hat V) \cdot (W_b \hat V \times W_c \hat V)

    of the vectors of degree 1, divided by their root mean square: t is cubic, and would be lost among small vectors.
    """

    def __init__(self, n_features: int, n_pseudoscalars: int) -> None:
        super().__init__()
        self.mix = nn.Linear(n_features, 3 * n_pseudoscalars, bias=False)
        _xavier(self.mix)

    def forward(
        self, vectors: Float[Tensor, "n_structures n_atoms n_components n_features"]
    ) -> Float[Tensor, "n_structures n_atoms n_pseudoscalars"]:
        """τ in −1…1."""
        own = vectors[:, :, :3]
        scaled = own / (own.square().mean((2, 3), keepdim=True) + LEAST_SQUARE).sqrt()
        a, b, c = self.mix(scaled).chunk(3, dim=-1)
        volumes = (a * torch.linalg.cross(b, c, dim=2)).sum(2)
        return volumes / (1.0 + volumes.abs())


def _xavier(module: nn.Module) -> None:
    """Weights as in the paper: uniform by Xavier; no shift at first."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
