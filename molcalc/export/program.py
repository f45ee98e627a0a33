"""Whole models on padded arrays, as exported programs compute them.

Forces are the gradient of all of the energy. They are made in here and not by :mod:`molcalc.derivatives`, because the
files must work where this package is not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from molcalc.energy_term import EnergyTerm
from molcalc.export.padded_network import PaddedAIMNet2
from molcalc.export.padded_terms import padded_terms
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.units import symbols_of

SAME_PLACE = 0.01
"""Å below which programs take two atoms for one given twice."""


class PaddedPotential(nn.Module):
    """An ensemble of networks of one fidelity, with energy terms.

    Attributes
    ----------
    cutoff : Å, range of the networks.
    known : (max_number + 1,) whether an element was trained; row 0, the padding, is.
    """

    def __init__(self, members: Sequence[AIMNet2Network], terms: Sequence[EnergyTerm]) -> None:
        super().__init__()
        c = members[0].config
        self.members = nn.ModuleList(PaddedAIMNet2(member) for member in members)
        self.n_members, self.n_charges, self.cutoff = len(members), c.charge_channels, c.cutoff
        self.charge_terms, self.terms = padded_terms(terms, c.elements, c.max_number)
        known = torch.zeros(c.max_number + 1, dtype=torch.bool)
        known[[0, *c.elements]] = True
        self.known = nn.Buffer(known, persistent=False)
        self.eval()

    def covers(self, numbers: Tensor) -> Tensor:
        """Whether elements were trained, by atom."""
        inside = (numbers >= 0) & (numbers < self.known.shape[0])
        return inside & self.known[torch.where(inside, numbers, torch.zeros_like(numbers))]

    def energies(
        self, coord: Tensor, numbers: Tensor, charge: Tensor, mult: Tensor
    ) -> tuple[list[Tensor], Tensor, list[Tensor]]:
        """Energies of every member (B,) and those they share (B,) in eV, and charges of every member (B, N, C)."""
        real = numbers > 0
        coord = torch.where(real.unsqueeze(-1), coord, torch.zeros_like(coord))
        index = torch.arange(numbers.shape[1], device=numbers.device)
        pairs = real.unsqueeze(1) & real.unsqueeze(2) & (index.unsqueeze(0) != index.unsqueeze(1))
        vectors = coord.transpose(1, 2).unsqueeze(1) - coord.unsqueeze(3)
        squared = (vectors * vectors).sum(dim=2)
        distances = torch.where(pairs, squared, torch.ones_like(squared)).sqrt()
        targets = charge.unsqueeze(1)
        if self.n_charges == 2:
            unpaired = (mult - 1.0).unsqueeze(1)
            targets = 0.5 * torch.cat([targets + unpaired, targets - unpaired], dim=1)
        shared = torch.zeros_like(charge)
        for term in self.terms:
            shared = shared + term(distances, pairs, numbers)
        energies: list[Tensor] = []
        charges: list[Tensor] = []
        for member in self.members:
            energy, found = member(vectors, distances, pairs, numbers, targets)
            for term in self.charge_terms:
                energy = energy + term(distances, pairs, found.sum(dim=-1))
            energies.append(energy)
            charges.append(found)
        return energies, shared, charges

    def evaluate(self, coord: Tensor, numbers: Tensor, charge: Tensor, mult: Tensor, keep: bool) -> dict[str, Tensor]:
        """All results of a padded batch, of which ``coord`` is a leaf; ``keep`` leaves them differentiable."""
        energies, shared, charges = self.energies(coord, numbers, charge, mult)
        energy = torch.stack(energies).mean(dim=0) + shared
        parts = torch.stack(charges)
        mean = parts.mean(dim=0)
        results = {"energy": energy, "charges": mean.sum(dim=-1)}
        if self.n_charges == 2:
            results["spin_charges"] = mean[:, :, 0] - mean[:, :, 1]
        if self.n_members == 1:
            results["forces"] = -gradient(energy, coord, keep)
        else:
            gradients = torch.stack([gradient(each, coord, keep) for each in energies])
            forces = -gradients.mean(dim=0)
            if shared.requires_grad:
                forces = forces - gradient(shared, coord, keep)
            results["forces"] = forces
            results["forces_std"] = gradients.std(dim=0)
            results["energy_std"] = torch.stack(energies).std(dim=0)
            results["charges_std"] = parts.sum(dim=-1).std(dim=0)
        return results


def gradient(energy: Tensor, coord: Tensor, keep: bool) -> Tensor:
    """∂ΣE/∂R."""
    found = torch.autograd.grad([energy.sum()], [coord], retain_graph=True, create_graph=keep)[0]
    assert found is not None
    return found


class Program(nn.Module):
    """Program of a TorchScript file: checks of the input, one structure or many, and results by name.

    Parameters
    ----------
    neutral_only : refuse charges.

    Attributes
    ----------
    cutoff : Å, range of the network.
    cutoff_lr : Å, range of all terms: infinite, every pair of atoms counts.
    """

    def __init__(self, potential: PaddedPotential, elements: Sequence[int], neutral_only: bool = False) -> None:
        super().__init__()
        self.potential = potential
        self.cutoff, self.cutoff_lr = potential.cutoff, float("inf")
        self.supported, self.neutral_only, self.closest = symbols_of(elements), neutral_only, SAME_PLACE
        self.open_shell = potential.n_charges == 2
        self.eval()

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        """Energies in eV, forces in eV/Å and charges in e.

        Parameters
        ----------
        data : "coord" (N, 3) or (B, N, 3) in Å, "numbers" (N,) or (B, N) atomic numbers, 0 where there is no atom,
            "charge" () or (B,) in e and, for open shells, "mult" () or (B,) 2S+1.

        Returns
        -------
        results by name, with the axis of structures where the input has it

        Raises
        ------
        ValueError
            For wrong shapes, missing or impossible values, elements that were not trained, and atoms given twice.
        """
        self.check_names(data)
        coord, numbers = data["coord"].to(torch.float64), data["numbers"].to(torch.int64)
        single = coord.dim() == 2
        if single:
            coord, numbers = coord.unsqueeze(0), numbers.unsqueeze(0)
        if coord.dim() != 3 or coord.shape[2] != 3 or numbers.shape != coord.shape[:2] or coord.shape[1] == 0:
            raise ValueError(
                "coord has shape {}, numbers {}; expected (N, 3) with (N,), or (B, N, 3) with (B, N)".format(
                    list(data["coord"].shape), list(data["numbers"].shape)
                )
            )
        charge = self.per_system(data["charge"], coord.shape[0], "charge")
        mult = torch.ones_like(charge)
        if "mult" in data:
            mult = self.per_system(data["mult"], coord.shape[0], "mult")
        self.check(coord, numbers, charge, mult)
        enabled = torch.is_grad_enabled()
        keep = enabled and coord.requires_grad
        torch.set_grad_enabled(True)  # the compiler has no torch.enable_grad
        if not keep:
            coord = coord.detach().requires_grad_(True)
        results = self.potential.evaluate(coord, numbers, charge, mult, keep)
        torch.set_grad_enabled(enabled)
        found: dict[str, Tensor] = {}
        for name, value in results.items():
            value = value if keep else value.detach()
            found[name] = value[0] if single else value
        return found

    def check_names(self, data: dict[str, Tensor]) -> None:
        for name in ["coord", "numbers", "charge"]:
            if name not in data:
                raise ValueError(f"{name} is missing: give coord, numbers, charge (and mult for open shells)")
        if self.open_shell and "mult" not in data:
            raise ValueError("mult (2S+1) is missing: this model describes open shells")
        for name in data.keys():  # noqa: SIM118 - the compiler does not iterate over mappings
            if name not in ["coord", "numbers", "charge", "mult"]:
                raise ValueError(f"{name} is not used: give coord, numbers, charge and mult; molecules only, no cell")

    def per_system(self, values: Tensor, n_systems: int, name: str) -> Tensor:
        values = values.to(torch.float64).flatten()
        if values.shape[0] != n_systems:
            raise ValueError(f"{name} has {values.shape[0]} values for {n_systems} structures; expected one for each")
        return values

    def check(self, coord: Tensor, numbers: Tensor, charge: Tensor, mult: Tensor) -> None:
        strange = ~self.potential.covers(numbers)
        if bool(strange.any()):
            z = int(numbers[strange][0])
            raise ValueError(f"element Z={z} is not covered by this model (supported: {self.supported})")
        real = numbers > 0
        if not bool(real.any(dim=1).all()):
            raise ValueError("a structure has no atoms: all of its numbers are 0")
        if not bool(torch.isfinite(coord[real]).all()) or not bool(torch.isfinite(charge).all()):
            raise ValueError("coord or charge is not finite")
        if self.neutral_only and bool((charge != 0).any()):
            raise ValueError("charge is not 0: this model knows neutral molecules only")
        if not bool((mult >= 1).all()):
            raise ValueError("mult is below 1: give 2S+1")
        if not self.open_shell and bool((mult != 1).any()):
            raise ValueError("mult is not 1: this model describes closed shells only")
        order = torch.arange(numbers.shape[1], device=numbers.device)
        vectors = coord.detach().unsqueeze(1) - coord.detach().unsqueeze(2)
        pairs = real.unsqueeze(1) & real.unsqueeze(2) & (order.unsqueeze(0) != order.unsqueeze(1))
        if bool((pairs & ((vectors * vectors).sum(dim=-1) < self.closest * self.closest)).any()):
            raise ValueError("two atoms are at the same place")
