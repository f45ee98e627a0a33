"""The way back through PhysNet's interaction modules (see :mod:`molcalc.kernels.interaction_stack`)."""

import numba
import numpy as np

from molcalc.kernels.interaction_stack_push import (
    _add,
    _add_product,
    _block_size,
    _matrix,
    _module_size,
    _scale,
    _scale_pair,
    _set_product,
)
from molcalc.kernels.runtime import OPTIONS


@numba.njit(**OPTIONS)
def _pull_activation(cotangent: np.ndarray, slope: np.ndarray, curved: np.ndarray) -> None:
    """From (S, n, F) cotangents of activations to those of their arguments, in place."""
    if len(cotangent) == 2:
        _scale_pair(cotangent[0].ravel(), cotangent[1].ravel(), slope.ravel(), curved.ravel())
    else:
        _scale(cotangent[0].ravel(), slope.ravel())


@numba.njit(**OPTIONS)
def _pull_linear(cotangent: np.ndarray, theta: np.ndarray, at: int, out: np.ndarray) -> None:
    """From (S, n, F') to (S, n, F)."""
    rows, columns = cotangent.shape[2], out.shape[2]
    n = cotangent.shape[0] * cotangent.shape[1]
    np.dot(cotangent.reshape(n, rows), _matrix(theta, at, rows, columns), out.reshape(n, columns))


@numba.njit(**OPTIONS)
def _outer(cotangent: np.ndarray, value: np.ndarray, tangent: np.ndarray, gradient: np.ndarray, at: int) -> None:
    """Gradient of the weights of a linear map, at their place."""
    rows, columns = cotangent.shape[2], value.shape[1]
    result = _matrix(gradient, at, rows, columns)
    np.dot(cotangent[0].T, value, result)
    if len(cotangent) == 2:
        _add(result.ravel(), np.dot(cotangent[1].T, tangent).ravel())


@numba.njit(**OPTIONS)
def _sum_rows(rows: np.ndarray, gradient: np.ndarray, at: int) -> None:
    out = gradient[at : at + rows.shape[1]]
    for i in range(len(rows)):
        _add(out, rows[i])


@numba.njit(**OPTIONS)
def _pull_residuals(
    theta: np.ndarray, at: int, slot: int, n_blocks: int, x: np.ndarray, value: np.ndarray, slope: np.ndarray,
    tangent: np.ndarray, curved: np.ndarray, gradient: np.ndarray,
) -> None:  # fmt: skip
    """Back through residual blocks, x (S, n, F) in place."""
    size = x.shape[2]
    first, second = np.empty_like(x), np.empty_like(x)
    for k in range(n_blocks - 1, -1, -1):
        here, row = at + k * _block_size(size), slot + 2 * k
        there = here + size * size + size
        _pull_linear(x, theta, there, second)
        _pull_activation(second, slope[row + 1], curved[row + 1])
        _pull_linear(second, theta, here, first)
        _pull_activation(first, slope[row], curved[row])
        if gradient.size:
            _outer(x, value[row + 1], tangent[row + 1], gradient, there)
            _sum_rows(x[0], gradient, there + size * size)
            _outer(second, value[row], tangent[row], gradient, here)
            _sum_rows(second[0], gradient, here + size * size)
        _add(x.ravel(), first.ravel())


@numba.njit(**OPTIONS)
def _pull_message(
    message: np.ndarray, wide: np.ndarray, wide_tangent: np.ndarray, filters: np.ndarray, filters_tangent: np.ndarray,
    receiver: np.ndarray, source: np.ndarray, to_both: np.ndarray, to_filters: np.ndarray,
) -> None:  # fmt: skip
    """Cotangents of both halves of the hidden layer, (S, n, 2F), and of the filters (n_edges, F)."""
    size = message.shape[2]
    to_both[:, :, :size] = message
    to_both[:, :, size:] = 0.0
    for e in range(len(receiver)):
        i, j = receiver[e], source[e]
        _add_product(to_both[0, j, size:], filters[e], message[0, i])
        _set_product(to_filters[e], wide[j, size:], message[0, i])
        if len(message) == 2:
            _add_product(to_both[0, j, size:], filters_tangent[e], message[1, i])
            _add_product(to_both[1, j, size:], filters[e], message[1, i])
            _add_product(to_filters[e], wide_tangent[j, size:], message[1, i])


@numba.njit(**OPTIONS)
def pull_stack(
    theta: np.ndarray, filters: np.ndarray, filters_tangent: np.ndarray, receiver: np.ndarray, source: np.ndarray,
    n_modules: int, blocks: tuple[int, int, int], features: np.ndarray, features_tangent: np.ndarray,
    value: np.ndarray, slope: np.ndarray, tangent: np.ndarray, curved: np.ndarray, outputs: np.ndarray,
    x: np.ndarray, to_filters: np.ndarray, gradient: np.ndarray,
) -> None:  # fmt: skip
    """Cotangents of filters and, unless it is empty, weights.

    Parameters
    ----------
    outputs : (S, n_atoms, 2) cotangents of the outputs.
    x : (S, n_atoms, F) cotangents of the last features; turned into those of the first.
    gradient : filled with zeros.
    """
    n_atoms, size = features.shape[1:]
    pairs = len(outputs)
    n_slots = value.shape[0] // n_modules
    hidden, both = np.empty_like(x), np.empty((pairs, n_atoms, 2 * size), dtype=x.dtype)
    for m in range(n_modules - 1, -1, -1):
        at, slot = (m + 1) * _module_size(size, blocks) - 2 * size, (m + 1) * n_slots - 1
        if gradient.size:
            _outer(outputs, value[slot], tangent[slot], gradient, at)
        _pull_linear(outputs, theta, at, hidden)
        _pull_activation(hidden, slope[slot], curved[slot])
        at, slot = at - blocks[2] * _block_size(size), slot - 2 * blocks[2]
        _pull_residuals(theta, at, slot, blocks[2], hidden, value, slope, tangent, curved, gradient)
        _add(x.ravel(), hidden.ravel())
        at, slot = at - blocks[1] * _block_size(size), slot - 2 * blocks[1]
        _pull_residuals(theta, at, slot, blocks[1], x, value, slope, tangent, curved, gradient)
        slot -= 1
        update, gate = at - size - size * size, at - 2 * size - size * size
        _pull_linear(x, theta, update, hidden)
        _pull_activation(hidden, slope[slot], curved[slot])
        if gradient.size:
            _outer(x, value[slot], tangent[slot], gradient, update)
            _sum_rows(x[0], gradient, at - size)
            for i in range(n_atoms):
                _add_product(gradient[gate:update], x[0, i], features[m, i])
                if pairs == 2:
                    _add_product(gradient[gate:update], x[1, i], features_tangent[m, i])
        for k in range(pairs):
            for i in range(n_atoms):
                _scale(x[k, i], theta[gate:update])
        at, slot = gate - blocks[0] * _block_size(size), slot - 2 * blocks[0]
        _pull_residuals(theta, at, slot, blocks[0], hidden, value, slope, tangent, curved, gradient)
        rows, columns = slice(slot - 2, slot), slice(m * size, (m + 1) * size)
        _pull_message(
            hidden, value[rows].reshape(n_atoms, 2 * size), tangent[rows].reshape(n_atoms, 2 * size),
            filters[:, columns], filters_tangent[:, columns], receiver, source, both, to_filters[:, columns],
        )  # fmt: skip
        _pull_activation(both, slope[rows], curved[rows])
        at -= 2 * size * size + 2 * size
        if gradient.size:
            _outer(both, value[slot - 3], tangent[slot - 3], gradient, at)
            _sum_rows(both[0], gradient, at + 2 * size * size)
        _pull_linear(both, theta, at, hidden)
        _pull_activation(hidden, slope[slot - 3], curved[slot - 3])
        _add(x.ravel(), hidden.ravel())
