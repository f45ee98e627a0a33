"""Model folders of generators: the same two files as those of potentials, with the molecule among the arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from molcalc._version import __version__
from molcalc.conformers.graphs import AtomGraph
from molcalc.conformers.molecules import Molecule, atom_labels
from molcalc.conformers.vae.losses import ObjectiveConfig
from molcalc.conformers.vae.network import VAENetwork, VAENetworkConfig
from molcalc.conformers.vae.prior import GaussianMixture
from molcalc.conformers.vae.reference import ReferenceStructure
from molcalc.errors import CheckpointMismatchError, ConfigError, short
from molcalc.io import checkpoint
from molcalc.io.checkpoint import Checkpoint, ModelConfig
from molcalc.io.schema import from_dict
from molcalc.registry import GENERATOR, check_weights
from molcalc.train.loop.task import OF_ONE_NETWORK
from molcalc.units import SYMBOLS

MOLECULE = "molecule."
PRIOR = "prior."
VERSION = 2
"""Of the arrays of a generator. The first had the mean of the training structures twice."""
MEANS_IN_1 = ("encoder.mean", "decoder.mean")


@dataclass(frozen=True, eq=False)
class GeneratorParts:
    """What a generator is made of.

    Attributes
    ----------
    reference : molecule that it is for.
    network_config, objective : how it is built, and what it is trained to.
    network : None before it has learned something.
    mixture : of the latents of its training structures; None before the end of a training.
    provenance : where the weights come from; empty where nobody said.
    """

    reference: ReferenceStructure
    network_config: VAENetworkConfig
    objective: ObjectiveConfig
    network: VAENetwork | None = None
    mixture: GaussianMixture | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)


def new_network(reference: ReferenceStructure, config: VAENetworkConfig) -> VAENetwork:
    """A network for a molecule, with random weights."""
    return VAENetwork(torch.from_numpy(reference.molecule.numbers.astype(np.int64)), reference.topology, config)


def declaration(parts: GeneratorParts) -> ModelConfig:
    """What the model file says of a generator beside its arrays."""
    molecule = parts.reference.molecule
    arguments = {
        "version": VERSION,
        "name": molecule.name,
        "charge": molecule.charge,
        "multiplicity": molecule.multiplicity,
        "network": asdict(parts.network_config),
        "objective": asdict(parts.objective),
    }
    return ModelConfig(kind=GENERATOR, arguments=arguments, provenance=dict(parts.provenance))


def molecule_arrays(reference: ReferenceStructure) -> dict[str, Tensor]:
    """Arrays of a molecule by name."""
    molecule = reference.molecule
    return {
        MOLECULE + "numbers": torch.from_numpy(molecule.numbers.astype(np.int64)),
        MOLECULE + "masses": torch.from_numpy(np.array(molecule.masses, dtype=np.float64)),
        MOLECULE + "positions": torch.from_numpy(reference.positions),
        MOLECULE + "bonds": torch.tensor(molecule.graph.bonds, dtype=torch.int64).reshape(-1, 2),
        MOLECULE + "double_bonds": torch.tensor(molecule.double_bonds, dtype=torch.int64).reshape(-1, 2),
    }


def mixture_arrays(mixture: GaussianMixture | None) -> dict[str, Tensor]:
    """Arrays of a mixture by name; none where there is none."""
    if mixture is None:
        return {}
    return {PRIOR + name: torch.from_numpy(value) for name, value in vars(mixture).items()}


def save_generator(path: str | os.PathLike[str], parts: GeneratorParts) -> None:
    """Write a model folder.

    Raises
    ------
    CheckpointError, ResourceError
        When a weight is not finite, or the folder cannot be written: what was there stays.
    """
    checkpoint.save(path, generator_checkpoint(parts))


def generator_checkpoint(parts: GeneratorParts) -> Checkpoint:
    """What a model folder holds of a trained generator, in memory."""
    assert parts.network is not None
    arrays = {OF_ONE_NETWORK + name: value for name, value in parts.network.state_dict().items()}
    arrays |= molecule_arrays(parts.reference) | mixture_arrays(parts.mixture)
    return Checkpoint(declaration(parts), arrays)


def load_generator(path: str | os.PathLike[str]) -> GeneratorParts:
    """Read a model folder.

    Returns
    -------
    trained generator

    Raises
    ------
    FileNotFoundError, CheckpointError
        When it is not there, damaged, of another kind, or contradicts itself.
    """
    return parts_of(checkpoint.load(path), str(path))


def parts_of(model: Checkpoint, where: str) -> GeneratorParts:
    """The generator of a model in memory.

    Parameters
    ----------
    where : it comes from, for messages.

    Returns
    -------
    trained generator

    Raises
    ------
    CheckpointMismatchError
        When it is of another kind, of a newer or too old version, or its entries or arrays do not fit each other.
    """
    if model.config.kind != GENERATOR:
        raise CheckpointMismatchError(
            f"{where} holds a model of the kind {short(model.config.kind)}, which is no generator of conformers"
        )
    arguments = model.config.arguments
    version = arguments.get("version", 1)
    if type(version) is not int or not 1 <= version <= VERSION:
        raise CheckpointMismatchError(
            f"{where} holds a generator of version {short(version)}; this molcalc {__version__} reads up to {VERSION}: "
            "install a newer molcalc"
        )
    try:
        config = from_dict(VAENetworkConfig, arguments.get("network", {}), f"{where}: network")
        objective = from_dict(ObjectiveConfig, arguments.get("objective", {}), f"{where}: objective")
        reference = _reference(arguments, model.weights, where)
    except ConfigError as error:
        raise CheckpointMismatchError(str(error)) from error
    network = new_network(reference, config)
    own = {
        name.removeprefix(OF_ONE_NETWORK): value
        for name, value in model.weights.items()
        if name.startswith(OF_ONE_NETWORK)
    }
    if version == 1 and all(name in own for name in MEANS_IN_1):
        own["mean"] = [own.pop(name) for name in MEANS_IN_1][0]
    try:
        check_weights(own, {name: value.shape for name, value in network.state_dict().items()})
    except CheckpointMismatchError as error:
        older = "; one made before molcalc 0.2.0 has to be trained anew" if version == 1 else ""
        raise CheckpointMismatchError(f"{where}: {error}{older}") from error
    if any(value.dtype == torch.float64 for value in own.values()):
        network = network.double()
    network.load_state_dict(own)
    network.requires_grad_(False).eval()
    mixture = _mixture(model.weights, config, where)
    return GeneratorParts(reference, config, objective, network, mixture, model.config.provenance)


def _reference(arguments: Mapping[str, Any], arrays: Mapping[str, Tensor], where: str) -> ReferenceStructure:
    """The molecule of a model file."""
    found: dict[str, np.ndarray] = {}
    for name, kind, width in (
        ("numbers", torch.int64, 0), ("masses", torch.float64, 0), ("positions", torch.float64, 3),
        ("bonds", torch.int64, 2), ("double_bonds", torch.int64, 2),
    ):  # fmt: skip
        value = arrays.get(MOLECULE + name)
        shape = () if value is None else tuple(value.shape)
        if value is None or value.dtype != kind or len(shape) != (2 if width else 1) or (width and shape[1] != width):
            raise CheckpointMismatchError(f"{where}: the molecule has no {name}, or in another form than it should")
        found[name] = value.numpy()
    numbers, n = found["numbers"], len(found["numbers"])
    fits = (
        len(found["positions"]) == len(found["masses"]) == n > 1 and numbers.min() > 0 and numbers.max() < len(SYMBOLS)
    )
    pairs = np.concatenate([found["bonds"], found["double_bonds"]])
    if not fits or not len(found["bonds"]) or pairs.min() < 0 or pairs.max() >= n:
        raise CheckpointMismatchError(f"{where}: atoms, positions and bonds of the molecule contradict each other")
    charge, multiplicity = arguments.get("charge"), arguments.get("multiplicity")
    if type(charge) is not int or type(multiplicity) is not int:
        raise CheckpointMismatchError(
            f"{where}: charge {short(charge)} and multiplicity {short(multiplicity)}; expected whole numbers"
        )
    graph = AtomGraph.of(atom_labels(numbers, found["masses"]), [(int(i), int(j)) for i, j in found["bonds"]])
    molecule = Molecule(
        name=str(arguments.get("name") or Atoms(numbers).get_chemical_formula("hill")),
        label=where,
        numbers=numbers,
        masses=found["masses"],
        graph=graph,
        double_bonds=tuple((int(i), int(j)) for i, j in found["double_bonds"]),
        charge=charge,
        multiplicity=multiplicity,
    )
    return ReferenceStructure(molecule, found["positions"])


def _mixture(arrays: Mapping[str, Tensor], config: VAENetworkConfig, where: str) -> GaussianMixture | None:
    """The mixture of a model file, where it has one."""
    names = tuple(GaussianMixture.__dataclass_fields__)
    found = {name: arrays[PRIOR + name].double().numpy() for name in names if PRIOR + name in arrays}
    if not found:
        return None
    n_latent = config.latent_dim
    n = len(found["weights"]) if "weights" in found else 0
    shapes = {name: value.shape for name, value in found.items()}
    expected = {"weights": (n,), "means": (n, n_latent), "covariances": (n, n_latent, n_latent)}
    of_all = {**expected, "covariances": (1, n_latent, n_latent)}
    if n == 0 or shapes not in (expected, of_all):
        raise CheckpointMismatchError(f"{where}: the mixture of the prior does not fit {n_latent} latent dimensions")
    return GaussianMixture(**found)
