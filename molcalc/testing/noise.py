"""Noise of a calculator's energy and forces, and finite differences that allow for it.

A float32 network has an energy noise of about 1e-6 eV, a total energy in float32 one of 1e-4 to 1e-2 eV.
A fixed displacement and tolerance would either fail such calculators for their rounding or overlook
errors of others. The noise is measured, the displacement balances it against the curvature of the
energy, and the tolerance is what the two leave.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ase import Atoms

# Spacing of the samples in Å, and orders of differences to which a smooth energy adds nothing there. The
# first, forty times the float32 resolution of a position, shows rounding; the second shows jumps, as those
# of a pair sum with a hard cutoff.
DIFFERENCE_ORDERS = {1e-5: (4, 5, 6), 1e-3: (6, 7, 8)}
N_SAMPLES = 9

SMALLEST_STEP, LARGEST_STEP = 1e-4, 0.03
# Third derivative of the energy per force, 1/Å²: that of a repulsion r⁻¹² at 1 Å.
STIFFNESS = 156.0
# Multiples of noise/step: three standard deviations of the extrapolated difference, doubled.
NOISE_MARGIN = 6.0


class Noise(NamedTuple):
    """Noise of a calculator, standard deviations of rounding errors: energy in eV, each force component in eV/Å."""

    energy: float
    forces: float


class Derivative(NamedTuple):
    """A numerical derivative, the step it was taken with, and the error it may have."""

    value: np.ndarray
    step: float
    error: float


def estimate_noise(
    evaluate: Callable[[Atoms], tuple[float, np.ndarray | None]], path: Callable[[float], Atoms]
) -> Noise:
    r"""Noise of energy and forces, from equally spaced points on a short path.

    ``path`` gives the structure after a displacement of the atoms by so many Å.

    High differences :math:`\Delta^k` of a smooth function vanish there; what remains is noise:

    .. math:: \sigma^2 = \frac{(k!)^2}{(2k)!} \langle (\Delta^k f)^2 \rangle

    The resolution of their number type is the lower bound: the samples may all have been rounded to the
    same float32 number.

    Returns
    -------
    standard deviations of energy and forces

    References
    ----------
    Moré, Wild, SIAM J. Sci. Comput. 33, 1292 (2011).
    """
    estimates = []
    for spacing, orders in DIFFERENCE_ORDERS.items():
        samples = [evaluate(path(spacing * k)) for k in range(N_SAMPLES)]
        energies = np.array([energy for energy, _ in samples], dtype=np.float64)
        forces = np.array([[] if forces is None else forces for _, forces in samples], dtype=np.float64)
        estimates.append(
            Noise(
                max(_scatter(energies, orders), _resolution(energies)),
                max(_scatter(forces, orders), _resolution(forces)) if forces.size else 0.0,
            )
        )
    return Noise(max(noise.energy for noise in estimates), max(noise.forces for noise in estimates))


def _resolution(samples: np.ndarray) -> float:
    """Return the distance between neighboring numbers of the type the samples were rounded to."""
    largest = np.abs(samples).max()
    if largest > 0 and np.array_equal(samples, samples.astype(np.float32)):
        return float(np.spacing(np.float32(largest)))
    return float(np.spacing(largest))


def _scatter(samples: np.ndarray, orders: tuple[int, ...]) -> float:
    """Return the largest standard deviation that the high differences along axis 0 give."""
    estimates = []
    for order in orders:
        scale = math.factorial(order) ** 2 / math.factorial(2 * order)
        variance = scale * np.mean(np.diff(samples, n=order, axis=0) ** 2, axis=0)
        estimates.append(float(np.sqrt(variance.max())))
    return max(estimates)


def differentiate(derivative: Callable[[float], np.ndarray], noise: float, scale: float) -> Derivative:
    """Extrapolate central differences to a vanishing step.

    Parameters
    ----------
    derivative : gives the central difference for a step (Å).
    noise : standard deviation of the energy, eV.
    scale : size of the derivative, eV/Å; with ``STIFFNESS`` it gives the step where rounding and
        truncation errors are equal.

    Returns
    -------
    the derivative with its step and error
    """
    step = (3 * noise / max(STIFFNESS * scale, 1.0)) ** (1 / 3)
    step = min(max(step, SMALLEST_STEP), LARGEST_STEP)
    fine, coarse = derivative(step), derivative(2 * step)
    truncation = float(np.abs(fine - coarse).max()) / 3
    # The extrapolation removes the leading part of the truncation error; a tenth of it is kept.
    return Derivative((4 * fine - coarse) / 3, step, NOISE_MARGIN * noise / step + 0.1 * truncation)
