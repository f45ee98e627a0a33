"""A potential: one network (or an ensemble of them) plus energy terms, all part of one energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from molcalc.batch import AtomicBatch
from molcalc.energy_term import EnergyTerm
from molcalc.errors import CellError, ConfigError


@dataclass(frozen=True)
class PotentialOutput:
    """What one forward pass returns.

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
    pair_cutoff : Å, range of the pair list the terms need in a periodic structure; None without terms.
    cutoff : Å, range of the edges.
    predicts, elements : of the network.
    rotation_invariant : whether all predictions turn with the structure.

    Raises
    ------
    ConfigError
        When a term needs a prediction that the network does not make.
    """

    def __init__(self, members: Sequence[Any], terms: Sequence[EnergyTerm] = ()) -> None:
        super().__init__()
        if not members:
            raise ConfigError("a potential needs at least one network; got none")
        self.members = nn.ModuleList(members)
        self.terms = nn.ModuleList(terms)
        self.supports_periodic = all(term.supports_periodic for term in terms)
        self.pair_cutoff = max((term.pair_cutoff for term in terms), default=None)
        self.cutoff: float = members[0].cutoff
        self.predicts: tuple[str, ...] = members[0].predicts
        self.elements: tuple[int, ...] = members[0].elements
        self.rotation_invariant: bool = getattr(members[0], "rotation_invariant", True)
        for term in terms:
            missing = sorted(set(term.requires) - set(self.predicts))
            if missing:
                raise ConfigError(
                    f"{type(term).__name__} needs {', '.join(missing)}, which {type(members[0]).__name__} does "
                    f"not predict (it predicts: {', '.join(self.predicts) or 'energies only'}); leave the term out"
                )

    @property
    def n_members(self) -> int:
        return len(self.members)

    def set_dtype(self, dtype: torch.dtype) -> Potential:
        """Choose the arithmetic of the network.

        With float32, the parameters that the network names in ``float32_parameters`` (its large matrix products) are
        converted, all others are in float64.
        """
        for member in self.members:
            prefixes: tuple[str, ...] = member.float32_parameters  # type: ignore[assignment]
            for name, parameter in member.named_parameters():
                parameter.data = parameter.data.to(dtype if name.startswith(prefixes) else torch.float64)
        return self

    def forward(self, batch: AtomicBatch) -> PotentialOutput:
        """Evaluate all members and terms.

        Raises
        ------
        CellError
            For a periodic batch when a term is defined for molecules only.
        """
        if batch.periodic and not self.supports_periodic:
            names = ", ".join(type(term).__name__ for term in self.terms if not term.supports_periodic)
            raise CellError(
                f"{names}: not defined for periodic structures, but pbc is set; switch it off, or use Coulomb 'dsf' or "
                "'ewald' and D3 with a cutoff"
            )
        predictions = [member(batch) for member in self.members]
        energies = [prediction.pop("atomic_energies") for prediction in predictions]
        shared: Tensor | None = None
        for term in self.terms:
            if term.requires:
                energies = [energy + term(batch, prediction) for energy, prediction in zip(energies, predictions)]
            else:
                added = term(batch, {})
                shared = added if shared is None else shared + added
        return PotentialOutput(energies, shared, predictions)
