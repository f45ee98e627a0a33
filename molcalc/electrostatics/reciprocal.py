"""Sums over reciprocal lattice vectors: |structure factor|² with given weights, per charge and differentiable."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from molcalc.kernels.differentiation import CompiledFunction, Gradients, Tensors, Wanted, differentiable
from molcalc.kernels.runtime import array, share_range, slots_for, usable

DIRECT_PHASES = 100_000
"""Charges times vectors up to which all phases are held at once."""
COMPILED_PHASES = 10_000_000
"""Charges times vectors from which matrix products beat compiled loops."""
OPERATIONS_PER_PHASE = 12.0
"""Multiply-adds for one charge and one vector, to decide on threads."""


def half_space(cell: Float[np.ndarray, "3 3"], cutoff: float) -> Int[np.ndarray, "n_vectors 3"]:
    """(n_vectors, 3) int64 indices h of one vector out of each pair ±k with 0 < |k| < ``cutoff``.

    Parameters
    ----------
    cell : (3, 3) Å, rows are lattice vectors; k = 2π inv(cell) @ h.
    cutoff : 1/Å.

    Returns
    -------
    (n_vectors, 3) int64
    """
    largest = np.floor(cutoff * np.linalg.norm(cell, axis=1) / (2.0 * math.pi)).astype(int)
    ranges = [np.arange(0, largest[0] + 1), *(np.arange(-n, n + 1) for n in largest[1:])]
    indices = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    h, k, m = indices.T
    first = (h > 0) | ((h == 0) & (k > 0)) | ((h == 0) & (k == 0) & (m > 0))
    vectors = 2.0 * math.pi * indices @ np.linalg.inv(cell).T
    return indices[first & (np.square(vectors).sum(axis=1) < cutoff * cutoff)]


def structure_factor_energies(
    fractional: Float64[Tensor, "n_charges 3"],
    charges: Float64[Tensor, " n_charges"],
    weights: Float64[Tensor, " n_vectors"],
    indices: Int[Tensor, "n_vectors 3"],
) -> Float64[Tensor, " n_charges"]:
    r"""Weighted squared structure factors, shared among the charges.

    .. math:: e_i = q_i \sum_h w_h \mathrm{Re}\left[e^{-2π\mathrm{i}\,h·s_i} S_h\right], \qquad
        S_h = \sum_j q_j e^{2π\mathrm{i}\,h·s_j}, \qquad \sum_i e_i = \sum_h w_h |S_h|^2

    Parameters
    ----------
    fractional : (n_charges, 3) float64 s, positions in units of the lattice vectors.
    charges : (n_charges,) float64.
    weights : (n_vectors,) float64 w.
    indices : (n_vectors, 3) int64 h, sorted by the first column as :func:`half_space` returns them.

    Returns
    -------
    (n_charges,) float64
    """
    return differentiable(_StructureFactorEnergies(indices), fractional, charges, weights)[0]


@dataclass(frozen=True)
class _StructureFactorEnergies(CompiledFunction):
    """Energies, with the gradient of their plain sum; other gradients, and theirs, are by torch operations."""

    indices: Tensor

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        fractional, charges, weights = inputs
        arguments = (fractional, charges, weights, self.indices)
        n_phases = len(charges) * len(self.indices)
        if usable(charges) and n_phases <= COMPILED_PHASES:
            of_plain_sum = _compiled_gradients(*arguments)
        elif n_phases <= DIRECT_PHASES:
            of_plain_sum = _gradients(*arguments, torch.ones_like(charges))
        else:
            of_plain_sum = _factored_gradients(*arguments)
        return (0.5 * charges * of_plain_sum[1],), of_plain_sum

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients | None:
        (scale,) = upstream
        return tuple(scale[0] * gradient for gradient in kept) if bool((scale == scale[0]).all()) else None

    def torch_gradient(self, inputs: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients:
        fractional, charges, weights = inputs
        return _gradients(fractional, charges, weights, self.indices, upstream[0])


def _gradients(fractional: Tensor, charges: Tensor, weights: Tensor, indices: Tensor, upstream: Tensor) -> Tensors:
    """Derivatives by coordinates, charges and weights of Σ_i u_i e_i = Σ_h w_h Re[conj(T_h) S_h].

    Here T_h = Σ_i u_i q_i exp(2πi h·s_i).
    """
    h = indices.to(fractional.dtype)
    angles = 2.0 * math.pi * fractional @ h.T
    cosine, sine = torch.cos(angles), torch.sin(angles)
    loaded = upstream * charges
    s_re, s_im, t_re, t_im = charges @ cosine, charges @ sine, loaded @ cosine, loaded @ sine
    by_charges = upstream * (cosine @ (weights * s_re) + sine @ (weights * s_im))
    by_charges = by_charges + cosine @ (weights * t_re) + sine @ (weights * t_im)
    re, im = upstream[:, None] * s_re + t_re, upstream[:, None] * s_im + t_im
    by_place = 2.0 * math.pi * charges[:, None] * (((cosine * im - sine * re) * weights) @ h)
    return by_place, by_charges, t_re * s_re + t_im * s_im


def _compiled_gradients(fractional: Tensor, charges: Tensor, weights: Tensor, indices: Tensor) -> Tensors:
    """Derivatives of Σ_i e_i by compiled loops."""
    from molcalc.kernels import reciprocal as reciprocal_kernels

    s, q, h = (array(tensor) for tensor in (fractional, charges, indices))
    work = OPERATIONS_PER_PHASE * len(q) * len(h)
    n_slots = slots_for(work)
    reach = int(np.abs(h).max(initial=0))
    starts = np.flatnonzero(np.diff(h[:, :2], axis=0, prepend=h[:1, :2] - 1).any(axis=1))
    runs = np.vstack([np.column_stack([h[starts], starts]), [[0, 0, 0, len(h)]]])
    re, im = np.zeros((n_slots, len(h))), np.zeros((n_slots, len(h)))
    share_range(reciprocal_kernels.structure_factors, n_slots, work, s, q, runs, reach, re, im)
    re, im, w = re.sum(axis=0), im.sum(axis=0), weights.detach().numpy()
    potential, gradient = np.empty(len(q)), np.empty((len(q), 3))
    weighted = (w * re, w * im)
    share_range(reciprocal_kernels.potentials, len(q), work, s, runs, reach, *weighted, potential, gradient)
    by_place = 4.0 * math.pi * q[:, None] * gradient
    return torch.from_numpy(by_place), torch.from_numpy(2.0 * potential), torch.from_numpy(re * re + im * im)


def _factored_gradients(fractional: Tensor, charges: Tensor, weights: Tensor, indices: Tensor) -> Tensors:
    """Derivatives of Σ_i e_i by matrix products, one plane of constant first index at a time.

    exp(2πi h·s) is a product of one factor per axis, so that a plane of structure factors is
    (q exp(h₁) exp(h₂))ᵀ exp(h₃), and the potential of the plane at the charges is the reverse product.
    """
    by_place, potential = torch.zeros_like(fractional), torch.zeros_like(charges)
    squared = torch.empty_like(weights)
    planes, counts = torch.unique_consecutive(indices[:, 0], return_counts=True)
    edges = [0, *counts.cumsum(0).tolist()]
    reach = int(indices[:, 1:].abs().max())
    phases = [_phases(fractional[:, axis], reach) for axis in (1, 2)]
    for plane, start, stop in zip(planes.tolist(), edges, edges[1:]):
        columns = indices[start:stop, 1:]
        low, high = columns.amin(dim=0).tolist(), columns.amax(dim=0).tolist()
        k, m = (torch.arange(a, b + 1, device=indices.device) for a, b in zip(low, high))
        place = (columns[:, 0] - low[0]) * len(m) + columns[:, 1] - low[1]
        along_k, along_m = (phases[axis][:, low[axis] + reach : high[axis] + reach + 1] for axis in (0, 1))
        along_h = _unit(plane * fractional[:, 0])
        factors = (along_k * (charges * along_h)[:, None]).T @ along_m
        flat = factors.flatten()[place]
        squared[start:stop] = flat.real**2 + flat.imag**2
        weighted = torch.zeros_like(factors).flatten().index_copy(0, place, weights[start:stop] * flat.conj())
        weighted = weighted.reshape(factors.shape)
        back = along_m @ torch.cat([weighted, weighted * m]).T
        part, part_m = (along_k * half for half in back.split(len(k), dim=1))
        total = part.sum(dim=1)
        potential += (along_h * total).real
        moments = torch.stack([plane * total, part @ k.to(part.dtype), part_m.sum(dim=1)], dim=1)
        by_place -= (along_h[:, None] * moments).imag
    return 4.0 * math.pi * charges[:, None] * by_place, 2.0 * potential, squared


def _phases(fractional: Tensor, reach: int) -> Tensor:
    """(n_charges, 2·reach + 1) complex exp(2πi n s) for n = −reach … reach."""
    orders = torch.arange(-reach, reach + 1, dtype=fractional.dtype, device=fractional.device)
    return _unit(fractional[:, None] * orders)


def _unit(turns: Tensor) -> Tensor:
    """exp(2πi t)."""
    return torch.polar(torch.ones_like(turns), 2.0 * math.pi * turns)
