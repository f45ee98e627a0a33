"""Initial values of parameters that need more than a random draw."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def orthogonal_embedding(
    n_rows: int, n_channels: int, n_radial: int
) -> Float[Tensor, "{n_rows} {n_channels}*{n_radial}"]:
    """(n_rows, n_channels·n_radial) element embedding: orthogonal over rows ≥ 1, constant over radial functions.

    Row 0 is zero: it stands for no element.

    Returns
    -------
    (n_rows, n_channels·n_radial), the channels outside
    """
    rows = torch.zeros(n_rows, n_channels)
    torch.nn.init.orthogonal_(rows[1:])
    return rows[:, :, None].expand(-1, -1, n_radial).reshape(n_rows, -1).clone()


def farthest_curves(
    n_channels: int, n_radial: int, n_vector: int
) -> Float[Tensor, "{n_channels} {n_radial} {n_vector}"]:
    """(n_channels, n_radial, n_vector) smooth curves over the radial functions, as different as possible.

    Per channel, 8·n_vector random curves α₁ sin(2πα₂x/G) + α₃ cos(2πα₄x/G) are standardized and thinned by
    farthest-point selection.

    Returns
    -------
    (n_channels, n_radial, n_vector)
    """
    x = torch.arange(n_radial, dtype=torch.get_default_dtype()) * (2 * math.pi / n_radial)
    chosen = []
    for _ in range(n_channels):
        alpha = torch.randn(8 * n_vector, 4, 1)
        curves = alpha[:, 0] * torch.sin(alpha[:, 1] * x) + alpha[:, 2] * torch.cos(alpha[:, 3] * x)
        curves = (curves - curves.mean(1, keepdim=True)) / curves.std(1, keepdim=True)
        distances = torch.cdist(curves, curves)
        picked = [int(distances.sum(1).argmax())]
        nearest = distances[picked[0]].clone()
        while len(picked) < n_vector:
            picked.append(int(nearest.argmax()))
            nearest = torch.minimum(nearest, distances[picked[-1]])
        chosen.append(curves[picked].T)
    return torch.stack(chosen)
