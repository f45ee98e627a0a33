r"""Potential of point charges, and of dipoles and quadrupoles, at points, summed within each system.

.. math:: V(g) = \sum_a \frac{q_a}{r} + \frac{p_a \cdot u}{r^2} + \frac{3}{2} \frac{u \cdot Θ_a \cdot u}{r^3},
    \qquad r\,u = g - x_a

Compiled values and first derivatives by charges and sites; everything else goes through torch operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from molcalc.kernels.differentiation import CompiledFunction, Gradients, Tensors, Wanted, differentiable
from molcalc.kernels.runtime import array, share_range, usable
from molcalc.nn.segments import segment_sum

POINT_PAIRS_AT_ONCE = 1_000_000
"""Pairs of a point and a charge that are held in memory together."""
BLOCK_POINTS = 4096
"""Points of one system that a thread works on at a time."""
OPERATIONS_PER_POINT_PAIR = 20.0
"""Multiply-adds of one pair, to decide on threads."""


def point_potential(
    points: Float64[Tensor, "n_points 3"],
    sites: Float64[Tensor, "n_charges 3"],
    charges: Float64[Tensor, " n_charges"],
    point_system_idx: Int[Tensor, " n_points"],
    system_idx: Int[Tensor, " n_charges"],
) -> Float64[Tensor, " n_points"]:
    """(n_points,) e/Å; arguments as in :func:`molcalc.electrostatics.multipoles.electrostatic_potential`, float64."""
    if not usable(points, sites, charges):
        return potential_torch(points, sites, charges, point_system_idx, system_idx)
    return _by_system(_Potential, point_system_idx, system_idx, points, sites, charges)


def moment_potential(
    points: Float64[Tensor, "n_points 3"],
    centers: Float64[Tensor, "n_atoms 3"],
    dipoles: Float64[Tensor, "n_atoms 3"],
    quadrupoles: Float64[Tensor, "n_atoms 3 3"],
    point_system_idx: Int[Tensor, " n_points"],
    system_idx: Int[Tensor, " n_atoms"],
) -> Float64[Tensor, " n_points"]:
    """(n_points,) e/Å of dipoles (n_atoms, 3) e·Å and symmetric traceless quadrupoles (n_atoms, 3, 3) e·Å² of atoms."""
    tensors = (points, centers, dipoles, quadrupoles)
    if not usable(*tensors):
        return moments_torch(*tensors, point_system_idx, system_idx)
    return _by_system(_MomentPotential, point_system_idx, system_idx, *tensors)


def _by_system(
    kind: type[_AtPoints], point_system_idx: Tensor, system_idx: Tensor, points: Tensor, *others: Tensor
) -> Tensor:
    """A compiled potential at points in any order."""
    if bool((point_system_idx[1:] >= point_system_idx[:-1]).all()):
        return differentiable(kind(point_system_idx, system_idx), points, *others)[0]
    order = torch.argsort(point_system_idx, stable=True)
    by_system = kind(point_system_idx.index_select(0, order), system_idx)
    (ordered,) = differentiable(by_system, points.index_select(0, order), *others)
    return torch.zeros_like(ordered).index_copy(0, order, ordered)


def potential_torch(
    points: Float64[Tensor, "n_points 3"],
    sites: Float64[Tensor, "n_charges 3"],
    charges: Float64[Tensor, " n_charges"],
    point_system_idx: Int[Tensor, " n_points"],
    system_idx: Int[Tensor, " n_charges"],
) -> Float64[Tensor, " n_points"]:
    """Reference of :func:`point_potential`, in operations that can be differentiated any number of times."""
    parts = [points.new_empty(0)]
    for chunk, point, site in pairs_in_chunks(point_system_idx, system_idx):
        distances = (points[chunk].index_select(0, point) - sites.index_select(0, site)).norm(dim=1)
        parts.append(segment_sum(charges.index_select(0, site) / distances, point, len(points[chunk])))
    return torch.cat(parts)


def moments_torch(
    points: Float64[Tensor, "n_points 3"],
    centers: Float64[Tensor, "n_atoms 3"],
    dipoles: Float64[Tensor, "n_atoms 3"],
    quadrupoles: Float64[Tensor, "n_atoms 3 3"],
    point_system_idx: Int[Tensor, " n_points"],
    system_idx: Int[Tensor, " n_atoms"],
) -> Float64[Tensor, " n_points"]:
    """Reference of :func:`moment_potential`, in operations that can be differentiated any number of times."""
    parts = [points.new_empty(0)]
    for chunk, point, atom in pairs_in_chunks(point_system_idx, system_idx):
        arms = points[chunk].index_select(0, point) - centers.index_select(0, atom)
        distances = arms.norm(dim=1)
        along = (arms * dipoles.index_select(0, atom)).sum(dim=1)
        pulled = torch.einsum("px,pxy,py->p", arms, quadrupoles.index_select(0, atom), arms)
        parts.append(segment_sum(along / distances**3 + 1.5 * pulled / distances**5, point, len(points[chunk])))
    return torch.cat(parts)


def pairs_in_chunks(
    point_system_idx: Int[Tensor, " n_points"], system_idx: Int[Tensor, " n_charges"]
) -> Iterator[tuple[slice, Int[Tensor, " n_pairs"], Int[Tensor, " n_pairs"]]]:
    """Slices of the points, each with the point (counted within the slice) and charge of every pair."""
    n_systems = 1 + max((int(index.max()) for index in (point_system_idx, system_idx) if len(index)), default=-1)
    counts = torch.bincount(system_idx, minlength=n_systems)
    first = counts.cumsum(0) - counts
    per_point = counts.index_select(0, point_system_idx)
    step = max(1, POINT_PAIRS_AT_ONCE // max([1, *counts.tolist()]))
    for start in range(0, len(point_system_idx), step):
        chunk = slice(start, start + step)
        n_pairs = per_point[chunk]
        point = torch.repeat_interleave(n_pairs)
        before = n_pairs.cumsum(0) - n_pairs
        place = torch.arange(len(point), device=point.device) - before.index_select(0, point)
        yield chunk, point, place + first.index_select(0, point_system_idx[chunk]).index_select(0, point)


@dataclass(frozen=True)
class _AtPoints(CompiledFunction):
    """A potential at points that are sorted by system."""

    point_system_idx: Tensor
    system_idx: Tensor

    @cached_property
    def _ranges(self) -> np.ndarray:
        """(n_systems, 4) int64 first and last point, first and last charge of each system."""
        columns = []
        indices = [array(index) for index in (self.point_system_idx, self.system_idx)]
        systems = np.arange(1 + max((int(index[-1]) for index in indices if len(index)), default=-1))
        for index in indices:
            columns += [np.searchsorted(index, systems, side="left"), np.searchsorted(index, systems, side="right")]
        return np.stack(columns, axis=1)


class _Potential(_AtPoints):
    """Potential of charges."""

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        from molcalc.kernels import point_potential as kernels

        points, sites, charges = inputs
        result = points.new_empty(len(points))
        blocks = _split(self._ranges)
        xyz = points.detach().T.contiguous()
        arrays = (array(tensor) for tensor in (xyz, sites, charges, result))
        share_range(kernels.potential, len(blocks), _work(blocks), blocks, *arrays)
        return (result,), (xyz,)

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients | None:
        if wanted(0):
            return None
        from molcalc.kernels import point_potential as kernels

        _, sites, charges = inputs
        to_sites, to_charges = sites.new_zeros(sites.shape), charges.new_zeros(charges.shape)
        blocks = self._ranges
        arrays = (array(tensor) for tensor in (kept[0], sites, charges, upstream[0], to_sites, to_charges))
        share_range(kernels.gradients, len(blocks), _work(blocks), blocks, *arrays)
        return None, to_sites, to_charges

    def formula(self, *inputs: Tensor) -> Tensors:
        points, sites, charges = inputs
        return (potential_torch(points, sites, charges, self.point_system_idx, self.system_idx),)


class _MomentPotential(_AtPoints):
    """Potential of dipoles and quadrupoles."""

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        from molcalc.kernels import point_potential as kernels

        points, *moments = inputs
        result = points.new_empty(len(points))
        blocks = _split(self._ranges)
        xyz = points.detach().T.contiguous()
        arrays = (array(tensor) for tensor in (xyz, *moments, result))
        share_range(kernels.moment_potential, len(blocks), 2.0 * _work(blocks), blocks, *arrays)
        return (result,), (xyz,)

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients | None:
        if wanted(0) or wanted(1):
            return None
        from molcalc.kernels import point_potential as kernels

        _, centers, dipoles, quadrupoles = inputs
        to_dipoles, to_quadrupoles = dipoles.new_zeros(dipoles.shape), quadrupoles.new_zeros(quadrupoles.shape)
        blocks = self._ranges
        arrays = (array(tensor) for tensor in (kept[0], centers, upstream[0], to_dipoles, to_quadrupoles))
        share_range(kernels.moment_gradients, len(blocks), 2.0 * _work(blocks), blocks, *arrays)
        return None, None, to_dipoles, to_quadrupoles

    def formula(self, *inputs: Tensor) -> Tensors:
        points, centers, dipoles, quadrupoles = inputs
        return (moments_torch(points, centers, dipoles, quadrupoles, self.point_system_idx, self.system_idx),)


def _split(blocks: np.ndarray) -> np.ndarray:
    """The same ranges with at most BLOCK_POINTS points each."""
    if len(blocks) == 0 or (blocks[:, 1] - blocks[:, 0]).max() <= BLOCK_POINTS:
        return blocks
    parts = [
        (start, min(start + BLOCK_POINTS, last), *sites)
        for first, last, *sites in blocks.tolist()
        for start in range(first, last, BLOCK_POINTS)
    ]
    return np.array(parts, dtype=np.int64)


def _work(blocks: np.ndarray) -> float:
    return OPERATIONS_PER_POINT_PAIR * float(((blocks[:, 1] - blocks[:, 0]) * (blocks[:, 3] - blocks[:, 2])).sum())
