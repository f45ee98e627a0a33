"""Forward passes through PhysNet's interaction modules (see :mod:`molcalc.kernels.interaction_stack`).

Weights are one flat array, per module in the order of ``Layout``. Intermediate results of every activation a = σ(x) are
kept in arrays (n_slots, n_atoms, F): value a, slope s = σ'(x), and for second derivatives the tangent ȧ = s ẋ and
d = (1 − s) ẋ. Cotangents are (S, n_atoms, F): S = 1 for values, 2 for values and tangents.

Import only where numba is available.
"""

import math

import numba
import numpy as np

from molcalc.kernels.exponential import exp_negative
from molcalc.kernels.runtime import LANES, OPTIONS

_F = np.float32
_LN2 = _F(math.log(2.0))
_ZERO, _ONE, _TWO = _F(0.0), _F(1.0), _F(2.0)
_LOG = tuple(_F(2.0 / (2 * k + 1)) for k in range(7, -1, -1))
"""Powers of z² in ln(1 + e) = 2 artanh z, z = e / (2 + e) ≤ 1/3: the rest is below 2e-9."""


@numba.njit(**LANES)
def _activate(x: np.ndarray, value: np.ndarray, slope: np.ndarray) -> None:
    """σ(x) = ln(1 + eˣ) − ln 2 and σ'(x)."""
    for i in range(x.size):
        v = x[i]
        e = exp_negative(-abs(v))
        inverse = _ONE / (_ONE + e)
        z = e / (_TWO + e)
        z2 = z * z
        log = _LOG[0]
        for q in range(1, len(_LOG)):
            log = log * z2 + _LOG[q]
        value[i] = max(v, _ZERO) + z * log - _LN2
        slope[i] = inverse if v >= _ZERO else e * inverse


@numba.njit(**LANES)
def _push(x: np.ndarray, slope: np.ndarray, tangent: np.ndarray, curved: np.ndarray) -> None:
    """ȧ = s ẋ and d = ẋ − ȧ."""
    for i in range(x.size):
        tangent[i] = slope[i] * x[i]
        curved[i] = x[i] - tangent[i]


@numba.njit(**LANES)
def _scale(x: np.ndarray, slope: np.ndarray) -> None:
    for i in range(x.size):
        x[i] *= slope[i]


@numba.njit(**LANES)
def _scale_pair(x: np.ndarray, x_dot: np.ndarray, slope: np.ndarray, curved: np.ndarray) -> None:
    for i in range(x.size):
        x_dot[i] *= slope[i]
        x[i] = x[i] * slope[i] + curved[i] * x_dot[i]


@numba.njit(**LANES)
def _add(x: np.ndarray, y: np.ndarray) -> None:
    for i in range(x.size):
        x[i] += y[i]


@numba.njit(**LANES)
def _add_product(out: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    for i in range(out.size):
        out[i] += x[i] * y[i]


@numba.njit(**LANES)
def _set_product(out: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    for i in range(out.size):
        out[i] = x[i] * y[i]


@numba.njit(**OPTIONS)
def _linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    np.dot(x, weight.T, out)
    for i in range(len(out)):
        _add(out[i], bias)


@numba.njit(**OPTIONS)
def _matrix(theta: np.ndarray, at: int, rows: int, columns: int) -> np.ndarray:
    return theta[at : at + rows * columns].reshape(rows, columns)


@numba.njit(**OPTIONS)
def _block_size(size: int) -> int:
    return 2 * size * size + 2 * size


@numba.njit(**OPTIONS)
def _module_size(size: int, blocks: tuple[int, int, int]) -> int:
    return 3 * size * size + 6 * size + (blocks[0] + blocks[1] + blocks[2]) * _block_size(size)


@numba.njit(**OPTIONS)
def _residuals(
    theta: np.ndarray, at: int, slot: int, n_blocks: int, x: np.ndarray, value: np.ndarray, slope: np.ndarray
) -> None:
    """Residual blocks on x, in place; weights from ``at``, activations from ``slot``."""
    size = x.shape[1]
    hidden = np.empty_like(x)
    for k in range(n_blocks):
        here, row = at + k * _block_size(size), slot + 2 * k
        _activate(x.ravel(), value[row].ravel(), slope[row].ravel())
        bias = here + size * size
        _linear(value[row], _matrix(theta, here, size, size), theta[bias : bias + size], hidden)
        _activate(hidden.ravel(), value[row + 1].ravel(), slope[row + 1].ravel())
        here, bias = bias + size, bias + size + size * size
        _linear(value[row + 1], _matrix(theta, here, size, size), theta[bias : bias + size], hidden)
        _add(x.ravel(), hidden.ravel())


@numba.njit(**OPTIONS)
def forward(
    theta: np.ndarray, filters: np.ndarray, receiver: np.ndarray, source: np.ndarray, n_modules: int,
    blocks: tuple[int, int, int], features: np.ndarray, value: np.ndarray, slope: np.ndarray, outputs: np.ndarray,
) -> None:  # fmt: skip
    """Fill features (n_modules + 1, n_atoms, F) from their first entry on, activations, and outputs (n_atoms, 2)."""
    n_atoms, size = features.shape[1:]
    n_slots = value.shape[0] // n_modules
    outputs[:] = 0.0
    part = np.empty_like(outputs)
    both = np.empty((n_atoms, 2 * size), dtype=features.dtype)
    for m in range(n_modules):
        at, slot = m * _module_size(size, blocks), m * n_slots
        x, new = features[m], features[m + 1]
        _activate(x.ravel(), value[slot].ravel(), slope[slot].ravel())
        bias = at + 2 * size * size
        _linear(value[slot], _matrix(theta, at, 2 * size, size), theta[bias : bias + 2 * size], both)
        wide = value[slot + 1 : slot + 3].reshape(n_atoms, 2 * size)
        _activate(both.ravel(), wide.ravel(), slope[slot + 1 : slot + 3].ravel())
        message = wide[:, :size].copy()
        for e in range(len(receiver)):
            _add_product(message[receiver[e]], filters[e, m * size : (m + 1) * size], wide[source[e], size:])
        at, slot = bias + 2 * size, slot + 3
        _residuals(theta, at, slot, blocks[0], message, value, slope)
        at, slot = at + blocks[0] * _block_size(size), slot + 2 * blocks[0]
        _activate(message.ravel(), value[slot].ravel(), slope[slot].ravel())
        gate, bias = theta[at : at + size], at + size + size * size
        _linear(value[slot], _matrix(theta, at + size, size, size), theta[bias : bias + size], new)
        for i in range(n_atoms):
            _add_product(new[i], gate, x[i])
        at, slot = bias + size, slot + 1
        _residuals(theta, at, slot, blocks[1], new, value, slope)
        at, slot = at + blocks[1] * _block_size(size), slot + 2 * blocks[1]
        message[:] = new
        _residuals(theta, at, slot, blocks[2], message, value, slope)
        at, slot = at + blocks[2] * _block_size(size), slot + 2 * blocks[2]
        _activate(message.ravel(), value[slot].ravel(), slope[slot].ravel())
        np.dot(value[slot], _matrix(theta, at, 2, size).T, part)
        _add(outputs.ravel(), part.ravel())


@numba.njit(**OPTIONS)
def _push_residuals(
    theta: np.ndarray, at: int, slot: int, n_blocks: int, x: np.ndarray, slope: np.ndarray, tangent: np.ndarray,
    curved: np.ndarray,
) -> None:  # fmt: skip
    size = x.shape[1]
    hidden = np.empty_like(x)
    for k in range(n_blocks):
        here, row = at + k * _block_size(size), slot + 2 * k
        for second in range(2):
            if second:
                _push(hidden.ravel(), slope[row + 1].ravel(), tangent[row + 1].ravel(), curved[row + 1].ravel())
            else:
                _push(x.ravel(), slope[row].ravel(), tangent[row].ravel(), curved[row].ravel())
            np.dot(tangent[row + second], _matrix(theta, here, size, size).T, hidden)
            here += size * size + size
        _add(x.ravel(), hidden.ravel())


@numba.njit(**OPTIONS)
def push_stack(
    theta: np.ndarray, filters: np.ndarray, filters_tangent: np.ndarray, receiver: np.ndarray, source: np.ndarray,
    n_modules: int, blocks: tuple[int, int, int], value: np.ndarray, slope: np.ndarray, features_tangent: np.ndarray,
    tangent: np.ndarray, curved: np.ndarray, outputs: np.ndarray,
) -> None:  # fmt: skip
    """Tangents of everything that :func:`forward` computes, for a tangent of the filters."""
    n_atoms, size = features_tangent.shape[1:]
    n_slots = value.shape[0] // n_modules
    outputs[:] = 0.0
    features_tangent[0] = 0.0
    part = np.empty_like(outputs)
    both = np.empty((n_atoms, 2 * size), dtype=outputs.dtype)
    for m in range(n_modules):
        at, slot = m * _module_size(size, blocks), m * n_slots
        x, new = features_tangent[m], features_tangent[m + 1]
        _push(x.ravel(), slope[slot].ravel(), tangent[slot].ravel(), curved[slot].ravel())
        np.dot(tangent[slot], _matrix(theta, at, 2 * size, size).T, both)
        rows = slice(slot + 1, slot + 3)
        _push(both.ravel(), slope[rows].ravel(), tangent[rows].ravel(), curved[rows].ravel())
        wide, wide_tangent = value[rows].reshape(n_atoms, 2 * size), tangent[rows].reshape(n_atoms, 2 * size)
        message = wide_tangent[:, :size].copy()
        columns = slice(m * size, (m + 1) * size)
        for e in range(len(receiver)):
            i, j = receiver[e], source[e]
            _add_product(message[i], filters_tangent[e, columns], wide[j, size:])
            _add_product(message[i], filters[e, columns], wide_tangent[j, size:])
        at, slot = at + 2 * size * size + 2 * size, slot + 3
        _push_residuals(theta, at, slot, blocks[0], message, slope, tangent, curved)
        at, slot = at + blocks[0] * _block_size(size), slot + 2 * blocks[0]
        _push(message.ravel(), slope[slot].ravel(), tangent[slot].ravel(), curved[slot].ravel())
        np.dot(tangent[slot], _matrix(theta, at + size, size, size).T, new)
        for i in range(n_atoms):
            _add_product(new[i], theta[at : at + size], x[i])
        at, slot = at + 2 * size + size * size, slot + 1
        _push_residuals(theta, at, slot, blocks[1], new, slope, tangent, curved)
        at, slot = at + blocks[1] * _block_size(size), slot + 2 * blocks[1]
        message[:] = new
        _push_residuals(theta, at, slot, blocks[2], message, slope, tangent, curved)
        at, slot = at + blocks[2] * _block_size(size), slot + 2 * blocks[2]
        _push(message.ravel(), slope[slot].ravel(), tangent[slot].ravel(), curved[slot].ravel())
        np.dot(tangent[slot], _matrix(theta, at, 2, size).T, part)
        _add(outputs.ravel(), part.ravel())
