"""The polynomial with which pair quantities fade in and out."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def smooth_step(t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Rise from 0 at t = 0 to 1 at t = 1, where first and second derivatives vanish.

    .. math:: P(t) = 10 t^3 - 15 t^4 + 6 t^5, \qquad 1 - P(t) = P(1 - t)

    Parameters
    ----------
    t : between 0 and 1; the caller clamps it.

    Returns
    -------
    Tensor
        Of the same shape.
    """
    return t * t * t * (10.0 + t * (6.0 * t - 15.0))
