"""How finely a calculator resolves its energy, and the finite differences that follow from it.

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

from molcalc.testing.structures import displaced

# Small enough that the energy is a straight line over all samples, and forty times the float32
# resolution of a position.
SAMPLE_STEP = 1e-5
N_SAMPLES = 9
DIFFERENCE_ORDERS = (4, 5, 6)

SMALLEST_STEP, LARGEST_STEP = 1e-4, 0.03
# Third derivative of the energy per force, 1/Å²: that of a repulsion r⁻¹² at 1 Å.
STIFFNESS = 156.0
# Multiples of noise/step: three standard deviations of the extrapolated difference, doubled.
NOISE_MARGIN = 6.0


class Noise(NamedTuple):
    """Standard deviations of the rounding errors: energy in eV, each force component in eV/Å."""

    energy: float
    forces: float


class Derivative(NamedTuple):
    """A numerical derivative, the step it was taken with, and the error it may have."""

    value: np.ndarray
    step: float
    error: float


def estimate_noise(evaluate: Callable[[Atoms], tuple[float, np.ndarray | None]], atoms: Atoms) -> Noise:
    r"""Noise of energy and forces, from equally spaced points on a very short line.

    High differences :math:`\Delta^k` of a smooth function vanish there; what remains is noise:

    .. math:: \sigma^2 = \frac{(k!)^2}{(2k)!} \langle (\Delta^k f)^2 \rangle

    When all energies are representable in float32 their resolution is the lower bound: the samples may
    all have been rounded to the same number.

    References
    ----------
    Moré, Wild, SIAM J. Sci. Comput. 33, 1292 (2011).
    """
    samples = [evaluate(displaced(atoms, SAMPLE_STEP * k)) for k in range(N_SAMPLES)]
    energies = np.array([energy for energy, _ in samples], dtype=np.float64)
    largest = float(np.abs(energies).max())
    floor = float(np.finfo(float).eps) * largest
    if largest > 0 and np.array_equal(energies, energies.astype(np.float32)):
        floor = float(np.spacing(np.float32(largest)))
    forces_noise = 0.0
    if samples[0][1] is not None:
        forces = np.array([forces for _, forces in samples], dtype=np.float64)
        forces_noise = max(_scatter(forces), np.finfo(float).eps * float(np.abs(forces).max()))
    return Noise(max(_scatter(energies), floor), forces_noise)


def _scatter(samples: np.ndarray) -> float:
    """Return the largest standard deviation that the high differences along axis 0 give."""
    estimates = []
    for order in DIFFERENCE_ORDERS:
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
    """
    step = (3 * noise / max(STIFFNESS * scale, 1.0)) ** (1 / 3)
    step = min(max(step, SMALLEST_STEP), LARGEST_STEP)
    fine, coarse = derivative(step), derivative(2 * step)
    truncation = float(np.abs(fine - coarse).max()) / 3
    # The extrapolation removes the leading part of the truncation error; a tenth of it is kept.
    return Derivative((4 * fine - coarse) / 3, step, NOISE_MARGIN * noise / step + 0.1 * truncation)
