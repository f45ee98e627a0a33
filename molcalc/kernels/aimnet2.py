"""Compiled loops of AIMNet2: equilibration of charges (see :mod:`molcalc.models.aimnet2`) and its gradient.

Charges are (n_atoms, C) in double precision; ``output`` (n_atoms, ≥ 2 C) holds changes q̃ and factors f of each channel
in its first columns. Atoms of system s are those from bounds[s] to bounds[s + 1]. ``smallest`` is added to the weight
f² of every atom, ``once`` to the sum of weights. Import only where numba is available.
"""

import numba
import numpy as np

from molcalc.kernels.runtime import OPTIONS


@numba.njit(**OPTIONS)
def equilibrate(
    bounds: np.ndarray, targets: np.ndarray, smallest: float, once: float, output: np.ndarray, charges: np.ndarray,
    shares: np.ndarray, totals: np.ndarray,
) -> None:  # fmt: skip
    """q_i ← q_i + q̃_i + w_i share, with share = (Q − Σ (q + q̃)) / Σ w."""
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
