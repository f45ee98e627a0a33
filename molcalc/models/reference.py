"""Energies of free atoms, which every network adds to what it predicts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from molcalc.errors import ConfigError


class ReferenceEnergies(nn.Module):
    """Base of networks with one reference energy per element.

    Attributes
    ----------
    shifts : (max_number + 1,) float64, eV, by atomic number; not initialized.
    """

    def __init__(self, max_number: int) -> None:
        super().__init__()
        self.shifts = nn.Parameter(torch.empty(max_number + 1, dtype=torch.float64))

    def set_reference_energies(self, energies: Mapping[int, float]) -> None:
        """Set the energies in eV of free atoms by atomic number; those of other elements stay."""
        with torch.no_grad():
            for number, energy in energies.items():
                if not 1 <= number < len(self.shifts):
                    raise ConfigError(f"reference energy of Z={number}; allowed are 1…{len(self.shifts) - 1}")
                self.shifts[number] = energy
