"""An opened model: networks with their weights, and what the model declares of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from molcalc.errors import ConfigError
from molcalc.fidelity import find_fidelity
from molcalc.io.checkpoint import ModelConfig
from molcalc.models.network import TrainableNetwork


@dataclass(frozen=True)
class OpenedModel:
    """Networks of a model, or of several runs of it that make an ensemble, and its declaration.

    Attributes
    ----------
    config : kind, fidelities, and the energy terms that the model was trained with.
    members : networks in evaluation mode; nobody changes them, so that one opened model serves many potentials.
    label : name of the model without its folder: results must not carry paths.
    hash : identifies configuration and weights.
    """

    config: ModelConfig
    members: Sequence[TrainableNetwork]
    label: str
    hash: str

    def index_of(self, fidelity: str | None) -> int:
        """Index of a fidelity by its name; None is enough where there is only one.

        Returns
        -------
        index in ``config.fidelities``

        Raises
        ------
        FidelityError
            When the name is unknown, or missing where there are several; lists them.
        """
        return find_fidelity([each.name for each in self.config.fidelities], fidelity, self.label)

    def chosen_members(self, member: int | None) -> list[TrainableNetwork]:
        """All networks, or the one that was asked for.

        Parameters
        ----------
        member : one network of an ensemble, from 0; None takes all.

        Returns
        -------
        list of one network or of all

        Raises
        ------
        ConfigError
            When there is no such network.
        """
        if member is None:
            return list(self.members)
        if not isinstance(member, int) or not 0 <= member < len(self.members):
            raise ConfigError(f"member={member!r}; {self.label!r} has members 0…{len(self.members) - 1}")
        return [self.members[member]]
