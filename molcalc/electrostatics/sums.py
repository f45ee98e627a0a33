"""Sums over pairs of charges in real space: all of a molecule, or those within a cutoff.

What is summed, q_i q_j φ(r_ij), is a formula of :mod:`molcalc.electrostatics.pair_formulas`; another way to sum is
:mod:`molcalc.electrostatics.ewald`. Sums run in torch or compiled, with exact gradients of any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.electrostatics.charged_cells import ChargedCells
from molcalc.electrostatics.pair_formulas import PairFormula, ScreenedCoulomb
from molcalc.errors import CellError, ConfigError
from molcalc.kernels.differentiation import CompiledFunction, Gradients, Tensors, Wanted, common_value, differentiable
from molcalc.kernels.runtime import array, share_range, slots_for, usable
from molcalc.neighbors import all_pairs, pair_list
from molcalc.nn.segments import segment_sum

OPERATIONS_PER_CHARGE_PAIR = 50.0
"""Multiply-adds of one pair, to decide on threads."""

NO_SHIFTS = torch.empty(0, 3, dtype=torch.float64)
"""Stands for the translations where no system is periodic."""

ChargeDerivatives = tuple[
    Float64[Tensor, "n_charges 3"], Float64[Tensor, " n_charges"], Float64[Tensor, "n_systems 3 3"]
]
"""Derivatives of an energy by positions, charges (which is the potential) and cells; in e²/Å², e/Å and e²/Å²."""


@dataclass(frozen=True)
class ChargePairs:
    """A list of pairs of charges: each unordered pair once.

    Attributes
    ----------
    listed : (2, n_pairs) int64; None for all pairs of large molecules, which compiled sums do not read.
    shifts : (n_pairs, 3) float64 lattice translations, r_ij = R[j] − R[i] + shift @ cell; or ``NO_SHIFTS``.
    system_idx : (n_charges,) int64.
    complete : whether these are all pairs of every system.
    """

    listed: Int[Tensor, "2 n_pairs"] | None
    shifts: Float[Tensor, "n_pairs 3"] | Float[Tensor, "0 3"]
    system_idx: Int[Tensor, " n_charges"]
    complete: bool = False

    @property
    def index(self) -> Int[Tensor, "2 n_pairs"]:
        """(2, n_pairs) int64, made anew where it is not kept."""
        return _listed(self.system_idx, all_pairs) if self.listed is None else self.listed

    @property
    def n_pairs(self) -> int:
        if self.listed is not None:
            return int(self.listed.shape[1])
        sizes = torch.bincount(self.system_idx)
        return int((sizes * (sizes - 1)).sum()) // 2

    def vectors(
        self, positions: Float[Tensor, "n_charges 3"], cell: Float[Tensor, "n_systems 3 3"]
    ) -> Float[Tensor, "n_pairs 3"]:
        """(n_pairs, 3) r_ij in Å."""
        i, j = self.index
        vectors = positions.index_select(0, j) - positions.index_select(0, i)
        if self.shifts.shape[0]:
            rows = cell.index_select(0, self.system_idx.index_select(0, i))
            vectors = vectors + torch.einsum("ei,eij->ej", self.shifts, rows)
        return vectors

    def select(self, kept: Int[Tensor, " n_kept"]) -> ChargePairs:
        """The pairs with the given indices."""
        shifts = self.shifts.index_select(0, kept) if self.shifts.shape[0] else self.shifts
        return ChargePairs(self.index.index_select(1, kept), shifts, self.system_idx)


class ChargeSum(Protocol):
    """A way to sum the energies of charges.

    Attributes
    ----------
    supports_periodic : whether it is defined for periodic structures.
    pair_cutoff : Å, up to which it needs the pairs of a batch.
    """

    @property
    def supports_periodic(self) -> bool: ...

    @property
    def pair_cutoff(self) -> float: ...

    def energies(
        self, batch: AtomicBatch, charges: Float64[Tensor, " n_atoms"], formula: PairFormula
    ) -> Float64[Tensor, " n_atoms"]:
        """(n_atoms,) energies in e²/Å of charges (n_atoms,) in e."""
        ...

    def derivatives(
        self, batch: AtomicBatch, charges: Float64[Tensor, " n_atoms"], formula: PairFormula
    ) -> ChargeDerivatives | None:
        """Derivatives of the sum of all energies by positions, charges and cells; None where no loops compute them."""
        ...


class AllPairs:
    """Sum over all pairs of a molecule.

    Parameters
    ----------
    instead : what to do for a periodic structure, for the error message.
    """

    supports_periodic = False
    pair_cutoff = math.inf

    def __init__(self, instead: str) -> None:
        self.instead = instead

    def pairs(self, batch: AtomicBatch) -> ChargePairs:
        """All pairs of the batch; raises CellError for a periodic structure."""
        if batch.periodic:
            pbc = batch.pbc[batch.pbc.any(dim=1)][0].tolist()
            raise CellError(
                f"a sum over all pairs of charges is not defined for periodic structures (pbc={pbc}): {self.instead}, "
                "or switch pbc off"
            )
        return batch_pairs(batch, math.inf)

    def energies(
        self, batch: AtomicBatch, charges: Float64[Tensor, " n_atoms"], formula: PairFormula
    ) -> Float64[Tensor, " n_atoms"]:
        """(n_atoms,) energies in e²/Å of charges (n_atoms,) in e."""
        return pair_sum(batch.positions, charges, batch.cell, self.pairs(batch), formula)

    def derivatives(
        self, batch: AtomicBatch, charges: Float64[Tensor, " n_atoms"], formula: PairFormula
    ) -> ChargeDerivatives | None:
        """Derivatives of the sum of all energies by positions, charges and cells; None where no loops compute them."""
        return pair_sum_derivatives(batch.positions, charges, batch.cell, self.pairs(batch), formula)


class WithinCutoff:
    """Sum over pairs within a cutoff, for molecules and any periodicity.

    Parameters
    ----------
    pair_cutoff : Å.
    """

    supports_periodic = True

    def __init__(self, pair_cutoff: float) -> None:
        self.pair_cutoff = pair_cutoff
        self._charged = ChargedCells("charges around each atom, at the cutoff, neutralise it")

    def pairs(self, batch: AtomicBatch) -> ChargePairs:
        """Pairs of the batch; raises ConfigError when its list ends before the cutoff."""
        return batch_pairs(batch, self.pair_cutoff)

    def energies(
        self, batch: AtomicBatch, charges: Float64[Tensor, " n_atoms"], formula: PairFormula
    ) -> Float64[Tensor, " n_atoms"]:
        """(n_atoms,) energies in e²/Å of charges (n_atoms,) in e; warns of a charged periodic cell once."""
        self._look_at_charge(batch, charges)
        return pair_sum(batch.positions, charges, batch.cell, self.pairs(batch), formula)

    def derivatives(
        self, batch: AtomicBatch, charges: Float64[Tensor, " n_atoms"], formula: PairFormula
    ) -> ChargeDerivatives | None:
        """Derivatives of the sum of all energies by positions, charges and cells; None where no loops compute them."""
        self._look_at_charge(batch, charges)
        return pair_sum_derivatives(batch.positions, charges, batch.cell, self.pairs(batch), formula)

    def _look_at_charge(self, batch: AtomicBatch, charges: Tensor) -> None:
        if batch.periodic:
            totals = segment_sum(charges.detach(), batch.system_idx, batch.n_systems)[batch.pbc.any(dim=1)]
            self._charged.look_at(float(totals[totals.abs().argmax()]))


def batch_pairs(batch: AtomicBatch, cutoff: float) -> ChargePairs:
    """Pairs of the batch, complete up to ``cutoff`` Å; raises ConfigError when the list ends before."""
    complete, periodic = math.isinf(batch.pair_cutoff), batch.periodic
    if batch.pair_cutoff == 0.0 and not periodic:
        return _unlisted_pairs(batch, cutoff)
    if batch.pair_cutoff < cutoff:
        raise ConfigError(
            f"the pairs of the batch reach to {batch.pair_cutoff} Å, the energy term to {cutoff} Å: "
            f"build the batch with pair_cutoff={cutoff}"
        )
    if complete and periodic:
        raise ConfigError(
            f"pair_cutoff={batch.pair_cutoff} lists no periodic images: build the batch with pair_cutoff={cutoff}"
        )
    shifts = batch.pair_shifts if periodic else NO_SHIFTS
    return ChargePairs(batch.pair_index, shifts, batch.system_idx, complete)


def _unlisted_pairs(batch: AtomicBatch, cutoff: float) -> ChargePairs:
    """Pairs of molecules whose batch lists none: all, left to those who need a list; or the near ones."""
    if math.isinf(cutoff):
        return ChargePairs(None, NO_SHIFTS, batch.system_idx, complete=True)
    places, nowhere = batch.positions.detach().cpu().double().numpy(), np.zeros((3, 3))
    molecules = np.split(places, np.cumsum(batch.atoms_per_system().cpu().numpy())[:-1])
    found = iter(molecules)
    near = _listed(batch.system_idx, lambda _: pair_list(next(found), nowhere, np.zeros(3, dtype=bool), cutoff)[0])
    return ChargePairs(near, NO_SHIFTS, batch.system_idx)


def _listed(system_idx: Tensor, pairs_of: Callable[[int], np.ndarray]) -> Tensor:
    """(2, n_pairs) int64 of all systems from the pairs of each, by its number of charges."""
    sizes = torch.bincount(system_idx).tolist()
    starts = np.cumsum([0, *sizes])
    parts = [pairs_of(size) + start for size, start in zip(sizes, starts)]
    return torch.as_tensor(np.concatenate(parts, axis=1), device=system_idx.device)


def pair_sum(
    positions: Float[Tensor, "n_charges 3"],
    charges: Float[Tensor, " n_charges"],
    cell: Float[Tensor, "n_systems 3 3"],
    pairs: ChargePairs,
    formula: PairFormula,
) -> Float64[Tensor, " n_charges"]:
    """(n_charges,) float64 sums of ½ q_i q_j φ(r_ij) in e²/Å: half of every pair goes to each partner.

    Parameters
    ----------
    positions : (n_charges, 3) float64, Å.
    charges : (n_charges,) float64, e.
    cell : (n_systems, 3, 3) float64, Å.

    Returns
    -------
    (n_charges,) float64, e²/Å
    """
    if isinstance(formula, ScreenedCoulomb) and usable(positions):
        return differentiable(_PairSum(pairs, formula), positions, charges, cell)[0]
    i, j = pairs.index
    value = formula.value(formula.distances(pairs.vectors(positions, cell)))
    energy = 0.5 * charges.index_select(0, i) * charges.index_select(0, j) * value
    return torch.zeros_like(charges).index_add(0, i, energy).index_add(0, j, energy)


def pair_sum_derivatives(
    positions: Float[Tensor, "n_charges 3"],
    charges: Float[Tensor, " n_charges"],
    cell: Float[Tensor, "n_systems 3 3"],
    pairs: ChargePairs,
    formula: PairFormula,
) -> ChargeDerivatives | None:
    """Derivatives of the sum of all energies of :func:`pair_sum`; None for a formula without loops."""
    if not isinstance(formula, ScreenedCoulomb) or not usable(positions):
        return None
    return _compiled_gradients(positions, charges, cell, pairs, formula, np.ones(charges.shape[0]))


@dataclass(frozen=True)
class _PairSum(CompiledFunction):
    """Energies of charges by compiled loops, and by torch where derivatives are differentiated again.

    The derivatives of the plain sum of all e_i come with the energies (∂Σe/∂q_i is the potential, and
    e_i = ½ q_i ∂Σe/∂q_i), so only a weighted sum needs another pass.
    """

    pairs: ChargePairs
    form: ScreenedCoulomb

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        positions, charges, cell = inputs
        ones = np.ones(charges.shape[0])
        of_plain_sum = _compiled_gradients(positions, charges, cell, self.pairs, self.form, ones)
        return (0.5 * charges * of_plain_sum[1],), of_plain_sum

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients:
        factor = common_value(upstream[0])
        if factor is not None:
            return tuple(factor * gradient for gradient in kept)
        positions, charges, cell = inputs
        return _compiled_gradients(positions, charges, cell, self.pairs, self.form, array(upstream[0]))

    def torch_gradient(self, inputs: Tensors, upstream: Tensors, wanted: Wanted) -> Gradients:
        """Reference of the compiled loops, in operations that can be differentiated again."""
        positions, charges, cell = inputs
        pairs, form, weights = self.pairs, self.form, upstream[0]
        i, j = pairs.index
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


def _compiled_gradients(
    positions: Tensor, charges: Tensor, cell: Tensor, pairs: ChargePairs, form: ScreenedCoulomb, weights: np.ndarray
) -> ChargeDerivatives:
    """Derivatives of Σ_i weights_i e_i with respect to positions, charges and cell."""
    from molcalc.kernels import charge_pairs as pair_kernels

    n_charges = charges.shape[0]
    work = OPERATIONS_PER_CHARGE_PAIR * pairs.n_pairs
    n_slots = slots_for(work)
    to_charges, to_cell = np.zeros((n_slots, n_charges)), np.zeros((n_slots, *cell.shape))
    q, system_idx = array(charges), array(pairs.system_idx)
    if pairs.complete and form.bare:
        xyz, to_xyz = np.ascontiguousarray(array(positions).T), np.zeros((n_slots, 3, n_charges))
        molecules = (xyz, q, system_idx, form.short_range_cutoff, weights)
        share_range(pair_kernels.complete, n_slots, work, *molecules, to_charges, to_xyz)
        to_positions = to_xyz.transpose(0, 2, 1)
    else:
        to_positions = np.zeros((n_slots, n_charges, 3))
        system = (array(positions), q, array(cell), system_idx)
        parameters = (array(pairs.index), array(pairs.shifts), form.parameters, weights)
        outputs = (to_charges, to_positions, to_cell)
        share_range(pair_kernels.listed, n_slots, work, *system, *parameters, *outputs)
    by_positions, by_charges, by_cell = (
        torch.from_numpy(slots[0] if n_slots == 1 else slots.sum(axis=0))
        for slots in (to_positions, to_charges, to_cell)
    )
    return by_positions, by_charges, by_cell
