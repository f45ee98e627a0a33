"""The network of a run: from random or given weights, with reference energies fitted to the data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from molcalc.assembly.terms import coulomb_term, repulsion_term
from molcalc.batch import AtomicBatch
from molcalc.derivatives import evaluate
from molcalc.errors import CheckpointMismatchError, ConfigError, DatasetError, suggest
from molcalc.fidelity import Fidelity
from molcalc.io.checkpoint import Checkpoint, ModelConfig
from molcalc.potential import Potential
from molcalc.registry import MODELS, network_config
from molcalc.train.config import FitConfig, LevelOfTheory
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.dispersion_subtraction import DispersionSubtraction
from molcalc.train.loop.feeding import LabelReader
from molcalc.train.report.groups import elements_of
from molcalc.train.start.reference_energies import composition, fit_reference_energies
from molcalc.train.start.transfer import Start, all_elements, bases, given, kind_of

log = logging.getLogger(__name__)

COULOMB = {"aimnet2": "simple", "physnet-dcm": None, "noneq-dcm": None}
"""Coulomb energy that new networks are trained with. With PhysNet's own, which acts between bonded atoms too, charges
settle where they help the energy: the potential of CO2 is then fitted half as well."""
COULOMB_RANGE = {"simple": 4.6, "physnet": 10.0}
"""Å, see :class:`molcalc.io.checkpoint.ModelConfig`."""
REFERENCE_SYSTEMS = 2000
"""Systems of a fidelity that are evaluated to shift given weights to a new level of theory."""
EVALUATED_AT_ONCE = 64


def new_model(config: FitConfig, train: Dataset) -> tuple[ModelConfig, nn.Module]:
    """Network and declaration for a run.

    The model has the fidelities of the data, in their order; after them those of the given weights that are kept.

    Parameters
    ----------
    train : training systems; elements and reference energies come from them.

    Raises
    ------
    ConfigError, CheckpointMismatchError
        When options or given weights do not fit.
    DatasetError
        When a fidelity has no training systems, or an element no energy to fit its reference to.
    """
    levels = [replace(level, elements=elements_of(train, k)) for k, level in enumerate(_levels(config, train))]
    empty = [level.name for level in levels if not level.elements]
    if empty:
        raise DatasetError(
            f"fidelity {empty[0]!r} has no system to train on: its file is empty, or all its systems are held out; add "
            "some, or leave the fidelity out"
        )
    start = given(config, levels) if config.init else _fresh(config, levels)
    explained = potential_of(start.config, start.network) if config.init else None
    taken_out = subtractions(config, train.fidelities)
    for k, level in enumerate(levels):
        if k not in start.known:
            energies = _reference_energies(train, k, level, explained, taken_out)
            start.network.set_reference_energies(energies, k)  # type: ignore[operator]
    return start.config, start.network


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


def _fresh(config: FitConfig, levels: Sequence[Fidelity]) -> Start:
    kind = kind_of(config.model, len(levels))
    likes = [f"fidelities.{name}.like" for name, level in config.fidelities.items() if level.like is not None]
    if likes or config.keep_fidelities:
        raise ConfigError(
            f"{(likes or ['keep_fidelities'])[0]} is about a fidelity of init, and there is no init: give one"
        )
    entry = MODELS[kind]
    presets: dict[str, Callable[..., Any]] = {"default": entry.config}
    if hasattr(entry.config, "reference_size"):
        presets["reference-size"] = entry.config.reference_size
    if config.preset not in presets:
        raise ConfigError(
            f"preset={config.preset!r}{suggest(config.preset, presets)}; {config.model} has {', '.join(presets)}"
        )
    several = {"n_fidelities": len(levels), "bases": bases(config, levels)} if len(levels) > 1 else {}
    arguments = asdict(presets[config.preset](elements=all_elements(levels), **several))
    coulomb = COULOMB[config.model] if config.coulomb == "auto" else config.coulomb
    model_config = ModelConfig(
        kind=kind,
        arguments={**arguments, **config.arguments},
        fidelities=tuple(levels),
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
    return Start(replace(model_config, arguments=asdict(typed)), network)


def _levels(config: FitConfig, train: Dataset) -> tuple[Fidelity, ...]:
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
    fidelity: int,
    level: Fidelity,
    explained: Potential | None,
    subtracted: Sequence[DispersionSubtraction],
) -> dict[int, float]:
    """Self-atomic energies of the labels, or of what a potential without them leaves to be explained."""
    chosen = np.flatnonzero((train.fidelity == fidelity) & train.has("energy"))
    what = "training data" if len(train.fidelities) == 1 else f"fidelity {level.name!r}"
    if not len(chosen):
        raise DatasetError(f"{what}: no system has an energy: a potential cannot be trained on this data")
    if len(chosen) > REFERENCE_SYSTEMS and (explained is not None or subtracted):
        chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, REFERENCE_SYSTEMS).astype(np.int64))]
    part = train.subset(chosen)
    energies = np.asarray(part.labels["energy"], dtype=np.float64)
    if explained is not None or subtracted:
        reader = LabelReader(explained, ("energy",), subtracted, FitConfig())
        energies = np.concatenate([
            _unexplained(reader.read(part, systems), explained)
            for systems in np.array_split(np.arange(len(part)), -(-len(part) // EVALUATED_AT_ONCE))
        ])  # fmt: skip
    elements = level.elements or ()
    counts = composition(part.numbers, part.offsets, elements)
    return fit_reference_energies(counts, energies, elements, what)


def _unexplained(batch: AtomicBatch, explained: Potential | None) -> np.ndarray:
    """Energies, less what a potential explains of them."""
    energies = batch.labels["energy"]
    if explained is not None:
        energies = energies - evaluate(explained, batch, ())["energy"]
    return energies.numpy()
