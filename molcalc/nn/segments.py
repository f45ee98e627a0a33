"""Sums over groups of rows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache

from jaxtyping import Int, Num
from torch import Tensor

logger = logging.getLogger(__name__)


def segment_sum(
    values: Num[Tensor, " n *rest"], index: Int[Tensor, " n"], n_segments: int
) -> Num[Tensor, " {n_segments} *rest"]:
    """Sum of the rows of ``values`` that share an index; differentiable any number of times.

    The package torch-scatter does it where it is installed (extra ``scatter``), else ``index_add``.

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
    scatter_sum = _scatter_sum()
    if scatter_sum is not None:
        return scatter_sum(values, index, dim=0, dim_size=n_segments)
    return values.new_zeros(n_segments, *values.shape[1:]).index_add(0, index, values)


@cache
def _scatter_sum() -> Callable[..., Tensor] | None:
    """The function of torch-scatter, if that package can be imported."""
    try:
        from torch_scatter import scatter_sum
    except ImportError:
        return None
    except OSError as error:  # its libraries belong to another torch
        logger.warning("torch-scatter is installed but does not load, sums do without it; build it anew: %s", error)
        return None
    return scatter_sum
