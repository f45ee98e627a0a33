"""Potentials of models and of dispersion alone: the only place that puts networks and energy terms together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from molcalc.assembly.opening import OpenedModel
from molcalc.assembly.shared_networks import shared_copy
from molcalc.assembly.terms import DispersionChoice, completing_terms, coulomb_term, repulsion_term
from molcalc.energy_term import EnergyTerm
from molcalc.io.checkpoint import ModelConfig
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.models.network import Network, NoNetwork
from molcalc.potential import Potential


@dataclass(frozen=True, kw_only=True)
class PotentialOptions:
    """Choices of a user about the energy of a model.

    Attributes
    ----------
    dispersion : "auto" as the model declares, None, "d3bj:FUNCTIONAL" or "d4:FUNCTIONAL", or parameters. What is not
        "auto" is for one fidelity: all others have what they declare.
    coulomb : "auto" as the model was trained, how else to sum it, see :func:`molcalc.assembly.terms.coulomb_term`, or
        None to leave it out.
    member : one network of an ensemble, from 0; None takes all.
    legacy : reproduce the arithmetic inside the published TorchScript files: reference energies added in float32 per
        atom, and their form of D3.
    """

    dispersion: DispersionChoice = "auto"
    coulomb: str | None = "auto"
    member: int | None = None
    legacy: bool = False


AS_DECLARED = PotentialOptions()


def potential_of(model: OpenedModel, fidelity: str | None = None, options: PotentialOptions = AS_DECLARED) -> Potential:
    """Potential of a model, completed at each of its fidelities.

    >>> potential = potential_of(open_model("wb97m-d3"), options=PotentialOptions(dispersion=None))

    Parameters
    ----------
    fidelity : the one that ``options.dispersion`` is for; may be left out where there is only one.

    Returns
    -------
    Potential
        With networks of its own: changing their arithmetic or weights leaves the opened model as it is.

    Raises
    ------
    FidelityError
        When the fidelity is unknown, or missing where there are several; lists them.
    ConfigError
        When an option does not fit the model, or it has no such member.
    CheckpointMismatchError
        When the model names an energy term that does not exist.
    """
    chosen = model.index_of(fidelity)
    terms = completing_terms(
        model.config, chosen, coulomb=options.coulomb, dispersion=options.dispersion, legacy=options.legacy
    )
    members = [shared_copy(member) for member in model.chosen_members(options.member)]
    if options.legacy:
        for network in members:
            if isinstance(network, AIMNet2Network):
                network.round_shifted_energies = True
    return Potential(members, terms)


def training_potential(config: ModelConfig, networks: Sequence[Network], coulomb: str = "auto") -> Potential:
    """Potential whose energies are the labels of a model: with the terms it is trained with, and no dispersion added.

    Parameters
    ----------
    networks : they are trained, so they are taken as they are and not copied.
    coulomb : how else to sum the Coulomb energy than as in training, see :func:`molcalc.assembly.terms.coulomb_term`.

    Returns
    -------
    Potential
        With Coulomb energy and repulsion, as far as the model declares them.

    Raises
    ------
    ConfigError, CheckpointMismatchError
        When the model names a term that does not exist, or that needs what its network does not predict.
    """
    terms = (coulomb_term(config, coulomb), repulsion_term(config))
    return Potential(networks, [term for term in terms if term is not None])


def fixed_potential(config: ModelConfig) -> Potential | None:
    """Potential of the terms that a model is trained with and that its network has no part in, such as a repulsion.

    Returns
    -------
    Potential
        Of a network that contributes nothing; None where there are no such terms.
    """
    terms = [term for term in (coulomb_term(config), repulsion_term(config)) if term is not None and not term.requires]
    return Potential([NoNetwork(config.arguments["elements"])], terms) if terms else None


def bare_potential(networks: Sequence[Network]) -> Potential:
    """Potential without energy terms, which shows what the networks themselves keep of their contract.

    Returns
    -------
    Potential
        Of the networks themselves, not of copies.
    """
    return Potential(networks)


def dispersion_potential(term: EnergyTerm, elements: Iterable[int] = ()) -> Potential:
    """Potential of dispersion alone.

    Parameters
    ----------
    elements : atomic numbers that the term knows; left out where nobody asks.

    Returns
    -------
    Potential
        Of a network that contributes nothing, and the term.
    """
    return Potential([NoNetwork(tuple(elements))], [term])
