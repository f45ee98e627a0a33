"""Sums of q_i q_j φ(r_ij) over pairs of charges, in torch or compiled, with exact gradients of any order."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from molcalc.kernels.runtime import SERIAL_WORK, share_range, usable

X_MAX = 1.0 - 1e-6
"""Largest d / short_range_cutoff put into the envelope, whose exponent diverges at 1."""
MIN_SQUARED_DISTANCE = 1e-24
"""Å²; keeps a damped interaction and its gradient finite for coinciding charges."""
OPERATIONS_PER_PAIR = 50.0
"""Multiply-adds of one pair, to decide on threads."""

NO_SHIFTS = torch.empty(0, 3, dtype=torch.float64)
"""Stands for the translations where no system is periodic."""


@dataclass(frozen=True)
class Pairs:
    """A list of pairs of charges: each unordered pair once.

    Attributes
    ----------
    index : (2, n_pairs) int64.
    shifts : (n_pairs, 3) float64 lattice translations, r_ij = R[j] − R[i] + shift @ cell; or ``NO_SHIFTS``.
    system_idx : (n_charges,) int64.
    complete : whether these are all pairs of every system.
    """

    index: Int[Tensor, "2 n_pairs"]
    shifts: Float[Tensor, "n_pairs 3"] | Float[Tensor, "0 3"]
    system_idx: Int[Tensor, " n_charges"]
    complete: bool = False

    def vectors(
        self, positions: Float[Tensor, "n_charges 3"], cell: Float[Tensor, "n_systems 3 3"]
    ) -> Float[Tensor, "n_pairs 3"]:
        """(n_pairs, 3) r_ij in Å."""
        i, j = self.index[0], self.index[1]
        vectors = positions.index_select(0, j) - positions.index_select(0, i)
        if self.shifts.shape[0]:
            rows = cell.index_select(0, self.system_idx.index_select(0, i))
            vectors = vectors + torch.einsum("ei,eij->ej", self.shifts, rows)
        return vectors

    def select(self, kept: Int[Tensor, " n_kept"]) -> Pairs:
        """The pairs with the given indices."""
        shifts = self.shifts.index_select(0, kept) if self.shifts.shape[0] else self.shifts
        return Pairs(self.index.index_select(1, kept), shifts, self.system_idx)


@dataclass(frozen=True)
class ScreenedCoulomb:
    r"""Radial form of the Coulomb methods, zero for d ≥ ``cutoff``.

    .. math:: φ(d) = \frac{\mathrm{erfc}(α d) - g(d)}{d} + a\,d + b, \qquad
        g(d) = \exp\!\left(1 - \frac{1}{1 - (d/r_s)^2}\right) \text{ for } d < r_s

    Attributes
    ----------
    alpha : screening α in 1/Å; 0 leaves 1/d.
    slope, shift : a in 1/Å² and b in 1/Å.
    cutoff : Å.
    short_range_cutoff : r_s in Å; 0 leaves the envelope g out.
    """

    alpha: float = 0.0
    slope: float = 0.0
    shift: float = 0.0
    cutoff: float = math.inf
    short_range_cutoff: float = 0.0

    def value(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """φ(d) in 1/Å."""
        value = self._numerator(d) / d + (self.slope * d + self.shift)
        return value * (d < self.cutoff)

    def derivative(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """dφ/dd in 1/Å²."""
        change = torch.zeros_like(d)
        if self.short_range_cutoff:
            x = (d / self.short_range_cutoff).clamp(max=X_MAX)
            rest = 1.0 / (1.0 - x * x)
            envelope = torch.exp(-x * x * rest)
            change = envelope * (2.0 / self.short_range_cutoff) * x * rest * rest
        if self.alpha:
            screened = torch.exp(-((self.alpha * d) ** 2))
            change = change - 2.0 * self.alpha / math.sqrt(math.pi) * screened
        derivative = (change - self._numerator(d) / d) / d + self.slope
        return derivative * (d < self.cutoff)

    def distances(self, vectors: Float[Tensor, "n_pairs 3"]) -> Float[Tensor, " n_pairs"]:
        """(n_pairs,) distances in Å; bounded from below where φ is damped."""
        if self.short_range_cutoff:
            return distances_above_zero(vectors)
        return (vectors * vectors).sum(dim=1).sqrt()

    def _numerator(self, d: Tensor) -> Tensor:
        """erfc(αd) − g(d), without cancellation where both are near 1 or erfc is tiny."""
        far = torch.special.erfc(self.alpha * d) if self.alpha else torch.ones_like(d)
        if not self.short_range_cutoff:
            return far
        x = (d / self.short_range_cutoff).clamp(max=X_MAX)
        near = -torch.expm1(-x * x / (1.0 - x * x))
        if self.alpha:
            near = near - torch.special.erf(self.alpha * d)
        return torch.where(d < self.short_range_cutoff, near, far)

    @cached_property
    def bare(self) -> bool:
        """Whether φ(d) = (1 − g(d)) / d at every distance."""
        return (self.alpha, self.slope, self.shift, self.cutoff) == (0.0, 0.0, 0.0, math.inf)

    @cached_property
    def parameters(self) -> Float64[np.ndarray, " 5"]:
        """(5,) float64, in the order the compiled kernels read them."""
        return np.array([self.alpha, self.slope, self.shift, self.cutoff, self.short_range_cutoff])


def distances_above_zero(vectors: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    """(n,) lengths in Å, bounded from below so that a damped energy of coinciding charges has a gradient."""
    return (vectors * vectors).sum(dim=1).clamp(min=MIN_SQUARED_DISTANCE).sqrt()


def charge_pair_energies(
    positions: Float[Tensor, "n_charges 3"],
    charges: Float[Tensor, " n_charges"],
    cell: Float[Tensor, "n_systems 3 3"],
    pairs: Pairs,
    form: ScreenedCoulomb,
) -> Float64[Tensor, " n_charges"]:
    """(n_charges,) float64 sums of ½ q_i q_j φ(r_ij) in e²/Å: half of every pair goes to each partner.

    Parameters
    ----------
    positions : (n_charges, 3) float64, Å.
    charges : (n_charges,) float64, e.
    cell : (n_systems, 3, 3) float64, Å.
    """
    if usable(positions):
        energies: Tensor = _CompiledPairSum.apply(positions, charges, cell, pairs, form)
        return energies
    distances = form.distances(pairs.vectors(positions, cell))
    return radial_pair_energies(distances, charges, pairs, form.value)


def radial_pair_energies(
    distances: Float[Tensor, " n_pairs"],
    charges: Float[Tensor, " n_charges"],
    pairs: Pairs,
    value: Callable[[Float[Tensor, " n_pairs"]], Float[Tensor, " n_pairs"]],
) -> Float[Tensor, " n_charges"]:
    """(n_charges,) sums of ½ q_i q_j value(d_ij) for any radial form, differentiated by torch."""
    i, j = pairs.index[0], pairs.index[1]
    energy = 0.5 * charges.index_select(0, i) * charges.index_select(0, j) * value(distances)
    return torch.zeros_like(charges).index_add(0, i, energy).index_add(0, j, energy)


class _CompiledPairSum(torch.autograd.Function):
    """Compiled energies and first derivatives; derivatives of derivatives go through torch operations.

    The derivatives of the plain sum of all e_i come with the energies (∂Σe/∂q_i is the potential, and
    e_i = ½ q_i ∂Σe/∂q_i), so only a weighted sum needs another pass.
    """

    @staticmethod
    def forward(
        ctx: Any, positions: Tensor, charges: Tensor, cell: Tensor, pairs: Pairs, form: ScreenedCoulomb
    ) -> Tensor:
        ctx.save_for_backward(positions, charges, cell)
        ctx.pairs, ctx.form = pairs, form
        ones = np.ones(charges.shape[0])
        ctx.of_plain_sum = _compiled_gradients(positions, charges, cell, pairs, form, ones)
        return torch.from_numpy(0.5 * _array(charges) * ctx.of_plain_sum[1])

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        positions, charges, cell = ctx.saved_tensors
        if torch.is_grad_enabled():
            gradients = _torch_gradients(positions, charges, cell, ctx.pairs, ctx.form, upstream[0])
            return *gradients, None, None
        weights = _array(upstream[0])
        if weights.size and (weights == weights[0]).all():
            arrays = [weights[0] * gradient for gradient in ctx.of_plain_sum]
        else:
            arrays = _compiled_gradients(positions, charges, cell, ctx.pairs, ctx.form, weights)
        return *(torch.from_numpy(array) for array in arrays), None, None


def _compiled_gradients(
    positions: Tensor, charges: Tensor, cell: Tensor, pairs: Pairs, form: ScreenedCoulomb, weights: np.ndarray
) -> list[np.ndarray]:
    """Derivatives of Σ_i weights_i e_i with respect to positions, charges and cell."""
    from molcalc.kernels import charge_pairs as pair_kernels

    n_charges, n_pairs = charges.shape[0], pairs.index.shape[1]
    work = OPERATIONS_PER_PAIR * n_pairs
    n_slots = max(1, min(torch.get_num_threads(), int(work / SERIAL_WORK)))
    to_charges, to_cell = np.zeros((n_slots, n_charges)), np.zeros((n_slots, *cell.shape))
    q, system_idx = _array(charges), _array(pairs.system_idx)
    if pairs.complete and form.bare:
        xyz, to_xyz = np.ascontiguousarray(_array(positions).T), np.zeros((n_slots, 3, n_charges))
        molecules = (xyz, q, system_idx, form.short_range_cutoff, weights)
        share_range(pair_kernels.complete, n_slots, work, *molecules, to_charges, to_xyz)
        to_positions = to_xyz.transpose(0, 2, 1)
    else:
        to_positions = np.zeros((n_slots, n_charges, 3))
        system = (_array(positions), q, _array(cell), system_idx)
        parameters = (_array(pairs.index), _array(pairs.shifts), form.parameters, weights)
        outputs = (to_charges, to_positions, to_cell)
        share_range(pair_kernels.listed, n_slots, work, *system, *parameters, *outputs)
    return [slots.sum(axis=0) for slots in (to_positions, to_charges, to_cell)]


def _array(tensor: Tensor) -> np.ndarray:
    """The contiguous array that compiled kernels take."""
    return tensor.detach().contiguous().numpy()


def _torch_gradients(
    positions: Tensor, charges: Tensor, cell: Tensor, pairs: Pairs, form: ScreenedCoulomb, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What the compiled kernels compute, in operations that can be differentiated again."""
    i, j = pairs.index[0], pairs.index[1]
    vectors = pairs.vectors(positions, cell)
    distances = form.distances(vectors)
    q_i, q_j = charges.index_select(0, i), charges.index_select(0, j)
    weight = 0.5 * (weights.index_select(0, i) + weights.index_select(0, j))
    potential = weight * form.value(distances)
    to_charges = torch.zeros_like(charges).index_add(0, i, potential * q_j).index_add(0, j, potential * q_i)
    to_vectors = (weight * q_i * q_j * form.derivative(distances) / distances)[:, None] * vectors
    to_positions = torch.zeros_like(positions).index_add(0, j, to_vectors).index_add(0, i, -to_vectors)
    to_cell = torch.zeros_like(cell)
    if pairs.shifts.shape[0]:
        strained = pairs.shifts[:, :, None] * to_vectors[:, None, :]
        to_cell = to_cell.index_add(0, pairs.system_idx.index_select(0, i), strained)
    return to_positions, to_charges, to_cell
