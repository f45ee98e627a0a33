"""Second derivatives that are guessed from the geometry, for optimizers to start from."""

from __future__ import annotations

import numpy as np
from ase.units import Bohr, Hartree
from jaxtyping import Bool, Float, Int

from molcalc.kernels import runtime as compiled
from molcalc.neighbors import pair_list

STRETCH, BEND, TORSION = 0.45 * Hartree / Bohr**2, 0.15 * Hartree, 0.005 * Hartree
"""Force constants at reference distances: eV/Å², eV, eV."""
LAST_OF_ROW = (2, 10)
"""Atomic numbers with which the first and the second row of the periodic table end; all others count as the third."""
DECAYS = np.array([[1.0, 0.3949, 0.3949], [0.3949, 0.28, 0.28], [0.3949, 0.28, 0.28]]) / Bohr**2
"""Å⁻², how fast force constants fall with the square of a distance, by rows of the two atoms."""
DISTANCES = np.array([[1.35, 2.10, 2.53], [2.10, 2.87, 3.40], [2.53, 3.40, 3.40]]) * Bohr
"""Å, reference distances by rows of the two atoms."""
REACH = 3.5
"""Å, distance beyond which no two atoms are coupled."""
WEAKEST = 0.01
"""Product of bond strengths below which a bend or a torsion is left out."""
BENT = 1e-2
"""Sine of the angle between bonds above which it bends."""
STRAIGHT = np.cos(np.radians(10.0))
"""Cosine of the angle between bonds below which a chain of atoms is straight, and has no torsion about it."""


def model_hessian(
    numbers: Int[np.ndarray, " n_atoms"],
    positions: Float[np.ndarray, "n_atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, " 3"],
) -> Float[np.ndarray, "3*n_atoms 3*n_atoms"]:
    """Model of the second derivatives of the energy at any geometry, near a minimum or not.

    Stretches, bends and torsions of all atoms, with force constants that fall with the distances (R. Lindh,
    A. Bernhardsson, G. Karlström, P.-Å. Malmqvist, Chem. Phys. Lett. 241, 423 (1995)). No bond needs to be known.

    Parameters
    ----------
    numbers : atomic numbers.
    positions, cell : Å.

    Returns
    -------
    (3·n_atoms, 3·n_atoms) float64, eV/Å²; symmetric, and positive but for displacements that change nothing.
    """
    n = len(numbers)
    hessian = np.zeros((n, 3, n, 3))
    half, shifts = pair_list(positions, cell, pbc, REACH)
    index = np.concatenate([half, half[::-1]], axis=1)
    shifts = np.concatenate([shifts, -shifts])
    vectors = positions[index[1]] - positions[index[0]] + shifts @ cell
    lengths = np.sqrt(np.einsum("ex,ex->e", vectors, vectors))
    rows = np.searchsorted(LAST_OF_ROW, numbers)
    i, j = rows[index]
    strengths = np.exp(DECAYS[i, j] * (DISTANCES[i, j] ** 2 - lengths**2))
    units = vectors / lengths[:, None]
    if compiled.available():
        from molcalc.kernels.model_hessian import add_bends, add_stretches, add_torsions

        order, starts, counts = _by_atom(index[0], n)
        by_atom = index, order, np.append(starts, starts[-1:] + counts[-1:])
        add_stretches(index, units, strengths, STRETCH, hessian)
        add_bends(*by_atom, units, lengths, strengths, WEAKEST, BENT, BEND, hessian)
        add_torsions(*by_atom, vectors, units, strengths, WEAKEST, STRAIGHT, TORSION, hessian)
        return hessian.reshape(3 * n, 3 * n)
    n_half = half.shape[1]
    _add(hessian, half, np.stack([-units[:n_half], units[:n_half]]), STRETCH * strengths[:n_half])
    _add(hessian, *_bends(index, units, lengths, strengths, n))
    _add(hessian, *_torsions(index, vectors, units, strengths, n))
    return hessian.reshape(3 * n, 3 * n)


def _add(hessian: np.ndarray, atoms: np.ndarray, slopes: np.ndarray, constants: np.ndarray) -> None:
    """Add k·(dq/dR)(dq/dR)ᵀ of internal coordinates q.

    Parameters
    ----------
    atoms : (n_ends, n_coordinates) atoms that move each coordinate.
    slopes : (n_ends, n_coordinates, 3) its derivatives.
    """
    size = 3 * len(hessian)
    shape = atoms.shape[1], 3 * atoms.shape[0]
    columns = (3 * atoms[:, :, None] + np.arange(3)).transpose(1, 0, 2).reshape(shape)
    rows = slopes.transpose(1, 0, 2).reshape(shape)
    values = constants[:, None, None] * rows[:, :, None] * rows[:, None, :]
    places = columns[:, :, None] * size + columns[:, None, :]
    hessian += np.bincount(places.ravel(), values.ravel(), minlength=size * size).reshape(hessian.shape)


def _strong(strengths: np.ndarray) -> np.ndarray:
    return np.flatnonzero(strengths > WEAKEST)


def _products(starts: np.ndarray, counts: np.ndarray, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, ...]:
    """Places of all combinations of an entry of one group with an entry of another, for pairs of groups.

    Parameters
    ----------
    starts, counts : first place and number of entries of each group.
    left, right : the groups of each pair.

    Returns
    -------
    place in the left group, place in the right group, number of the pair, of each combination.
    """
    sizes = counts[left] * counts[right]
    pair = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    width = counts[right[pair]]
    return starts[left[pair]] + within // width, starts[right[pair]] + within % width, pair


def _by_atom(first: np.ndarray, n_atoms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Order of edges by the atom that they start from; where those of each atom begin, and how many there are."""
    counts = np.bincount(first, minlength=n_atoms)
    return np.argsort(first, kind="stable"), np.cumsum(counts) - counts, counts


def _bends(
    index: np.ndarray, units: np.ndarray, lengths: np.ndarray, strengths: np.ndarray, n_atoms: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bends between two edges from one atom, as :func:`_add` takes them."""
    edges = _strong(strengths)
    order, starts, counts = _by_atom(index[0, edges], n_atoms)
    atoms = np.arange(n_atoms)
    one, two, _ = _products(starts, counts, atoms, atoms)
    once = one < two
    one, two = edges[order[one[once]]], edges[order[two[once]]]
    keep = strengths[one] * strengths[two] > WEAKEST
    one, two = one[keep], two[keep]
    cosine = np.einsum("ex,ex->e", units[one], units[two])
    sine = np.sqrt(np.maximum(1.0 - cosine**2, 0.0))
    bent = sine > BENT
    one, two, cosine, sine = one[bent], two[bent], cosine[bent, None], sine[bent, None]
    first = (cosine * units[one] - units[two]) / (sine * lengths[one, None])
    last = (cosine * units[two] - units[one]) / (sine * lengths[two, None])
    atoms = np.stack([index[1, one], index[0, one], index[1, two]])
    constants = BEND * strengths[one] * strengths[two]
    return atoms, np.stack([first, -first - last, last]), constants


def _torsions(
    index: np.ndarray, vectors: np.ndarray, units: np.ndarray, strengths: np.ndarray, n_atoms: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Torsions i–j–k–l about every edge j–k, as :func:`_add` takes them."""
    edges = _strong(strengths)
    order, starts, counts = _by_atom(index[0, edges], n_atoms)
    edges = edges[order]
    middle = edges[edges < index.shape[1] // 2]  # one direction of each
    a, b, m = _products(starts, counts, index[0, middle], index[1, middle])
    a, m, b = edges[a], middle[m], edges[b]
    keep = strengths[a] * strengths[m] * strengths[b] > WEAKEST
    keep &= (index[1, a] != index[1, m]) & (index[1, b] != index[0, m]) & (index[1, a] != index[1, b])
    for end in (a, b):
        keep &= np.abs(np.einsum("ex,ex->e", units[end], units[m])) < STRAIGHT
    a, m, b = a[keep], m[keep], b[keep]
    first, axis, last = -vectors[a], vectors[m], vectors[b]  # i→j, j→k, k→l
    length = np.sqrt(np.einsum("ex,ex->e", axis, axis))[:, None]
    one, two = np.cross(first, axis), np.cross(axis, last)
    slope_i = -length * one / np.einsum("ex,ex->e", one, one)[:, None]
    slope_l = length * two / np.einsum("ex,ex->e", two, two)[:, None]
    along_i = np.einsum("ex,ex->e", first, axis)[:, None] / length**2
    along_l = np.einsum("ex,ex->e", last, axis)[:, None] / length**2
    slope_j = -(1.0 + along_i) * slope_i + along_l * slope_l
    slope_k = -slope_i - slope_j - slope_l
    atoms = np.stack([index[1, a], index[0, m], index[1, m], index[1, b]])
    constants = TORSION * strengths[a] * strengths[m] * strengths[b]
    return atoms, np.stack([slope_i, slope_j, slope_k, slope_l]), constants
