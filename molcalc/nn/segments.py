"""Sums over groups of rows."""

from __future__ import annotations

from jaxtyping import Int, Num
from torch import Tensor


def segment_sum(
    values: Num[Tensor, " n *rest"], index: Int[Tensor, " n"], n_segments: int
) -> Num[Tensor, " {n_segments} *rest"]:
    """Sum rows of ``values`` that share an index.

    Parameters
    ----------
    values : (n, ...).
    index : (n,) int64 in [0, n_segments).

    Returns
    -------
    (n_segments, ...)
    """
    if n_segments == 1:
        return values.sum(dim=0, keepdim=True)
    return values.new_zeros(n_segments, *values.shape[1:]).index_add(0, index, values)
