"""The passes of AIMNet2: perceptrons that read what atoms see, and the arithmetic in which they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from molcalc.nn.gelu import trained_gelu
from molcalc.nn.join import join
from molcalc.nn.message import ROW_LANES, message
from molcalc.nn.neighbor_sum import EdgeRows
from molcalc.nn.segments import segment_sum


@dataclass(frozen=True)
class Neighborhood:
    """Surroundings of a pass: edges and kinds of atoms of a batch, and weights of the network that passes share.

    Attributes
    ----------
    basis : (n_edges, 4, G) radial functions, and their products with the three components of the direction.
    rows : edges by receiver.
    kinds : (n_atoms,) int64, equal for atoms that begin with equal features.
    conv_features : (A, G, H) combinations of the vector sums of the feature channels.
    conv : (A + C, G, H) the same, and after them those of the charge channels.
    """

    basis: Float[Tensor, "n_edges 4 G"]
    rows: EdgeRows
    kinds: Int[Tensor, " n_atoms"]
    conv_features: Float[Tensor, "A G H"]
    conv: Float[Tensor, "A_and_C G H"]


class MLP(nn.Sequential):
    """Linear layers with exact GELU between them, and after the last one if ``activate_last``."""

    def __init__(self, sizes: Sequence[int], activate_last: bool = False) -> None:
        layers: list[nn.Module] = []
        for n_in, n_out in zip(sizes[:-1], sizes[1:]):
            layers += [nn.Linear(n_in, n_out), nn.GELU()]
        super().__init__(*(layers if activate_last else layers[:-1]))

    def forward(self, x: Float[Tensor, "n n_in"]) -> Float[Tensor, "n n_out"]:
        """Apply all layers to (n, n_in), or more columns, of zeros."""
        first = self.first
        if empty := x.shape[1] - first.in_features:
            return self.after_first(functional.linear(x, functional.pad(first.weight, (0, empty)), first.bias))
        return self.after_first(first(x))

    @property
    def first(self) -> nn.Linear:
        """The first layer."""
        return cast(nn.Linear, self[0])

    def after_first(self, x: Float[Tensor, "n n_hidden"]) -> Float[Tensor, "n n_out"]:
        """Apply what follows the first linear layer."""
        trained = next(self.parameters()).requires_grad
        for layer in list(self)[1:]:
            x = trained_gelu(x) if trained and isinstance(layer, nn.GELU) else layer(x)
        return x

    @property
    def last(self) -> nn.Linear:
        """The linear layer that it ends with."""
        return [layer for layer in self if isinstance(layer, nn.Linear)][-1]


class Pass(MLP):
    """A perceptron that reads the message of every atom (:mod:`molcalc.nn.message`).

    It computes in the dtype of its weights.
    """

    def read(
        self,
        features: Float[Tensor, "n_atoms A·G"],
        charges: Float[Tensor, "n_atoms C"] | None,
        near: Neighborhood,
    ) -> Float[Tensor, "n_atoms n_out"]:
        """Output of the perceptron for features and charges of atoms and their neighbors.

        Parameters
        ----------
        features, charges : (n_atoms, A·G) and (n_atoms, C) in e; None where there are no charges yet.

        Returns
        -------
        (n_atoms, n_out) in the dtype of the features.
        """
        n_channels = len(near.conv_features) + (0 if charges is None else charges.shape[1])
        trained = self._trained_in(features.dtype)
        x = message(features, charges, near.basis, near.conv[:n_channels], near.rows, aligned=trained)
        result: Tensor = self(x.to(self.first.weight.dtype))
        return result.to(features.dtype)

    def _trained_in(self, dtype: torch.dtype) -> bool:
        weight = self.first.weight
        return weight.requires_grad and weight.dtype == dtype


class FirstPass(Pass):
    """The pass that reads the features that atoms begin with, before there are charges.

    While it is trained, what atoms of one kind have in common is multiplied once: :func:`layer_of_kinds`.
    """

    def read(
        self,
        features: Float[Tensor, "n_atoms A·G"],
        charges: Float[Tensor, "n_atoms C"] | None,
        near: Neighborhood,
    ) -> Float[Tensor, "n_atoms n_out"]:
        """Output of the perceptron for features of atoms and their neighbors; charges are not looked at."""
        if self._trained_in(features.dtype):
            table, kind = self._table(features, near.kinds)
            if len(table) < len(near.conv_features):
                hidden = layer_of_kinds(self.first, table, kind, near.basis, near.conv_features, near.rows)
                return self.after_first(hidden).to(features.dtype)
        return super().read(features, None, near)

    def _table(self, features: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n_kinds, A·G) that atoms begin with, and which of them each has (n_atoms,)."""
        found, kind = torch.unique(kinds, return_inverse=True)
        example = torch.empty_like(found).scatter_(0, kind, torch.arange(len(kind), device=kind.device))
        return features.index_select(0, example), kind


def layer_of_kinds(
    layer: nn.Linear,
    table: Float[Tensor, "n_kinds A·G"],
    kind: Int[Tensor, " n_atoms"],
    basis: Float[Tensor, "n_edges 4 G"],
    weights: Float[Tensor, "A G H"],
    rows: EdgeRows,
) -> Float[Tensor, "n_atoms n_out"]:
    r"""A linear layer's result for ``message(table[kind], None, basis, weights, rows)``.

    The features of atom i are row z(i) of a short table. Their scalar sums, and the layer's product with them,

    .. math:: S_{ick} = \sum_j g_k(d_{ij})\, a_{z(j)ck}, \qquad
              \sum_{ck} w_{ock} S_{ick} = \sum_{zk} \Big(\sum_c w_{ock} a_{zck}\Big) \sum_{j \in z} g_k(d_{ij}),

    need one sum for every kind instead of one for every channel, and the table in place of the features: most columns
    of the product that all atoms take part in are gone.

    Parameters
    ----------
    table : (n_kinds, A · G) features of every kind of atom.
    kind : (n_atoms,) int64, row of the table.
    basis : (n_edges, 4, G), one scalar and three vector components.
    weights : (A, G, H) combinations of the vector sums.

    Returns
    -------
    (n_atoms, n_out)
    """
    n_atoms, (n_kinds, n_features) = len(kind), table.shape
    n_channels, n_radial, _ = weights.shape
    norms = message(table.index_select(0, kind), None, basis, weights, rows, norms_only=True)
    receiver = rows.receiver * n_kinds + kind.index_select(0, rows.source)
    sums = segment_sum(basis[:, 0], receiver, n_atoms * n_kinds)
    which = functional.one_hot(kind, n_kinds).to(basis.dtype)

    own, scalar, norm = layer.weight.split((n_features, n_features, norms.shape[1]), dim=1)
    by_radial = scalar.reshape(-1, n_channels, n_radial).permute(2, 0, 1).contiguous()
    of_sums = by_radial @ table.view(n_kinds, n_channels, n_radial).permute(2, 1, 0).contiguous()  # (G, n_out, n_kinds)
    of_sums = of_sums.permute(1, 2, 0)
    empty = -(n_kinds * (1 + n_radial) + norms.shape[1]) % ROW_LANES
    x = join([norms, sums.view(n_atoms, -1), which, which.new_zeros(n_atoms, empty)])
    w = join([norm, of_sums, own @ table.T, own.new_zeros(len(own), empty)])
    return functional.linear(x, w, layer.bias)
