r"""Message that a pass of AIMNet2 reads: features of an atom, and scalars made of sums over its neighbors.

.. math:: m_i = \left(a,\; S_a,\; R_a,\; q,\; S_q,\; R_q\right), \qquad
          R_{ch} = \sum_x U_{xch}^2, \qquad U_{xch} = \sum_k W_{ckh} V_{xck}

with the scalar sum S and the vector sums V of every channel c (k counts radial functions, x directions, h combinations;
see :mod:`molcalc.nn.neighbor_sum`). A charge is a channel whose sixteen numbers are equal. On the CPU with numba, the
sums of one atom at a time are made, used and forgotten, here as in both derivatives: writing them to memory takes
longer than computing them again.

References
----------
Anstine, Zubatyuk, Isayev, Chem. Sci. 16, 10228 (2025), doi:10.1039/D4SC08572H.
"""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from molcalc.kernels.runtime import FLOATS, WIDTH, usable
from molcalc.nn.join import join
from molcalc.nn.neighbor_sum import EdgeRows, neighbor_sum

ROW_LANES = 16
"""Numbers of single precision in what a processor reads from memory at once."""


def message(
    features: Float[Tensor, "n_atoms A·G"],
    charges: Float[Tensor, "n_atoms Q"] | None,
    basis: Float[Tensor, "n_edges 4 G"],
    weights: Float[Tensor, "_ G H"],
    rows: EdgeRows,
    *,
    norms_only: bool = False,
    aligned: bool = False,
) -> Float[Tensor, "n_atoms width"]:
    """Features, neighbor sums and their norms side by side.

    Parameters
    ----------
    features : (n_atoms, A · G).
    charges : (n_atoms, Q) channels that follow the A feature channels, or None.
    basis : (n_edges, 4, G), one scalar and three vector components.
    weights : (A + Q, G, H) combinations of the vector sums.
    norms_only : leave out features and scalar sums (of a message without charges).
    aligned : add columns of zeros up to the next multiple of ROW_LANES. Matrix products are quicker then.

    Returns
    -------
    (n_atoms, width)
    """
    charges = features.new_empty(len(features), 0) if charges is None else charges
    tensors = (features, charges, basis, weights)
    lanes = ROW_LANES if aligned else 1
    formula = partial(message_formula, rows=rows, norms_only=norms_only)
    fits = basis.shape[2] == WIDTH and weights.shape[2] <= WIDTH
    same = basis.dtype in FLOATS and all(tensor.dtype == basis.dtype for tensor in tensors)
    if fits and same and usable(*tensors):
        from molcalc.kernels import message as compiled

        return compiled.message(*tensors, (rows.first, rows.source), formula, norms_only=norms_only, lanes=lanes)
    result = formula(*tensors)
    return functional.pad(result, (0, -result.shape[1] % lanes))


def message_formula(
    features: Float[Tensor, "n_atoms A·G"],
    charges: Float[Tensor, "n_atoms Q"],
    basis: Float[Tensor, "n_edges 4 G"],
    weights: Float[Tensor, "_ G H"],
    rows: EdgeRows,
    norms_only: bool,
) -> Float[Tensor, "n_atoms width"]:
    """Reference of :func:`message`, in operations that can be differentiated any number of times."""
    n_atoms, n_charges, n_radial = len(features), charges.shape[1], basis.shape[2]
    channels = join([features, charges[:, :, None].expand(-1, -1, n_radial)])
    sums = neighbor_sum(channels.view(n_atoms, -1, n_radial), basis, rows)
    scalars, vectors = sums.split((1, 3), dim=1)
    norms = torch.einsum("ixck,ckh->ixch", vectors, weights).square().sum(dim=1)
    split = (len(weights) - n_charges, n_charges)
    (scalar_a, scalar_q), (norm_a, norm_q) = scalars.split(split, dim=2), norms.split(split, dim=1)
    return norm_a.flatten(1) if norms_only else join([features, scalar_a, norm_a, charges, scalar_q, norm_q])
