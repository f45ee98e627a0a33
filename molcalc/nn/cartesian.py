r"""Messages between Cartesian tensors up to rank 2.

Features of an atom are scalars s, vectors v and symmetric traceless tensors t. Tensors are stored by their five
components in the basis

.. math:: \frac{xy + yx}{\sqrt 2},\ \frac{yz + zy}{\sqrt 2},\ \frac{xz + zx}{\sqrt 2},\ \frac{xx - yy}{\sqrt 2},\
    \frac{2zz - xx - yy}{\sqrt 6}

which is orthonormal: the double contraction of two tensors is the dot product of their components. With the unit
vector u of an edge, the 3 × 5 matrix P(u) = ∂(t u)/∂t turns a tensor into the vector P t = t u, and its transpose
turns a vector into the tensor Pᵀ p = [p ⊗ u]₀, the symmetric traceless part of the product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from molcalc.kernels.runtime import WIDTH, usable

PATHS = (3, 7, 11)
"""Ways in which s, v and t of a neighbor and the direction of an edge make a scalar; also a vector; also a tensor."""


@dataclass(frozen=True)
class Directions:
    """Geometry of the edges.

    Attributes
    ----------
    index : (2, n_edges) int64, receiver i and source j.
    unit : (n_edges, 3) u = r_ij / |r_ij|.
    """

    index: Int[Tensor, "2 n_edges"]
    unit: Float[Tensor, "n_edges 3"]

    @cached_property
    def project(self) -> Float[Tensor, "n_edges 3 5"]:
        """(n_edges, 3, 5) P(u)."""
        return (self.unit @ _basis(self.unit.dtype, self.unit.device)).view(-1, 3, 5)


@lru_cache(maxsize=8)
def _basis(dtype: torch.dtype, device: torch.device) -> Tensor:
    """(3, 15) the five basis tensors, as a linear map from u to P(u)."""
    a, b = 1.0 / math.sqrt(2.0), 1.0 / math.sqrt(6.0)
    tensors = torch.zeros(5, 3, 3, dtype=torch.float64)
    for k, (x, y) in enumerate(((0, 1), (1, 2), (0, 2))):
        tensors[k, x, y] = tensors[k, y, x] = a
    tensors[3] = torch.diag(torch.tensor([a, -a, 0.0], dtype=torch.float64))
    tensors[4] = torch.diag(torch.tensor([-b, -b, 2 * b], dtype=torch.float64))
    return tensors.permute(2, 1, 0).reshape(3, 15).to(dtype=dtype, device=device)


def to_matrix(components: Float[Tensor, "*batch 5"]) -> Float[Tensor, "*batch 3 3"]:
    """(..., 3, 3) symmetric traceless matrices of (..., 5) components."""
    basis = _basis(components.dtype, components.device).view(3, 3, 5)
    return torch.einsum("...k,xyk->...xy", components, basis)


def scalar_message(
    s: Float[Tensor, "n_atoms F"], weights: Float[Tensor, "n_edges {n_ranks} F"], edges: Directions, n_ranks: int
) -> list[Float[Tensor, "n_atoms ... F"]]:
    r"""Sum over neighbors that have scalars only: w s, w s u, w s [u ⊗ u]₀.

    Parameters
    ----------
    s : (n_atoms, F).
    weights : (n_edges, n_ranks, F) radial weights w.
    n_ranks : 1 to 3, how many of the results are wanted.

    Returns
    -------
    list of (n_atoms, F), (n_atoms, 3, F), (n_atoms, 5, F)
    """
    i, j = edges.index[0], edges.index[1]
    weighted = weights * s.index_select(0, j)[:, None]
    parts = [weighted[:, 0]]
    if n_ranks > 1:
        parts.append(edges.unit[:, :, None] * weighted[:, 1, None])
    if n_ranks > 2:
        tensor = torch.einsum("eak,ea->ek", edges.project, edges.unit)
        parts.append(tensor[:, :, None] * weighted[:, 2, None])
    return [_sum_to(i, part, s.shape[0]) for part in parts]


def cartesian_message(
    parts: list[Float[Tensor, "n_atoms ... F"]],
    weights: Float[Tensor, "n_edges n_paths F"],
    edges: Directions,
    n_ranks: int,
) -> list[Float[Tensor, "n_atoms ... F"]]:
    r"""Sum over neighbors of all products of their features with the direction of the edge.

    With the shorthands d = v·u and τ = t u, for every feature

    .. math::
        s' &= w_0 s + w_1 d + w_2\, u·τ \\
        v' &= (w_3 s + w_4 d)\, u + w_5 v + w_6 τ \\
        t' &= [(w_7 s\, u + w_8 v + w_9 τ) ⊗ u]_0 + w_{10} t

    These are the eleven paths through s, v, t and 1, u, Y = u ⊗ u − 1/3: the terms Y v and [t Y]₀ differ from those
    above by multiples of v and t, which have weights of their own.

    Parameters
    ----------
    parts : s (n_atoms, F), v (n_atoms, 3, F) and t (n_atoms, 5, F).
    weights : (n_edges, n_paths, F) radial weights w; PATHS[n_ranks − 1] of them.
    n_ranks : 1 to 3, how many of the results are wanted.

    Returns
    -------
    list of (n_atoms, F), (n_atoms, 3, F), (n_atoms, 5, F)
    """
    if n_ranks > 1 and parts[0].shape[1] % WIDTH == 0 and usable(weights, *parts):
        from molcalc.kernels import cartesian as compiled

        def formula(s: Tensor, v: Tensor, t: Tensor, weights: Tensor, unit: Tensor) -> list[Tensor]:
            return cartesian_formula([s, v, t], weights, Directions(edges.index, unit), n_ranks)

        return compiled.cartesian_message(parts, weights, edges.unit, edges.index, formula)
    return cartesian_formula(parts, weights, edges, n_ranks)


def cartesian_formula(
    parts: list[Float[Tensor, "n_atoms ... F"]],
    weights: Float[Tensor, "n_edges n_paths F"],
    edges: Directions,
    n_ranks: int,
) -> list[Float[Tensor, "n_atoms ... F"]]:
    """Reference of :func:`cartesian_message`, in operations that can be differentiated any number of times."""
    s, v, t = parts
    i, j = edges.index[0], edges.index[1]
    w = weights[:, :, None].unbind(1)
    s_j, v_j, t_j = s.index_select(0, j)[:, None], v.index_select(0, j), t.index_select(0, j)
    u, project = edges.unit[:, :, None], edges.project
    d, tau = u.mT @ v_j, project @ t_j
    parts = [(w[0] * s_j + w[1] * d + w[2] * (u.mT @ tau))[:, 0]]
    if n_ranks > 1:
        parts.append(u * (w[3] * s_j + w[4] * d) + w[5] * v_j + w[6] * tau)
    if n_ranks > 2:
        vector = u * (w[7] * s_j) + w[8] * v_j + w[9] * tau
        parts.append(project.mT @ vector + w[10] * t_j)
    return [_sum_to(i, part, s.shape[0]) for part in parts]


def _sum_to(index: Tensor, values: Tensor, n_rows: int) -> Tensor:
    return values.new_zeros(n_rows, *values.shape[1:]).index_add(0, index, values)
