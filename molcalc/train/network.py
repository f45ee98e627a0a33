"""The network of a run: from random or given weights, with reference energies fitted to the data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from molcalc.batch import AtomicBatch
from molcalc.calculators.terms import coulomb_term, repulsion_term
from molcalc.checkpoint import Checkpoint, Fidelity, ModelConfig
from molcalc.derivatives import evaluate
from molcalc.errors import CheckpointMismatchError, ConfigError, DatasetError
from molcalc.labels import DispersionSubtraction
from molcalc.potential import Potential
from molcalc.pretrained.sources import open_model
from molcalc.registry import MODELS, build_members, network_config
from molcalc.schema import suggest
from molcalc.train import views
from molcalc.train.config import FitConfig, LevelOfTheory
from molcalc.train.data.dataset import Dataset
from molcalc.train.reference_energies import composition, fit_reference_energies
from molcalc.units import symbols_of

log = logging.getLogger(__name__)

COULOMB = {"aimnet2": "simple", "physnet-dcm": None, "noneq-dcm": None}
"""Coulomb energy that new networks are trained with. With PhysNet's own, which acts between bonded atoms too, charges
settle where they help the energy: the potential of CO2 is then fitted half as well."""
COULOMB_RANGE = {"simple": 4.6, "physnet": 10.0}
"""Å, see :class:`molcalc.checkpoint.ModelConfig`."""
REFERENCE_SYSTEMS = 2000
"""Systems of a fidelity that are evaluated to shift given weights to a new level of theory."""
EVALUATED_AT_ONCE = 64


def new_model(config: FitConfig, train: Dataset) -> tuple[ModelConfig, nn.Module]:
    """Network and declaration for a run.

    Parameters
    ----------
    train : training systems; elements and reference energies come from them.

    Raises
    ------
    ConfigError, CheckpointMismatchError
        When options or given weights do not fit.
    DatasetError
        When an element has no energy to fit its reference to.
    """
    if len(train.fidelities) > 1:
        raise ConfigError(
            f"the data has the fidelities {', '.join(train.fidelities)}; {config.model} learns one level of theory: "
            "give the files of one"
        )
    elements = tuple(int(z) for z in np.unique(views.numbers(train)))
    model_config, network = _given(config, elements) if config.init else _fresh(config, elements)
    model_config = replace(model_config, fidelities=_fidelities(config, train))
    network.set_reference_energies(dict.fromkeys(network.elements, 0.0))  # type: ignore[operator, arg-type]
    explained = potential_of(model_config, network) if config.init else None
    energies = _reference_energies(train, elements, explained, subtractions(config, train.fidelities))
    network.set_reference_energies(energies)  # type: ignore[operator]
    return model_config, network


def potential_of(model_config: ModelConfig, network: nn.Module) -> Potential:
    """The network with the Coulomb and repulsion terms it is trained with."""
    terms = (coulomb_term(model_config, "auto"), repulsion_term(model_config))
    return Potential([network], [term for term in terms if term is not None])


def cast(network: nn.Module, precision: str) -> nn.Module:
    """Put all weights but the reference energies into the arithmetic of training."""
    dtype = torch.float64 if precision == "float64" else torch.float32
    for name, parameter in network.named_parameters():
        if name != "shifts":
            parameter.data = parameter.data.to(dtype)
    return network.train().requires_grad_(True)


def checkpointed(model_config: ModelConfig, arrays: dict[str, torch.Tensor]) -> Checkpoint:
    """A model of one network from its weights by name."""
    return Checkpoint(model_config, {f"members.0.{name}": value.detach().cpu() for name, value in arrays.items()})


def _fresh(config: FitConfig, elements: tuple[int, ...]) -> tuple[ModelConfig, nn.Module]:
    entry = MODELS[config.model]
    presets: dict[str, Callable[..., Any]] = {"default": entry.config}
    if hasattr(entry.config, "reference_size"):
        presets["reference-size"] = entry.config.reference_size
    if config.preset not in presets:
        raise ConfigError(
            f"preset={config.preset!r}{suggest(config.preset, presets)}; {config.model} has {', '.join(presets)}"
        )
    arguments = asdict(presets[config.preset](elements=elements))
    coulomb = COULOMB[config.model] if config.coulomb == "auto" else config.coulomb
    model_config = ModelConfig(
        kind=config.model,
        arguments={**arguments, **config.arguments},
        coulomb=coulomb,
        coulomb_range=None if coulomb is None else COULOMB_RANGE.get(coulomb),
        repulsion=config.repulsion,
    )
    try:
        typed = network_config(model_config)
    except CheckpointMismatchError as error:
        raise ConfigError(str(error)) from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = entry.model(typed).initialize()  # type: ignore[operator]
    return replace(model_config, arguments=asdict(typed)), network


def _given(config: FitConfig, elements: tuple[int, ...]) -> tuple[ModelConfig, nn.Module]:
    assert config.init is not None
    checkpoint = open_model(config.init)
    found = checkpoint.config
    if found.kind != config.model:
        raise CheckpointMismatchError(f"init={config.init!r} holds a {found.kind!r} model; model={config.model!r}")
    if config.arguments or config.preset != "default" or config.coulomb != "auto" or config.repulsion is not None:
        raise ConfigError("arguments, preset, coulomb and repulsion describe a new network; with init they are given")
    if config.init_member >= found.n_members:
        raise ConfigError(f"init_member={config.init_member}; {config.init!r} has members 0…{found.n_members - 1}")
    known = found.arguments["elements"]
    strange = [z for z in elements if z not in known]
    if strange:
        raise DatasetError(
            f"{config.init!r} was not trained on {symbols_of(strange)}; known: {symbols_of(known)}: leave these "
            "systems out, or train from random weights"
        )
    network = build_members(checkpoint)[config.init_member]
    return replace(found, n_members=1), network


def _fidelities(config: FitConfig, train: Dataset) -> tuple[Fidelity, ...]:
    for name in config.fidelities:
        if name not in train.fidelities:
            raise ConfigError(
                f"fidelities: {name!r}{suggest(name, train.fidelities)} is not in the data; it has "
                f"{', '.join(train.fidelities)}"
            )
    subtracted = {subtraction.index: subtraction.fidelity for subtraction in subtractions(config, train.fidelities)}
    return tuple(subtracted.get(k) or _declared(config, name) for k, name in enumerate(train.fidelities))


def _declared(config: FitConfig, name: str) -> Fidelity:
    level = config.fidelities.get(name, LevelOfTheory())
    return Fidelity(
        name=name,
        functional=level.functional,
        dispersion=level.dispersion,
        dispersion_in_labels=level.dispersion_in_labels,
    )


def subtractions(config: FitConfig, fidelities: Sequence[str]) -> list[DispersionSubtraction]:
    """What is taken out of the labels before they are learned."""
    return [
        DispersionSubtraction(_declared(config, name), index=k)
        for k, name in enumerate(fidelities)
        if name in config.fidelities and config.fidelities[name].subtract_dispersion
    ]


def _reference_energies(
    train: Dataset,
    elements: tuple[int, ...],
    explained: Potential | None,
    subtracted: Sequence[DispersionSubtraction],
) -> dict[int, float]:
    """Self-atomic energies of the labels, or of what a potential without them leaves to be explained."""
    chosen = np.arange(len(train))
    if len(chosen) > REFERENCE_SYSTEMS and (explained is not None or subtracted):
        chosen = np.unique(np.linspace(0, len(chosen) - 1, REFERENCE_SYSTEMS).astype(np.int64))
    part = train.subset(chosen)
    if "energy" not in part.labels:
        raise DatasetError("no training system has an energy: a potential cannot be trained on this data")
    energies = np.asarray(part.labels["energy"][part.indices], dtype=np.float64)
    if explained is not None or subtracted:
        ranges = _ranges(explained, subtracted)
        energies = np.concatenate([
            _unexplained(part.batch(systems, **ranges, labels=("energy",)), explained, subtracted)
            for systems in np.array_split(np.arange(len(part)), -(-len(part) // EVALUATED_AT_ONCE))
        ])  # fmt: skip
    counts = composition(views.numbers(part), views.offsets(part), elements)
    return fit_reference_energies(counts, energies, elements, "training data")


def _ranges(explained: Potential | None, subtracted: Sequence[DispersionSubtraction]) -> dict[str, Any]:
    """Cutoffs of the lists that a potential and dispersion need."""
    potentials = [subtraction.potential for subtraction in subtracted]
    potentials += [] if explained is None else [explained]
    return {
        "cutoff": 0.0 if explained is None else explained.cutoff,
        "pair_cutoff": max((p.pair_cutoff for p in potentials if p.pair_cutoff is not None), default=None),
    }


def _unexplained(
    batch: AtomicBatch, explained: Potential | None, subtracted: Sequence[DispersionSubtraction]
) -> np.ndarray:
    for subtraction in subtracted:
        batch = subtraction(batch)
    energies = batch.labels["energy"]
    if explained is not None:
        energies = energies - evaluate(explained, batch, ())["energy"]
    return energies.numpy()
