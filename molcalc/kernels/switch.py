"""Compiled switching polynomial (see :mod:`molcalc.nn.switch`). Import only where numba is available."""

import numba

from molcalc.kernels.runtime import OPTIONS


@numba.njit(inline="always", **OPTIONS)
def smooth_step(t: float) -> tuple[float, float]:
    """P(t) = 10 t³ − 15 t⁴ + 6 t⁵ and P'(t) for 0 ≤ t ≤ 1."""
    rest = t * (1.0 - t)
    return t * t * t * (10.0 + t * (6.0 * t - 15.0)), 30.0 * rest * rest


@numba.njit(inline="always", **OPTIONS)
def smooth_step_curvature(t: float) -> float:
    """P''(t)."""
    return 60.0 * t * (1.0 - t) * (1.0 - 2.0 * t)
