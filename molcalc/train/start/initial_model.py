"""The network of a run: from random or given weights, with reference energies fitted to the data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from molcalc.assembly.potentials import fixed_potential, training_potential
from molcalc.assembly.terms import REPULSION_OF_NEW_MODELS, trained_coulomb
from molcalc.batch import AtomicBatch
from molcalc.derivatives import evaluate
from molcalc.errors import (
    CheckpointMismatchError,
    ConfigError,
    DatasetError,
    UnsupportedElementError,
    memory_named,
    short,
    suggest,
)
from molcalc.fidelity import Fidelity
from molcalc.io.checkpoint import Checkpoint, ModelConfig
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.models.network import NetworkConfig, TrainableNetwork
from molcalc.potential import Potential
from molcalc.registry import MODELS, build_members, network_config
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.dispersion_subtraction import DispersionSubtraction
from molcalc.train.data.label_reader import LabelReader, elements_of, fidelities_of_model
from molcalc.train.start.knowledge_of_data import knowledge_of
from molcalc.train.start.reference_energies import (
    FIT,
    ReferenceSource,
    check_given,
    composition,
    fit_reference_energies,
    isolated_atoms,
)
from molcalc.train.start.start_config import StartConfig
from molcalc.train.start.transfer import all_elements, bases, check_fidelities, transferred
from molcalc.units import symbols_of

log = logging.getLogger(__name__)

COULOMB_RANGE = {"simple": 4.6, "physnet": 10.0}
"""Å, see :class:`molcalc.io.checkpoint.ModelConfig`."""
MOST_PARAMETERS = 10**9
"""Of a new network; the published ones have two millions."""
REFERENCE_SYSTEMS = 2000
"""Systems of a fidelity that are evaluated to shift given weights to it."""
EVALUATED_AT_ONCE = 64


@dataclass(frozen=True)
class InitialModel:
    """A model before its first step, and what is done to labels before it learns them.

    Attributes
    ----------
    config : its declaration: kind, arguments, fidelities, terms.
    network : with reference energies.
    subtractions : what is taken out of labels, for the fidelities that say so.
    """

    config: ModelConfig
    network: TrainableNetwork
    subtractions: tuple[DispersionSubtraction, ...] = ()


def new_model(config: StartConfig, train: Dataset, seed: int, held_out: Sequence[Dataset] = ()) -> InitialModel:
    """Network and declaration for a run.

    The model has the fidelities of the data, in their order; after them those of the given weights that are kept.

    Parameters
    ----------
    train : training systems; elements and reference energies come from them.
    seed : of random weights.
    held_out : other parts of the data, whose single atoms count as well where their energies are asked for.

    Returns
    -------
    the model, on the processor, in the arithmetic that its weights were made in.

    Raises
    ------
    ConfigError, CheckpointMismatchError
        When options or given weights do not fit.
    DatasetError
        When a fidelity has no training systems, or an element no energy to fit its reference to.
    """
    subtractions = _subtractions(config, train.fidelities)
    fidelities = _fidelities(config, train, subtractions)
    known: frozenset[int] = frozenset()
    if config.init is None:
        declared, network = _fresh(config, fidelities, seed)
        explained = fixed_potential(declared)
    else:
        declared, network, known = transferred(config, config.init, fidelities, seed)
        explained = training_potential(declared, [network])
    origins = {}
    for k, fidelity in enumerate(fidelities):
        source = ReferenceSource.of(config.reference_energies, fidelity.name, train.fidelities)
        if k in known:
            if source.words != FIT:
                raise ConfigError(
                    f"reference_energies: fidelity {fidelity.name!r} goes on from {config.init!r} with those it has "
                    "there: leave them out"
                )
            continue
        what = "training data" if len(fidelities) == 1 else f"fidelity {fidelity.name!r}"
        if source.words == FIT:
            energies = _fitted(train, k, fidelity, explained, subtractions, what)
        else:
            energies = _given(source, (train, *held_out), k, fidelity, what)
        network.set_reference_energies(energies, k)
        origins[fidelity.name] = source.words
        if source.words != FIT:
            declared = _without_span(declared, k)
    if any(words != FIT for words in origins.values()):
        said = ", ".join(f"{name}: {words}" for name, words in origins.items())
        declared = replace(declared, provenance={**declared.provenance, "reference_energies": said})
    return InitialModel(declared, network, subtractions)


def continued_model(config: StartConfig, begun: Checkpoint, train: Dataset) -> InitialModel:
    """The network of a run that goes on, perhaps with more data.

    Parameters
    ----------
    begun : its present weights.

    Returns
    -------
    the model, on the processor

    Raises
    ------
    CheckpointMismatchError
        When the data have fidelities or elements that the run was not begun with.
    """
    names = [fidelity.name for fidelity in begun.config.fidelities]
    cure = "leave them out, or start a new run with init= this one"
    if list(train.fidelities) != names[: len(train.fidelities)]:
        raise CheckpointMismatchError(
            f"cannot resume: the data have the fidelities {', '.join(train.fidelities)}, and the run was begun with "
            f"{', '.join(names)}, each with weights of its own: {cure}"
        )
    try:
        fidelities_of_model(begun.config, train)
    except UnsupportedElementError as error:
        raise CheckpointMismatchError(f"cannot resume: {error}: {cure}") from error
    (network,) = build_members(begun)
    known = begun.config.fidelities
    learned = [replace(known[k], knowledge=knowledge_of(train, k)) for k in range(len(train.fidelities))]
    declared = replace(begun.config, fidelities=(*learned, *known[len(learned) :]))
    for k, fidelity in enumerate(known[: len(learned)]):
        if fidelity.knowledge is not None and fidelity.knowledge.span is None:
            declared = _without_span(declared, k)
    return InitialModel(declared, network, _subtractions(config, train.fidelities))


def _without_span(config: ModelConfig, index: int) -> ModelConfig:
    """The declaration of a model whose energies of free atoms are not fitted at one fidelity."""
    fidelities = list(config.fidelities)
    known = fidelities[index].knowledge
    assert known is not None  # every fidelity of the data has it
    fidelities[index] = replace(fidelities[index], knowledge=replace(known, span=None))
    return replace(config, fidelities=tuple(fidelities))


def cast(network: TrainableNetwork, precision: str, n_fidelities: int) -> TrainableNetwork:
    """Put the weights of a network into the arithmetic of training.

    The heads of fidelities without data, which are behind the first ``n_fidelities``, are frozen: weight decay would
    change them.

    Returns
    -------
    the network itself
    """
    dtype = torch.float64 if precision == "float64" else torch.float32
    network.set_training_dtype(dtype).train().requires_grad_(True)
    if isinstance(network, AIMNet2Network):
        trained = {head for k in range(n_fidelities) for head in network.config.chain(k)}
        for heads in (network.energy_heads, network.charge_heads):
            for k, head in enumerate(heads):
                head.requires_grad_(k in trained)
    return network


def _fresh(config: StartConfig, fidelities: Sequence[Fidelity], seed: int) -> tuple[ModelConfig, TrainableNetwork]:
    """A network of random weights, and its declaration."""
    check_fidelities(config.model, len(fidelities))
    likes = [f"fidelities.{name}.like" for name, item in config.fidelities.items() if item.like is not None]
    if likes or config.keep_fidelities:
        raise ConfigError(
            f"{(likes or ['keep_fidelities'])[0]} is about a fidelity of init, and there is no init: give one"
        )
    decided = [name for name in ("n_fidelities", "bases") if name in config.arguments]
    if decided:
        raise ConfigError(f"arguments.{decided[0]} follows from the data and from fidelities.NAME.base: leave it out")
    entry = MODELS[config.model]
    recommended = entry.training
    presets: dict[str, Callable[..., NetworkConfig]] = {"default": entry.config, **recommended.presets}
    if config.preset not in presets:
        raise ConfigError(
            f"preset={config.preset!r}{suggest(config.preset, presets)}; {config.model} has {', '.join(presets)}"
        )
    names = [fidelity.name for fidelity in fidelities]
    elements = all_elements(fidelities)
    sizes: dict[str, Any] = {}
    if (corrected := bases(config, names)) or len(names) > 1:
        sizes.update(n_fidelities=len(names), bases=corrected)
    if max(elements) > entry.config.max_number and "max_number" not in config.arguments:
        sizes["max_number"] = max(elements)
    arguments = asdict(presets[config.preset](elements=elements, **sizes))
    wanted = recommended.coulomb if config.coulomb == "auto" else config.coulomb
    coulomb, summed, options = (None, None, {}) if wanted is None else trained_coulomb(wanted, config.coulomb_options)
    model_config = ModelConfig(
        kind=config.model,
        arguments={**arguments, **config.arguments},
        fidelities=tuple(fidelities),
        coulomb=coulomb,
        coulomb_range=None if coulomb is None else COULOMB_RANGE.get(coulomb),
        coulomb_sum=summed,
        coulomb_options=options,
        repulsion=REPULSION_OF_NEW_MODELS.get(config.repulsion or "", config.repulsion),
    )
    try:
        typed = network_config(model_config)
    except CheckpointMismatchError as error:
        raise ConfigError(str(error)) from error
    if strange := set(elements) - set(typed.elements):
        raise ConfigError(
            f"arguments.elements={list(typed.elements)} lacks {symbols_of(strange)}, which the data have: leave it "
            "out, and the elements of the data are taken"
        )
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in entry.network(typed).parameters())
    if size > MOST_PARAMETERS:
        raise ConfigError(
            f"the network of arguments {short(config.arguments)} has {size:.2g} parameters; expected at most "
            f"{MOST_PARAMETERS:.0e}: make it smaller"
        )
    with (
        torch.random.fork_rng(devices=[]),
        memory_named(f"the network of arguments {short(config.arguments)}", "make it smaller"),
    ):
        torch.manual_seed(seed)
        network = entry.network(typed).initialize()
    return replace(model_config, arguments=asdict(typed)), network


def _subtractions(config: StartConfig, names: Sequence[str]) -> tuple[DispersionSubtraction, ...]:
    """Terms that are taken out of the labels before they are learned."""
    return tuple(
        DispersionSubtraction(config.trained_fidelity(name).labels, index=k)
        for k, name in enumerate(names)
        if config.trained_fidelity(name).subtract_dispersion
    )


def _fidelities(
    config: StartConfig, train: Dataset, subtractions: Sequence[DispersionSubtraction]
) -> tuple[Fidelity, ...]:
    """The fidelities of the data as the model declares them, with the elements that occur in each."""
    for name in config.fidelities:
        if name not in train.fidelities:
            raise ConfigError(
                f"fidelities: {name!r}{suggest(name, train.fidelities)} is not in the data; it has "
                f"{', '.join(train.fidelities)}"
            )
    subtracted = {subtraction.index: subtraction.fidelity for subtraction in subtractions}
    found = []
    for k, name in enumerate(train.fidelities):
        elements = elements_of(train, k)
        if not elements:
            raise DatasetError(
                f"fidelity {name!r} has no system to train on: its file is empty, or all its systems are held out; add "
                "some, or leave the fidelity out"
            )
        labels = subtracted.get(k) or config.trained_fidelity(name).labels
        found.append(replace(labels, elements=elements, knowledge=knowledge_of(train, k)))
    return tuple(found)


def _fitted(
    train: Dataset,
    index: int,
    fidelity: Fidelity,
    explained: Potential | None,
    subtracted: Sequence[DispersionSubtraction],
    what: str,
) -> dict[int, float]:
    """Self-atomic energies of the labels, or of what a potential without them leaves to be explained."""
    elements = fidelity.elements or ()
    chosen = np.flatnonzero((train.fidelity == index) & train.has("energy"))
    if not len(chosen):
        log.warning("%s: no system has an energy: self-atomic energies are 0, and total energies are not learned", what)
        return dict.fromkeys(elements, 0.0)
    if len(chosen) > REFERENCE_SYSTEMS and (explained is not None or subtracted):
        chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, REFERENCE_SYSTEMS).astype(np.int64))]
    part = train.subset(chosen)
    energies = np.asarray(part.labels["energy"], dtype=np.float64)
    if explained is not None or subtracted:
        reader = LabelReader(explained, ("energy",), subtracted)
        energies = np.concatenate([
            _unexplained(reader.read(part, systems), explained)
            for systems in np.array_split(np.arange(len(part)), -(-len(part) // EVALUATED_AT_ONCE))
        ])  # fmt: skip
    counts = composition(part.numbers, part.offsets, elements)
    return fit_reference_energies(counts, energies, elements, what)


def _given(
    source: ReferenceSource, parts: Sequence[Dataset], index: int, fidelity: Fidelity, what: str
) -> dict[int, float]:
    """Self-atomic energies that a user gave, or of the single atoms in the data, for every element of a fidelity."""
    elements = fidelity.elements or ()
    isolated = source.energies is None
    found = isolated_atoms(parts, index, elements) if source.energies is None else source.energies
    missing = [number for number in elements if number not in found]
    if missing:
        where = "no neutral single atom with an energy" if isolated else f"{source.words}: no energy"
        raise (DatasetError if isolated else ConfigError)(
            f"{what}: reference_energies: {where} of {symbols_of(missing)}; add it, or let reference_energies='fit' "
            "take all of them from the data"
        )
    energies = {number: found[number] for number in elements}
    own = parts[0].subset(np.flatnonzero(parts[0].fidelity == index))
    if "energy" in own.labels:
        check_given(energies, composition(own.numbers, own.offsets, elements), own.labels["energy"], what)
    return energies


def _unexplained(batch: AtomicBatch, explained: Potential | None) -> np.ndarray:
    """Energies, less what a potential explains of them."""
    energies = batch.labels["energy"]
    if explained is not None:
        energies = energies - evaluate(explained, batch, ())["energy"]
    return energies.numpy()
