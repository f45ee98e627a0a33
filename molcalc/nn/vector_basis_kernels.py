"""Compiled loops of the vector basis. Import only where numba is available.

With spacing Δ and η = 1/Δ², exp(−η(d − μ_k)²) = exp(−t²) · exp(2t)^k · exp(−k²) for t = (d − μ_0)/Δ: two exponentials
give all sixteen Gaussians. The intermediate values reach exp(±480), which double precision holds.
"""

import math

import numba
import numpy as np

_OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy", "boundscheck": False}
_N = 16
_DAMP = np.exp(-(np.arange(_N, dtype=np.float64) ** 2))
_TINY = math.exp(-41.5)
"""Smaller Gaussians become zero, as in the torch formula."""


@numba.njit(**_OPTIONS)
def values(
    start: int, stop: int, vectors: np.ndarray, first_center: float, spacing: float, cutoff: float,
    basis: np.ndarray,
) -> None:  # fmt: skip
    """basis[e] = (g, g·u_x, g·u_y, g·u_z) for edges start…stop."""
    for e in range(start, stop):
        x, y, z = float(vectors[e, 0]), float(vectors[e, 1]), float(vectors[e, 2])
        d = math.sqrt(x * x + y * y + z * z)
        envelope = 0.5 + 0.5 * math.cos(math.pi * min(d, cutoff) / cutoff)
        t = (d - first_center) / spacing
        power, ratio = math.exp(-t * t), math.exp(2.0 * t)
        ux, uy, uz = x / d, y / d, z / d
        for k in range(_N):
            gaussian = power * _DAMP[k]
            power *= ratio
            g = gaussian * envelope if gaussian >= _TINY else 0.0
            basis[e, 0, k] = g
            basis[e, 1, k] = g * ux
            basis[e, 2, k] = g * uy
            basis[e, 3, k] = g * uz


@numba.njit(**_OPTIONS)
def gradient(
    start: int, stop: int, vectors: np.ndarray, upstream: np.ndarray, first_center: float, spacing: float,
    cutoff: float, result: np.ndarray,
) -> None:  # fmt: skip
    """result[e] = Σ_xk upstream[e, x, k] ∂basis[e, x, k]/∂vectors[e] for edges start…stop."""
    for e in range(start, stop):
        x, y, z = float(vectors[e, 0]), float(vectors[e, 1]), float(vectors[e, 2])
        d = math.sqrt(x * x + y * y + z * z)
        ux, uy, uz = x / d, y / d, z / d
        angle = math.pi * min(d, cutoff) / cutoff
        envelope = 0.5 + 0.5 * math.cos(angle)
        slope = -0.5 * math.pi / cutoff * math.sin(angle)
        t = (d - first_center) / spacing
        power, ratio = math.exp(-t * t), math.exp(2.0 * t)
        along = vx = vy = vz = 0.0
        for k in range(_N):
            gaussian = power * _DAMP[k]
            power *= ratio
            if gaussian < _TINY:
                gaussian = 0.0
            g = gaussian * envelope
            dg = gaussian * slope - 2.0 * (t - k) / spacing * g
            gx, gy, gz = upstream[e, 1, k], upstream[e, 2, k], upstream[e, 3, k]
            along += dg * (upstream[e, 0, k] + ux * gx + uy * gy + uz * gz)
            vx += g * gx
            vy += g * gy
            vz += g * gz
        radial = along - (ux * vx + uy * vy + uz * vz) / d
        result[e, 0] = ux * radial + vx / d
        result[e, 1] = uy * radial + vy / d
        result[e, 2] = uz * radial + vz / d
