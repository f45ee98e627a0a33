"""An exponential that loops of numba can compute in all lanes of the processor at once; single precision.

Import only where numba is available.
"""

import math

import numba
import numpy as np

from molcalc.kernels.runtime import LANES

_F = np.float32
_LOG2E = _F(1.0 / math.log(2.0))
_LN2_HIGH, _LN2_LOW = _F(0.693145751953125), _F(math.log(2.0) - 0.693145751953125)
_ROUND = _F(1.5 * 2**23)
"""Adding it leaves the nearest whole number in the last bits."""
_LOWEST = _F(-80.0)
_POWERS = tuple(_F(1.0 / math.factorial(k)) for k in range(7, -1, -1))
"""Powers of exp(r) for |r| ≤ ½ ln 2: the rest is below 1e-8."""


@numba.njit(inline="always", **LANES)
def exp_negative(x: np.float32) -> np.float32:
    """exp(x) for x ≤ 0, at least exp(−80)."""
    m = max(x, _LOWEST)
    n = _F(m * _LOG2E + _ROUND)
    bits = np.int32((n.view(np.int32) + np.int32(127)) << np.int32(23))
    n = n - _ROUND
    r = (m - n * _LN2_HIGH) - n * _LN2_LOW
    p = _POWERS[0]
    for q in range(1, len(_POWERS)):
        p = p * r + _POWERS[q]
    return _F(p * bits.view(np.float32))
