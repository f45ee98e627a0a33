r"""A linear layer that reads a message made of features which depend on the kind of atom alone.

The features of atom i are row z(i) of a short table. Their scalar sums, and the layer's product with them,

.. math:: S_{ick} = \sum_j g_k(d_{ij})\, a_{z(j)ck}, \qquad
          \sum_{ck} w_{ock} S_{ick} = \sum_{zk} \Big(\sum_c w_{ock} a_{zck}\Big) \sum_{j \in z} g_k(d_{ij}),

need one sum for every kind instead of one for every channel, and the table in place of the features: most columns of
the product that all atoms take part in are gone.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from molcalc.nn.join import join
from molcalc.nn.message import ROW_LANES, message
from molcalc.nn.neighbor_sum import EdgeRows
from molcalc.nn.segments import segment_sum


def layer_of_kinds(
    layer: nn.Linear,
    table: Float[Tensor, "n_kinds A·G"],
    kind: Int[Tensor, " n_atoms"],
    basis: Float[Tensor, "n_edges 4 G"],
    weights: Float[Tensor, "A G H"],
    rows: EdgeRows,
) -> Float[Tensor, "n_atoms n_out"]:
    """The layer's result for ``message(table[kind], None, basis, weights, rows)``.

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
