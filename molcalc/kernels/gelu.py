"""Compiled loops of GELU and its derivatives. Import only where numba is available.

In single precision all lanes of the processor work at once; double precision calls the mathematical library number by
number.
"""

import math

import numba
import numpy as np
from numba import types
from numba.extending import overload

from molcalc.kernels.exponential import exp_negative
from molcalc.kernels.runtime import LANES

_F = np.float32
_ONE, _TWO, _HALF = _F(1.0), _F(2.0), _F(0.5)
_FAR = _F(20.0)
"""Beyond it Φ is 0 or 1 and φ is 0 in every digit."""
_DENSITY = _F(1.0 / math.sqrt(2.0 * math.pi))
_DOUBLE_DENSITY = 1.0 / math.sqrt(2.0 * math.pi)
_ROOT = math.sqrt(0.5)
_SCALE = _F(0.475)
_TAIL = tuple(
    _F(c)
    for c in (
        0.128705567,
        -0.686023915,
        1.45165207,
        -1.39879439,
        0.39434842,
        0.0277650238,
        0.38725662,
        0.473345434,
        0.475059384,
    )
)
"""Powers of t = 1 / (1 + 0.475 a) in Φ(−a) / (t φ(a)), least squares of the relative error over 0 ≤ a ≤ 13 at Chebyshev
points: within 7e-8, in single precision 3e-7."""


def _density(x: float) -> float:
    """φ(x)."""
    raise NotImplementedError


@overload(_density, inline="always")
def _density_of(x):  # type: ignore[no-untyped-def]
    if x == types.float32:

        def single(x):  # type: ignore[no-untyped-def]
            near = min(max(x, -_FAR), _FAR)
            return _DENSITY * exp_negative(-_HALF * near * near)

        return single
    return lambda x: _DOUBLE_DENSITY * math.exp(-0.5 * x * x)


def _distribution(x: float, density: float) -> float:
    """Φ(x), given φ(x)."""
    raise NotImplementedError


@overload(_distribution, inline="always")
def _distribution_of(x, density):  # type: ignore[no-untyped-def]
    if x == types.float32:

        def single(x, density):  # type: ignore[no-untyped-def]
            t = _ONE / (_ONE + _SCALE * min(abs(x), _FAR))
            p = _TAIL[0]
            for q in range(1, len(_TAIL)):
                p = p * t + _TAIL[q]
            tail = p * t * density
            return tail if x < _F(0.0) else _ONE - tail

        return single
    return lambda x, density: 0.5 * math.erfc(-x * _ROOT)


@numba.njit(**LANES)
def _value_and_slope(x: np.ndarray, value: np.ndarray, slope: np.ndarray) -> None:
    for i in range(x.size):
        v = x[i]
        density = _density(v)
        phi = _distribution(v, density)
        value[i] = v * phi
        slope[i] = phi + v * density


@numba.njit(**LANES)
def _second(
    x: np.ndarray, slope: np.ndarray, grad: np.ndarray, upstream: np.ndarray, for_x: np.ndarray, for_grad: np.ndarray
) -> None:
    for i in range(x.size):
        v, u = x[i], upstream[i]
        for_x[i] = (_TWO - v * v) * _density(v) * grad[i] * u
        for_grad[i] = slope[i] * u


@numba.njit(**LANES)
def value_and_slope(start: int, stop: int, x: np.ndarray, value: np.ndarray, slope: np.ndarray) -> None:
    """y = x Φ and y' = Φ + x φ of numbers start…stop."""
    _value_and_slope(x[start:stop], value[start:stop], slope[start:stop])


@numba.njit(**LANES)
def slope_gradients(
    start: int, stop: int, x: np.ndarray, slope: np.ndarray, grad: np.ndarray, upstream: np.ndarray,
    for_x: np.ndarray, for_grad: np.ndarray,
) -> None:  # fmt: skip
    """for_x = upstream · grad · φ (2 − x²) and for_grad = upstream · y' of numbers start…stop."""
    part = slice(start, stop)
    _second(x[part], slope[part], grad[part], upstream[part], for_x[part], for_grad[part])
