"""Anharmonic force fields that can be solved exactly."""

from __future__ import annotations

from functools import reduce
from itertools import permutations, product

import numpy as np
from ase.units import invcm
from scipy.linalg import eigh
from scipy.sparse import csr_array, kron

from molcalc.analysis.quartic_field import DipoleSeries, QuarticField
from molcalc.calculators.normal_modes import HBAR
from molcalc.calculators.vibrations import KM_PER_MOL


def random_field(wavenumbers: list[float], scale: float, seed: int = 0) -> QuarticField:
    """Field of which cubic terms grow with the scale; quartic and Coriolis terms with its square.

    Parameters
    ----------
    wavenumbers : of two or three modes, cm⁻¹.
    """
    rng, n = np.random.default_rng(seed), len(wavenumbers)

    def symmetric(rank: int, size: float) -> np.ndarray:
        values = rng.normal(size=(n,) * rank) * size
        orders = list(permutations(range(rank)))
        return sum(values.transpose(order) for order in orders) / len(orders)

    zeta = rng.normal(size=(3, n, n)) * 0.5
    second = rng.normal(size=(3, n, n)) * 0.1 * scale
    dipole = DipoleSeries(
        rng.normal(size=(3, n)), second + second.transpose(0, 2, 1), rng.normal(size=(3, n, n)) * 0.1 * scale**2
    )
    return QuarticField(
        np.array(wavenumbers), symmetric(3, 200 * scale), symmetric(4, 60 * scale**2), zeta - zeta.transpose(0, 2, 1),
        np.array([15.0, 10.0, 8.0]) * scale**2, True, dipole,
    )  # fmt: skip


def exact_levels(field: QuarticField, n_functions: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Energies and intensities of the lowest states in a basis of harmonic functions.

    Parameters
    ----------
    n_functions : of each mode.

    Returns
    -------
    energies : (21,) cm⁻¹ above the bottom of the potential.
    intensities : (21,) km/mol from the lowest state.
    """
    modes = range(len(field.wavenumbers))

    def of_mode(matrix: np.ndarray, mode: int) -> csr_array:
        return reduce(kron, [csr_array(matrix) if k == mode else csr_array(np.eye(n_functions)) for k in modes]).tocsr()

    lower = np.diag(np.sqrt(np.arange(1.0, n_functions)), 1)
    q = [of_mode((lower + lower.T) / np.sqrt(2), k) for k in modes]
    p = [of_mode((lower.T - lower) / np.sqrt(2), k) for k in modes]  # divided by the imaginary unit
    squares = {(i, j): q[i] @ q[j] for i, j in product(modes, modes)}
    levels = np.diag(np.arange(n_functions) + 0.5)
    hamiltonian = sum(omega * of_mode(levels, k) for k, omega in enumerate(field.wavenumbers))
    for k in modes:
        hamiltonian = hamiltonian + sum(field.cubic[i, j, k] / 6 * one for (i, j), one in squares.items()) @ q[k]
    for (i, j), one in squares.items():
        inner = sum(field.quartic[i, j, k, m] / 24 * other for (k, m), other in squares.items())
        hamiltonian = hamiltonian + one @ inner
    roots = np.sqrt(field.wavenumbers)
    turning = [(i, j) for i, j in product(modes, modes) if i != j]
    for zeta, constant in zip(field.coriolis, field.rotational):
        momentum = sum(zeta[i, j] * roots[j] / roots[i] * q[i] @ p[j] for i, j in turning)
        hamiltonian = hamiltonian + constant * momentum @ momentum.T
    energies, vectors = eigh(hamiltonian.toarray(), subset_by_index=(0, 20))
    moments = []
    for first, second, third in zip(field.dipole.first, field.dipole.second, field.dipole.third):
        operator = sum(value * one for value, one in zip(first, q))
        operator = operator + sum(0.5 * second[i, j] * one for (i, j), one in squares.items())
        thirds = [third[i, j] / (6 if i == j else 2) * q[i] @ squares[j, j] for i, j in product(modes, modes)]
        moments.append(vectors.T @ ((operator + sum(thirds)) @ vectors[:, 0]))
    above = (energies - energies[0]) * invcm
    return energies, KM_PER_MOL * 2 * above / HBAR**2 * np.square(moments).sum(axis=0)
