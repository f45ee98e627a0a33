"""The network of a run: from random or given weights, with reference energies fitted to the data."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from molcalc.calculators.terms import coulomb_term
from molcalc.checkpoint import Checkpoint, Fidelity, ModelConfig
from molcalc.errors import CheckpointMismatchError, ConfigError, DatasetError
from molcalc.potential import Potential
from molcalc.pretrained.sources import open_model
from molcalc.registry import MODELS, build_members, network_config
from molcalc.schema import suggest
from molcalc.train import views
from molcalc.train.config import FitConfig
from molcalc.train.data.dataset import Dataset
from molcalc.train.predictions import predict
from molcalc.train.reference_energies import composition, fit_reference_energies
from molcalc.units import symbols_of

log = logging.getLogger(__name__)

COULOMB = {"aimnet2": "simple", "physnet-dcm": None, "noneq-dcm": None}
"""Long-range Coulomb that new networks are trained with."""
COULOMB_RANGE = {"aimnet2": 4.6}
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
    elements = tuple(int(z) for z in np.unique(views.numbers(train)))
    model_config, network = _given(config, elements) if config.init else _fresh(config, elements)
    model_config = replace(model_config, fidelities=_fidelities(config, train))
    predicted = _energy_predictor(model_config, network, train) if config.init else None
    network.set_reference_energies(_reference_energies(train, elements, predicted))  # type: ignore[operator]
    return model_config, network


def potential_of(model_config: ModelConfig, network: nn.Module) -> Potential:
    """The network with the Coulomb term it is trained with."""
    term = coulomb_term(model_config, "auto")
    return Potential([network], [] if term is None else [term])


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
    model_config = ModelConfig(
        kind=config.model,
        arguments={**arguments, **config.arguments},
        coulomb=COULOMB[config.model],
        coulomb_range=COULOMB_RANGE.get(config.model),
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
    if config.arguments or config.preset != "default":
        raise ConfigError("arguments and preset describe a new network; with init it is given: leave them out")
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
    return tuple(
        Fidelity(name=name, **(asdict(config.fidelities[name]) if name in config.fidelities else {}))
        for name in train.fidelities
    )


def _reference_energies(
    train: Dataset, elements: tuple[int, ...], predicted: Callable[[np.ndarray], np.ndarray] | None
) -> dict[int, float]:
    """Self-atomic energies of the labels, or of what given weights leave to be explained."""
    chosen = np.arange(len(train))
    if predicted is not None and len(chosen) > REFERENCE_SYSTEMS:
        chosen = np.unique(np.linspace(0, len(chosen) - 1, REFERENCE_SYSTEMS).astype(np.int64))
    part = train.subset(chosen)
    energies = np.asarray(part.labels["energy"][part.indices], dtype=np.float64)
    if predicted is not None:
        energies = energies - predicted(chosen)
    counts = composition(views.numbers(part), views.offsets(part), elements)
    return fit_reference_energies(counts, energies, elements, "training data")


def _energy_predictor(
    model_config: ModelConfig, network: nn.Module, train: Dataset
) -> Callable[[np.ndarray], np.ndarray]:
    """Energies without reference energies, by given weights."""

    def predicted(chosen: np.ndarray) -> np.ndarray:
        network.set_reference_energies(dict.fromkeys(network.elements, 0.0))  # type: ignore[operator, arg-type]
        potential = potential_of(model_config, network)
        parts = [
            predict(potential, train.batch(part, cutoff=potential.cutoff, pair_cutoff=potential.pair_cutoff), ())
            for part in np.array_split(chosen, -(-len(chosen) // EVALUATED_AT_ONCE))
        ]
        return np.concatenate([part["energy"].numpy() for part in parts])

    return predicted
