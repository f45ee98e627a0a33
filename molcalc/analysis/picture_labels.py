"""Places of texts on pictures of molecules, moved apart where they would touch."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

ROUNDS_APART = 200
"""Rounds of moving apart; what still touches then stays."""
SHARE = 0.52
"""Of an overlap that each of two boxes moves in a step; half would leave them touching."""


def boxes_apart(anchors: Float64[np.ndarray, "n 2"], sizes: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
    """Centers of boxes that begin on their anchors, and move along the shorter way until none touches another.

    Parameters
    ----------
    anchors : (n, 2) places that they belong to.
    sizes : (n, 2) widths and heights, in the same unit.

    Returns
    -------
    (n, 2) centers
    """
    centers = anchors.copy()
    needed = 0.5 * (sizes[:, None] + sizes[None])
    for _ in range(ROUNDS_APART):
        apart = centers[:, None] - centers[None]
        overlap = needed - np.abs(apart)
        touching = (overlap > 0).all(axis=2)
        np.fill_diagonal(touching, False)
        if not touching.any():
            break
        # equal places part by their order
        order = np.sign(np.subtract.outer(np.arange(len(anchors)), np.arange(len(anchors))))[:, :, None]
        direction = np.where(apart == 0.0, order, np.sign(apart))
        shorter = np.arange(2) == overlap.argmin(axis=2)[:, :, None]
        pushes = np.where(touching[:, :, None] & shorter, direction * overlap, 0.0)
        centers += SHARE * pushes.sum(axis=1)
    return centers
