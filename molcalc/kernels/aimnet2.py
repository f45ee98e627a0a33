"""Compiled loops between the perceptrons of AIMNet2 (see :mod:`molcalc.models.aimnet2`), forward and back.

Charges are (n_atoms, C) and features (n_atoms, A·G) in double precision; ``output`` (n_atoms, 2 C + A·G) of a
perceptron holds changes q̃ and factors f of each channel, and then changes of features. Atoms of system s are those
from bounds[s] to bounds[s + 1]. ``smallest`` is added to the weight f² of every atom, ``once`` to the sum of weights.
Messages are flat, as in :mod:`molcalc.kernels.message`. Import only where numba is available.
"""

import numba
import numpy as np

from molcalc.kernels.message import push
from molcalc.kernels.runtime import OPTIONS, WIDTH


@numba.njit(**OPTIONS)
def surroundings(
    positions: np.ndarray, cell: np.ndarray, system_idx: np.ndarray, index: np.ndarray, shifts: np.ndarray,
    periodic: bool, vectors: np.ndarray, first: np.ndarray,
) -> None:  # fmt: skip
    """Vectors r_ij = R[j] − R[i] + shift @ cell of edges, and where those of each atom begin; sorted by i."""
    filled = 0
    for e in range(index.shape[1]):
        i, j = index[0, e], index[1, e]
        while filled <= i:
            first[filled] = e
            filled += 1
        for x in range(3):
            vectors[e, x] = positions[j, x] - positions[i, x]
        if periodic:
            s = system_idx[i]
            for a in range(3):
                for x in range(3):
                    vectors[e, x] += shifts[e, a] * cell[s, a, x]
    first[filled:] = index.shape[1]


@numba.njit(**OPTIONS)
def rows_of_lanes(features: np.ndarray, charges: np.ndarray, rows: np.ndarray, turned: np.ndarray) -> None:
    """Combinations (A, G, H) and (C, G, H) of the vector sums of all channels with rows of sixteen, by k and by h."""
    rows[:] = 0.0
    turned[:] = 0.0
    n_own = features.shape[0]
    for c in range(rows.shape[0]):
        own = features[c] if c < n_own else charges[c - n_own]
        for k in range(own.shape[0]):
            for h in range(own.shape[1]):
                rows[c, k, h] = own[k, h]
                turned[c, h, k] = own[k, h]


@numba.njit(**OPTIONS)
def read(
    start: int, stop: int, first: np.ndarray, source: np.ndarray, own_features: np.ndarray, own_charges: np.ndarray,
    features: np.ndarray, charges: np.ndarray, basis: np.ndarray, weights: np.ndarray, n_own: int, n_charges: int,
    scalars_at: np.ndarray, norms_at: np.ndarray, n_norms: int, width: int, message: np.ndarray, inputs: np.ndarray,
) -> None:  # fmt: skip
    """Messages of atoms start…stop, and the same in the arithmetic of the perceptron that reads them.

    ``own_features`` and ``own_charges`` are those of the atoms, ``features`` and ``charges`` those of all sources.
    """
    push(
        start, stop, first, source, features, charges, basis, weights, n_own, n_charges, scalars_at, norms_at, n_norms,
        width, message,
    )  # fmt: skip
    n_features = n_own * WIDTH
    charges_at = 2 * n_features + n_own * n_norms
    for i in range(start, stop):
        row = message[i * width : (i + 1) * width]
        row[:n_features] = own_features[i * n_features : (i + 1) * n_features]
        row[charges_at : charges_at + n_charges] = own_charges[i * n_charges : (i + 1) * n_charges]
        for k in range(width):
            inputs[i * width + k] = row[k]


@numba.njit(**OPTIONS)
def update(
    bounds: np.ndarray, targets: np.ndarray, smallest: float, once: float, output: np.ndarray, charges: np.ndarray,
    features: np.ndarray, new_charges: np.ndarray, new_features: np.ndarray, shares: np.ndarray, totals: np.ndarray,
) -> None:  # fmt: skip
    """Charges and features of the next pass, from those of this one and the output of its perceptron."""
    new_charges[:] = charges
    equilibrate(bounds, targets, smallest, once, output, new_charges, shares, totals)
    at = 2 * charges.shape[1]
    for i in range(features.shape[0]):
        for k in range(features.shape[1]):
            new_features[i, k] = features[i, k] + output[i, at + k]


@numba.njit(**OPTIONS)
def update_gradient(
    bounds: np.ndarray, smallest: float, output: np.ndarray, shares: np.ndarray, totals: np.ndarray,
    by_charges: np.ndarray, by_features: np.ndarray, by_output: np.ndarray,
) -> None:  # fmt: skip
    """Way back of :func:`update`: gradients by charges and features of the next pass become those of this one."""
    equilibrate_gradient(bounds, smallest, output, shares, totals, by_charges, by_output)
    at = 2 * by_charges.shape[1]
    for i in range(by_features.shape[0]):
        for k in range(by_features.shape[1]):
            by_output[i, at + k] = by_features[i, k]


@numba.njit(**OPTIONS)
def begin_pull(
    by_inputs: np.ndarray, grad: np.ndarray, n_parts: int, by_features: np.ndarray, by_charges: np.ndarray
) -> None:
    """Gradient by messages (n_atoms, width) in double precision; that by features begins with its first columns.

    Gradients by features (parts, n_atoms, A·G) and by charges (parts, n_atoms, C, 16) of the first ``n_parts`` parts
    are made ready to be added to: the first part of the features has those of later passes already.
    """
    for i in range(grad.shape[0]):
        for k in range(grad.shape[1]):
            grad[i, k] = by_inputs[i, k]
        for k in range(by_features.shape[2]):
            by_features[0, i, k] += grad[i, k]
    by_features[1:n_parts] = 0.0
    by_charges[:n_parts] = 0.0


@numba.njit(**OPTIONS)
def end_pull(
    grad: np.ndarray, charges_at: int, n_parts: int, by_features: np.ndarray, by_charges: np.ndarray, by_q: np.ndarray
) -> None:
    """Add the parts of :func:`begin_pull` up, charges (n_atoms, C) with what their own columns of messages say."""
    for part in range(1, n_parts):
        by_features[0] += by_features[part]
    for i in range(by_q.shape[0]):
        for c in range(by_q.shape[1]):
            total = grad[i, charges_at + c]
            for part in range(n_parts):
                for lane in range(WIDTH):
                    total += by_charges[part, i, c, lane]
            by_q[i, c] += total


@numba.njit(**OPTIONS)
def equilibrate(
    bounds: np.ndarray, targets: np.ndarray, smallest: float, once: float, output: np.ndarray, charges: np.ndarray,
    shares: np.ndarray, totals: np.ndarray,
) -> None:  # fmt: skip
    """Equilibration: q_i ← q_i + q̃_i + w_i share, with share = (Q − Σ (q + q̃)) / Σ w."""
    n_channels = charges.shape[1]
    for s in range(targets.shape[0]):
        for c in range(n_channels):
            total, missing = once, targets[s, c]
            for i in range(bounds[s], bounds[s + 1]):
                factor = float(output[i, n_channels + c])
                charges[i, c] += float(output[i, c])
                missing -= charges[i, c]
                total += factor * factor + smallest
            share = missing / total
            for i in range(bounds[s], bounds[s + 1]):
                factor = float(output[i, n_channels + c])
                charges[i, c] += (factor * factor + smallest) * share
            shares[s, c], totals[s, c] = share, total


@numba.njit(**OPTIONS)
def equilibrate_gradient(
    bounds: np.ndarray, smallest: float, output: np.ndarray, shares: np.ndarray, totals: np.ndarray,
    by_charges: np.ndarray, by_output: np.ndarray,
) -> None:  # fmt: skip
    """Gradient by q̃, which is also that by the charges before, and by f: 2 f share times it.

    ``by_charges`` holds the gradient by the charges afterwards, and then that by those before. ``output`` and
    ``by_output`` may be one array.
    """
    n_channels = by_charges.shape[1]
    for s in range(shares.shape[0]):
        for c in range(n_channels):
            by_share = 0.0
            for i in range(bounds[s], bounds[s + 1]):
                factor = float(output[i, n_channels + c])
                by_share += by_charges[i, c] * (factor * factor + smallest)
            by_share /= totals[s, c]
            for i in range(bounds[s], bounds[s + 1]):
                gradient = by_charges[i, c] - by_share
                by_charges[i, c] = gradient
                by_output[i, c] = gradient
                by_output[i, n_channels + c] = 2.0 * float(output[i, n_channels + c]) * shares[s, c] * gradient
