"""The closed table of networks: everything that depends on the kind of a model. Nothing else is ever built from a file.

A kind is one entry: its network, the configuration of it, the calculator for it, and how it is trained.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from molcalc.errors import CheckpointMismatchError, ConfigError, UnsafeCheckpointError, short, suggest
from molcalc.io.checkpoint import Checkpoint, ModelConfig
from molcalc.io.schema import from_dict
from molcalc.models.aimnet2 import AIMNet2Config, AIMNet2Network
from molcalc.models.aimnet2_dcm import (
    AIMNet2DCMConfig,
    AIMNet2DCMNetwork,
    AIMNet2NonEquivariantConfig,
    AIMNet2NonEquivariantNetwork,
)
from molcalc.models.dcm import NonEquivariantConfig, NonEquivariantDCMNetwork, PhysNetDCMConfig, PhysNetDCMNetwork
from molcalc.models.network import NetworkConfig, TrainableNetwork


@dataclass(frozen=True, kw_only=True)
class Training:
    """Recommended training of a kind of model.

    Attributes
    ----------
    options : differences from the defaults of :class:`molcalc.train.config.FitConfig`.
    coulomb : Coulomb energy of the model, see :class:`molcalc.io.checkpoint.ModelConfig`.
    presets : named sizes beside "default", each a function of the elements and of changes by name.
    options_with_init : differences from ``options`` where the run starts from given weights.
    """

    options: Mapping[str, Any]
    coulomb: str | None = None
    options_with_init: Mapping[str, Any] = field(default_factory=dict)
    presets: Mapping[str, Callable[..., NetworkConfig]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """Entry of a kind of model: network, configuration, calculator and recommended training.

    Attributes
    ----------
    network, config : class of the networks and dataclass of their arguments.
    calculator : dotted name of the ASE calculator, which is imported only when it is asked for.
    training : how it is trained unless the user says otherwise.
    trunk : kind of models that its head can be put on, whose energies stay as they are; None where there are none.
    """

    network: type[TrainableNetwork]
    config: type[NetworkConfig]
    calculator: str
    training: Training
    trunk: str | None = None

    @property
    def learns_fidelities(self) -> bool:
        """Whether one network may learn several levels of theory."""
        return any(each.name == "n_fidelities" for each in fields(self.config))

    @property
    def calculator_name(self) -> str:
        """Name of the calculator's class alone."""
        return self.calculator.rpartition(".")[2]


_AIMNET2 = Training(
    options={
        "batch_size": 512,
        "batch_mode": "atoms",
        "epochs": 200,
        "loss": {"weights": {"energy": 1.0, "forces": 5.0, "charges": 5.0, "spin_charges": 5.0, "dipole": 1.0}},
        "schedule": {"name": "cosine", "warmup": 0.02},
    },
    coulomb="simple",
)
_HEAD_ON_AIMNET2 = Training(
    options={
        **_AIMNET2.options,
        "loss": {"weights": {**_AIMNET2.options["loss"]["weights"], "esp": 1.0}},
    },
    coulomb=_AIMNET2.coulomb,
    options_with_init={
        "groups": [{"pattern": r"^(?!head\.)", "freeze": True}],
        "loss": {
            "weights": {**dict.fromkeys(_AIMNET2.options["loss"]["weights"], 0.0), "esp": 100.0, "dipole": 200.0},
            "metric": "huber",
        },
        "batch_size": 32,
        "batch_mode": "molecules",
        "epochs": 24,
        "validate_every": 4,
        "esp_points": 128,
        "learning_rate": 5e-3,
        "weight_decay": 0.1,
        "ema": 0.98,
        "schedule": {"name": "cosine", "warmup": 0.05},
    },
)
"""On given weights only the head is trained, by potentials and dipoles: energies and forces stay as they are."""
_WEIGHTS = {"energy": 100.0, "forces": 50.0, "dipole": 100.0, "esp": 50.0}
_DISTRIBUTED_CHARGES: dict[str, Any] = {
    "batch_size": 32,
    "epochs": 300,
    "loss": {"weights": _WEIGHTS},
    "optimizer": "muon",
    "schedule": {"name": "cosine", "warmup": 0.02, "final_factor": 0.001},
    "ema": 0.99,
}
"""Models of distributed charges are trained without a Coulomb energy: with PhysNet's own, which acts between bonded
atoms too, charges settle where they help the energy, and the potential of CO2 is fitted half as well."""
_BOTH_DIPOLES = {**_DISTRIBUTED_CHARGES, "loss": {"weights": {**_WEIGHTS, "charge_dipole": 1.0}}}
"""Where the dipole is that of distributed charges, a little of that of the atomic charges gives these a meaning and
leaves the potential as it is; with a weight like that of the dipole some come out worse (docs/loss_weights.md)."""

MODELS: dict[str, ModelEntry] = {
    "aimnet2": ModelEntry(
        network=AIMNet2Network,
        config=AIMNet2Config,
        calculator="molcalc.calculators.aimnet2.AIMNet2",
        training=_AIMNET2,
    ),
    "aimnet2-dcm": ModelEntry(
        network=AIMNet2DCMNetwork,
        config=AIMNet2DCMConfig,
        calculator="molcalc.calculators.aimnet2.AIMNet2",
        training=_HEAD_ON_AIMNET2,
        trunk="aimnet2",
    ),
    "aimnet2-noneq-dcm": ModelEntry(
        network=AIMNet2NonEquivariantNetwork,
        config=AIMNet2NonEquivariantConfig,
        calculator="molcalc.calculators.aimnet2.AIMNet2",
        training=_HEAD_ON_AIMNET2,
        trunk="aimnet2",
    ),
    "physnet-dcm": ModelEntry(
        network=PhysNetDCMNetwork,
        config=PhysNetDCMConfig,
        calculator="molcalc.calculators.physnet_dcm.PhysNetDCM",
        training=Training(options=_BOTH_DIPOLES, presets={"reference-size": PhysNetDCMConfig.reference_size}),
    ),
    "noneq-dcm": ModelEntry(
        network=NonEquivariantDCMNetwork,
        config=NonEquivariantConfig,
        calculator="molcalc.calculators.physnet_dcm.NonEquivariantDCM",
        training=Training(
            options=_DISTRIBUTED_CHARGES, presets={"reference-size": NonEquivariantConfig.reference_size}
        ),
    ),
}
GENERATOR = "conformer-vae"
"""Kind of models that make structures, and are no potentials: :mod:`molcalc.conformers.vae` reads and trains them."""
DEFAULT_MODEL = "physnet-dcm"
"""Kind that is trained when none is named."""
MAX_VALUES = 1000
"""Single values in the arguments of a network; more would take long to build."""


def calculator_class(kind: str) -> type[Any]:
    """Class of the ASE calculator for a kind of model.

    Parameters
    ----------
    kind : key of :data:`MODELS`.

    Returns
    -------
    subclass of :class:`ase.calculators.calculator.Calculator`

    Raises
    ------
    UnsafeCheckpointError
        When the kind is not in the table: no name out of a file is ever imported.
    """
    module, _, name = entry_of(kind).calculator.rpartition(".")
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found


def entry_of(kind: str) -> ModelEntry:
    """The entry of a kind of model that a file or a user names.

    Returns
    -------
    entry of :data:`MODELS`

    Raises
    ------
    UnsafeCheckpointError
        When the kind is not in the table.
    CheckpointMismatchError
        When it is a generator of structures.
    """
    if kind == GENERATOR:
        raise CheckpointMismatchError(
            f"a model of the kind {GENERATOR} makes structures, and is no potential: ConformerVAE.load opens it, and "
            "'molcalc sample' draws from it"
        )
    if kind not in MODELS:
        raise UnsafeCheckpointError(
            f"unknown architecture {short(kind)}{suggest(kind[:80], MODELS)}; known: {', '.join(MODELS)}"
        )
    return MODELS[kind]


def network_config(config: ModelConfig) -> NetworkConfig:
    """The typed configuration of a model's network.

    Returns
    -------
    instance of the configuration that the entry names

    Raises
    ------
    UnsafeCheckpointError
        When the kind is not in the table.
    CheckpointMismatchError
        When the arguments do not fit.
    """
    entry = entry_of(config.kind)
    if _count(config.arguments) > MAX_VALUES:
        raise CheckpointMismatchError(f"arguments hold more than {MAX_VALUES} values")
    try:
        return from_dict(entry.config, config.arguments, "arguments")
    except ConfigError as error:
        raise CheckpointMismatchError(str(error)) from error


def build_members(checkpoint: Checkpoint) -> list[TrainableNetwork]:
    """Networks with their weights, in evaluation mode.

    Returns
    -------
    one network for each member

    Raises
    ------
    CheckpointMismatchError
        When a weight is missing, unexpected, or of the wrong shape or type.
    """
    prefixes = [f"members.{k}." for k in range(checkpoint.config.n_members)]
    first = _build_empty(checkpoint.config)
    expected = {prefix + name: tensor.shape for prefix in prefixes for name, tensor in first.state_dict().items()}
    check_weights(checkpoint.weights, expected)
    members = [first, *(_build_empty(checkpoint.config) for _ in prefixes[1:])]
    for prefix, member in zip(prefixes, members):
        state = {name: checkpoint.weights[prefix + name].clone() for name in member.state_dict()}
        member.load_state_dict(state, strict=True, assign=True)
        member.requires_grad_(False).eval()
    return members


def _build_empty(config: ModelConfig) -> TrainableNetwork:
    """A network whose weights take no memory, whatever sizes a file claims."""
    arguments = network_config(config)
    try:
        with torch.device("meta"):
            return entry_of(config.kind).network(arguments)
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointMismatchError(f"arguments {short(config.arguments)} describe no network: {reason}") from error


def check_weights(weights: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    """Refuse weights that are not those of a network.

    Parameters
    ----------
    expected : shapes by name.

    Raises
    ------
    CheckpointMismatchError
        When one is missing, unexpected, or of the wrong shape or type.
    """
    missing, extra = sorted(expected.keys() - weights), sorted(weights.keys() - expected)
    if missing or extra:
        raise CheckpointMismatchError(
            f"weights do not fit the architecture: missing {missing[:5] or 'none'}, unexpected {extra[:5] or 'none'}"
        )
    for name, shape in expected.items():
        value = weights[name]
        if value.shape != shape:
            raise CheckpointMismatchError(f"weight {name} has shape {tuple(value.shape)}; expected {tuple(shape)}")
        if not value.is_floating_point():
            raise CheckpointMismatchError(f"weight {name} is of type {value.dtype}; expected floating point numbers")


def _count(values: Any) -> int:
    if isinstance(values, Mapping):
        return sum(_count(value) for value in values.values())
    if isinstance(values, (list, tuple)):
        return sum(_count(value) for value in values)
    return 1


def checkpoint_of(config: ModelConfig, members: Sequence[TrainableNetwork]) -> Checkpoint:
    """Collect the weights of networks under the names that :func:`build_members` expects."""
    weights = {
        f"members.{k}.{name}": value.detach()
        for k, member in enumerate(members)
        for name, value in member.state_dict().items()
    }
    return Checkpoint(config, weights)
