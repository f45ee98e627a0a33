"""A potential: one network (or an ensemble of them) plus energy terms, all part of one energy."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from molcalc.batch import AtomicBatch
from molcalc.energy_term import EnergyTerm
from molcalc.errors import CellError, ConfigError
from molcalc.models.network import Network


@dataclass(frozen=True)
class PotentialOutput:
    """Results of one forward pass: energies and predictions of all members.

    Attributes
    ----------
    member_energies : per member, (n_atoms,) float64 atomic energies in eV that depend on that member.
    shared_energies : (n_atoms,) float64 atomic energies of terms that need no prediction, or None.
    predictions : per member, the network's predictions by name.
    """

    member_energies: list[Float64[Tensor, " n_atoms"]]
    shared_energies: Float64[Tensor, " n_atoms"] | None
    predictions: list[dict[str, Float[Tensor, "n_atoms ..."]]]


class Potential(nn.Module):
    """Sum of a network's atomic energies and energy terms.

    Parameters
    ----------
    members : networks of one architecture; more than one make an ensemble whose mean is the result.
    terms : added to every member's energy. A term that needs no prediction is evaluated once.

    Attributes
    ----------
    supports_periodic : whether every term is defined for periodic structures.
    pair_cutoff : Å, range of the pair list the terms need in a periodic structure; None if no term reads pairs.
    cutoff : Å, range of the edges.
    sees_charge : whether the energy depends on the total charge.
    predicts, elements, charge_elements, rotation_invariant : of the network, as
        :class:`molcalc.models.network.Network` has them.
    fixed_in_space : results that do not turn with the structure: those of the network, and the energy with its
        derivatives where a term reads distributed charges that do not.

    Raises
    ------
    ConfigError
        When a term needs a prediction that the network does not make.
    """

    def __init__(self, members: Sequence[Network], terms: Sequence[EnergyTerm] = ()) -> None:
        super().__init__()
        if not members:
            raise ConfigError("a potential needs at least one network; got none")
        self.members = nn.ModuleList(members)
        self.terms = nn.ModuleList(terms)
        self.supports_periodic = all(term.supports_periodic for term in terms)
        self.pair_cutoff = max((term.pair_cutoff for term in terms), default=0.0) or None
        self.cutoff = members[0].cutoff
        self.predicts = members[0].predicts
        self.elements = members[0].elements
        self.rotation_invariant = members[0].rotation_invariant
        self.charge_elements = members[0].charge_elements
        self.fixed_in_space = members[0].fixed_in_space
        if "dcm_positions" in self.fixed_in_space and any("dcm_positions" in term.requires for term in terms):
            self.fixed_in_space += ("energy", "atomic_energies", "forces", "stress")
        self.sees_charge = members[0].sees_charge or any("charges" in term.requires for term in terms)
        for term in terms:
            missing = sorted(set(term.requires) - set(self.predicts))
            if missing:
                raise ConfigError(
                    f"{type(term).__name__} needs {', '.join(missing)}, which {type(members[0]).__name__} does "
                    f"not predict (it predicts: {', '.join(self.predicts) or 'energies only'}); leave the term out"
                )

    @property
    def n_members(self) -> int:
        """Networks in the ensemble."""
        return len(self.members)

    @property
    def networks(self) -> list[Network]:
        """Networks of the ensemble by their contract, which the container of torch does not know."""
        return cast("list[Network]", list(self.members))

    @property
    def energy_terms(self) -> list[EnergyTerm]:
        """Energy terms by their contract."""
        return cast("list[EnergyTerm]", list(self.terms))

    def set_dtype(self, dtype: torch.dtype) -> Potential:
        """Choose the arithmetic of the networks' large matrix products; everything else is in float64.

        Returns
        -------
        the potential itself
        """
        for network in self.networks:
            network.set_dtype(dtype)
        return self

    def in_double_precision(self) -> Potential:
        """The potential itself if its networks compute in float64 throughout, else a copy of which they do.

        Returns
        -------
        Potential
        """
        if all(parameter.dtype == torch.float64 for parameter in self.members.parameters()):
            return self
        return copy.deepcopy(self).set_dtype(torch.float64)

    def forward(self, batch: AtomicBatch) -> PotentialOutput:
        """Evaluate all members and terms.

        Returns
        -------
        energies by member, those that all share, and predictions by member

        Raises
        ------
        CellError
            For a periodic batch when a term is defined for molecules only.
        """
        return replace(self.of_members(batch), shared_energies=self.shared_energies(batch))

    def of_members(self, batch: AtomicBatch) -> PotentialOutput:
        """Evaluate all members, and the terms that need their predictions.

        Returns
        -------
        energies and predictions by member

        Raises
        ------
        CellError
            As :meth:`forward`.
        """
        self.check_periodicity(batch)
        predictions = [member(batch) for member in self.members]
        energies = [prediction.pop("atomic_energies") for prediction in predictions]
        for term in self.energy_terms:
            if term.requires:
                energies = [energy + term(batch, prediction) for energy, prediction in zip(energies, predictions)]
        return PotentialOutput(energies, None, predictions)

    def check_periodicity(self, batch: AtomicBatch) -> None:
        """Refuse periodic structures where a term is defined for molecules only; raises CellError."""
        if batch.periodic:
            self.refuse_crystals()

    def refuse_crystals(self) -> None:
        """Raise CellError where a term is defined for molecules only."""
        names = ", ".join(type(term).__name__ for term in self.terms if not term.supports_periodic)
        if names:
            raise CellError(
                f"{names}: not defined for periodic structures, but pbc is set; switch it off, or use coulomb='dsf' or "
                "coulomb='ewald', and D3 with a cutoff"
            )

    def shared_energies(self, batch: AtomicBatch) -> Float64[Tensor, " n_atoms"] | None:
        """(n_atoms,) eV of the terms that need no prediction, or None without such terms."""
        shared: Tensor | None = None
        for term in self.energy_terms:
            if not term.requires:
                added = term(batch, {})
                shared = added if shared is None else shared + added
        return shared
