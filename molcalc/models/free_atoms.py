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
    """Base of networks, with one reference energy for every fidelity and element.

    Parameters
    ----------
    max_number : largest atomic number the table has a place for.
    n_fidelities : levels of theory.

    Attributes
    ----------
    shifts : (n_fidelities, max_number + 1) float64, eV, by atomic number; not initialized.
    """

    float64_parameters: ClassVar[tuple[str, ...]] = ("shifts",)

    def __init__(self, max_number: int, n_fidelities: int = 1) -> None:
        super().__init__()
        self.shifts = nn.Parameter(torch.empty(n_fidelities, max_number + 1, dtype=torch.float64))

    @property
    def n_fidelities(self) -> int:
        """Levels of theory that the network knows."""
        return self.shifts.shape[0]

    def set_reference_energies(self, energies: Mapping[int, float], fidelity: int = 0) -> None:
        """Set the energies in eV of free atoms by atomic number; those of other elements stay.

        Raises
        ------
        ConfigError
            For an atomic number that the network has no place for.
        """
        n_numbers = self.shifts.shape[1]
        for number, energy in energies.items():
            if not 1 <= number < n_numbers:
                raise ConfigError(f"reference energy of Z={number}; allowed are 1…{n_numbers - 1}")
            self.shifts.data[fidelity, number] = energy

    def reference_energies(self, batch: AtomicBatch) -> Float64[Tensor, " n_atoms"]:
        """(n_atoms,) float64 energies of the free atoms in eV."""
        return self.shifts.flatten().index_select(0, rows_of_atoms(batch, batch.fidelity, *self.shifts.shape))


def rows_of_atoms(
    batch: AtomicBatch, fidelity: Int[Tensor, " n_systems"], n_fidelities: int, n_numbers: int
) -> Int[Tensor, " n_atoms"]:
    """Row of each atom in a table of fidelities times atomic numbers.

    Parameters
    ----------
    fidelity : (n_systems,) int64, first index of the table.
    n_fidelities, n_numbers : size of the table.

    Returns
    -------
    (n_atoms,) int64
    """
    if n_fidelities == 1:  # spares small structures three operations
        return batch.numbers
    return fidelity.index_select(0, batch.system_idx) * n_numbers + batch.numbers
