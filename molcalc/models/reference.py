"""Energies of free atoms, which every network adds to what it predicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float64, Int
from torch import Tensor, nn

from molcalc.batch import AtomicBatch
from molcalc.errors import ConfigError
from molcalc.models.network import TrainableNetwork


class ReferenceEnergies(TrainableNetwork):
    """Base of networks with one reference energy per element, or per fidelity and element.

    Parameters
    ----------
    n_fidelities : levels of theory, each with energies of its own; None for a network of a single one.

    Attributes
    ----------
    shifts : (max_number + 1,) or (n_fidelities, max_number + 1) float64, eV, by atomic number; not initialized.
    """

    float64_parameters: ClassVar[tuple[str, ...]] = ("shifts",)

    def __init__(self, max_number: int, n_fidelities: int | None = None) -> None:
        super().__init__()
        shape = (max_number + 1,) if n_fidelities is None else (n_fidelities, max_number + 1)
        self.shifts = nn.Parameter(torch.empty(shape, dtype=torch.float64))

    def set_reference_energies(self, energies: Mapping[int, float], fidelity: int = 0) -> None:
        """Set the energies in eV of free atoms by atomic number; those of other elements stay."""
        rows = self.shifts.data.view(-1, self.shifts.shape[-1])
        for number, energy in energies.items():
            if not 1 <= number < rows.shape[1]:
                raise ConfigError(f"reference energy of Z={number}; allowed are 1…{rows.shape[1] - 1}")
            rows[fidelity, number] = energy

    def reference_energies(self, batch: AtomicBatch) -> Float64[Tensor, " n_atoms"]:
        """(n_atoms,) float64 energies of the free atoms in eV."""
        if self.shifts.ndim == 1:
            return self.shifts.index_select(0, batch.numbers)
        return self.shifts.flatten().index_select(0, rows_of_atoms(batch, self.shifts.shape[1]))


def rows_of_atoms(batch: AtomicBatch, n_numbers: int) -> Int[Tensor, " n_atoms"]:
    """(n_atoms,) row of each atom in a table of fidelities times atomic numbers."""
    return batch.fidelity.index_select(0, batch.system_idx) * n_numbers + batch.numbers
