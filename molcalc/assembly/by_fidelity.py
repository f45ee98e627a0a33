"""Energy term that is another one at every fidelity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn

from molcalc.batch import AtomicBatch
from molcalc.energy_term import EnergyTerm

NO_TERM = -1


class ByFidelity(EnergyTerm):
    """Energy of the term that belongs to the fidelity of each structure.

    A batch of one fidelity goes to its term as it is; of a mixed one every term gets its structures only.

    Parameters
    ----------
    terms : by index of the fidelity; None adds nothing. A term that several share is evaluated once.
    """

    def __init__(self, terms: Sequence[EnergyTerm | None]) -> None:
        super().__init__()
        found = list(dict.fromkeys(term for term in terms if term is not None))
        self.terms = nn.ModuleList(found)
        self.term_of = [NO_TERM if term is None else found.index(term) for term in terms]
        self.requires = tuple(sorted({name for term in found for name in term.requires}))
        self.pair_cutoff = max(term.pair_cutoff for term in found)
        self.supports_periodic = all(term.supports_periodic for term in found)

    def forward(
        self, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
    ) -> Float64[Tensor, " n_atoms"]:
        """Return the (n_atoms,) float64 contribution in eV."""
        term_of = torch.tensor(self.term_of, device=batch.fidelity.device).index_select(0, batch.fidelity)
        wanted: list[int] = term_of.unique().tolist()
        if len(wanted) == 1 and wanted[0] != NO_TERM:
            return self.terms[wanted[0]](batch, predictions)
        total = 0.0 * batch.positions.sum(dim=1)  # zeros that can be differentiated, as every energy
        for k in wanted:
            if k != NO_TERM:
                part, atoms = part_of(batch, term_of == k)
                of_part = {name: value.index_select(0, atoms) for name, value in predictions.items()}
                total = total.index_add(0, atoms, self.terms[k](part, of_part))
        return total


def part_of(
    batch: AtomicBatch, systems: Bool[Tensor, " n_systems"]
) -> tuple[AtomicBatch, Int[Tensor, " n_part_atoms"]]:
    """Some structures of a batch, without labels and points, and the indices of their atoms.

    Parameters
    ----------
    systems : (n_systems,) bool, which ones.

    Returns
    -------
    part : the batch of these structures alone.
    atoms : (n_part_atoms,) int64, indices of their atoms in the whole batch.
    """
    chosen = systems.index_select(0, batch.system_idx)
    atoms, kept = chosen.nonzero()[:, 0], systems.nonzero()[:, 0]
    new_atom, new_system = chosen.cumsum(0) - 1, systems.cumsum(0) - 1
    edges = chosen.index_select(0, batch.edge_index[0]).nonzero()[:, 0]
    pairs = chosen.index_select(0, batch.pair_index[0]).nonzero()[:, 0]
    of_systems = ("cell", "pbc", "total_charge", "multiplicity", "fidelity")
    part = replace(
        batch,
        numbers=batch.numbers.index_select(0, atoms),
        positions=batch.positions.index_select(0, atoms),
        system_idx=new_system.index_select(0, batch.system_idx.index_select(0, atoms)),
        edge_index=new_atom[batch.edge_index.index_select(1, edges)],
        unit_shifts=batch.unit_shifts.index_select(0, edges),
        pair_index=new_atom[batch.pair_index.index_select(1, pairs)],
        pair_shifts=batch.pair_shifts.index_select(0, pairs),
        esp_points=None,
        esp_system_idx=None,
        labels={},
        **{name: getattr(batch, name).index_select(0, kept) for name in of_systems},
    )
    return part, atoms
