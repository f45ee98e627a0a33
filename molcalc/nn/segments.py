"""Sums over groups of rows."""

from __future__ import annotations

from torch import Tensor


def segment_sum(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
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
