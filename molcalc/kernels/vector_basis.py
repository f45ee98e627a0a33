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


@numba.njit(inline="always", **_OPTIONS)
def _edge(vectors, e, first_center, spacing, cutoff):  # type: ignore[no-untyped-def]
    """d and u; cutoff function and its slope; t, exp(−t²) and exp(2t)."""
    x, y, z = float(vectors[e, 0]), float(vectors[e, 1]), float(vectors[e, 2])
    d = math.sqrt(x * x + y * y + z * z)
    angle = math.pi * min(d, cutoff) / cutoff
    envelope, slope = 0.5 + 0.5 * math.cos(angle), -0.5 * math.pi / cutoff * math.sin(angle)
    t = (d - first_center) / spacing
    return d, x / d, y / d, z / d, envelope, slope, t, math.exp(-t * t), math.exp(2.0 * t)


@numba.njit(**_OPTIONS)
def values(
    start: int, stop: int, vectors: np.ndarray, first_center: float, spacing: float, cutoff: float,
    basis: np.ndarray,
) -> None:  # fmt: skip
    """basis[e] = (g, g·u_x, g·u_y, g·u_z) for edges start…stop."""
    for e in range(start, stop):
        _, ux, uy, uz, envelope, _, _, power, ratio = _edge(vectors, e, first_center, spacing, cutoff)
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
        d, ux, uy, uz, envelope, slope, t, power, ratio = _edge(vectors, e, first_center, spacing, cutoff)
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


@numba.njit(**_OPTIONS)
def along(
    start: int, stop: int, vectors: np.ndarray, change: np.ndarray, first_center: float, spacing: float,
    cutoff: float, result: np.ndarray,
) -> None:  # fmt: skip
    """result[e] = Σ_x change[e, x] ∂basis[e]/∂vectors[e, x] for edges start…stop."""
    for e in range(start, stop):
        d, ux, uy, uz, envelope, slope, t, power, ratio = _edge(vectors, e, first_center, spacing, cutoff)
        cx, cy, cz = float(change[e, 0]), float(change[e, 1]), float(change[e, 2])
        stretch = ux * cx + uy * cy + uz * cz
        tx, ty, tz = (cx - stretch * ux) / d, (cy - stretch * uy) / d, (cz - stretch * uz) / d
        for k in range(_N):
            gaussian = power * _DAMP[k]
            power *= ratio
            if gaussian < _TINY:
                gaussian = 0.0
            g = gaussian * envelope
            dg = (gaussian * slope - 2.0 * (t - k) / spacing * g) * stretch
            result[e, 0, k] = dg
            result[e, 1, k] = dg * ux + g * tx
            result[e, 2, k] = dg * uy + g * ty
            result[e, 3, k] = dg * uz + g * tz
