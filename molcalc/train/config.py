"""Every option of a training run, typed, with recommended values for each kind of model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from molcalc.errors import ConfigError, suggest
from molcalc.io.schema import from_dict
from molcalc.registry import DEFAULT_MODEL, MODELS
from molcalc.train.loop.losses import LossConfig
from molcalc.train.loop.sampler import MODES
from molcalc.train.optimize.optimizers import OPTIMIZER_CONFIGS, GroupConfig
from molcalc.train.optimize.schedules import ScheduleConfig

PRECISIONS = ("float32", "bf16", "float64")
COULOMB = ("auto", "simple", "physnet", "distributed", None)
TRACKERS = ("tensorboard", "wandb")
DIPOLE_SOURCES = ("auto", "distributed", "charges")


@dataclass(frozen=True, kw_only=True)
class LevelOfTheory:
    """What the labels of a fidelity are.

    Attributes
    ----------
    functional : density functional, in the spelling of the D3 parameter sets; or None.
    dispersion : term that completes the labels in the calculator ("d3bj:pbe0"), or None.
    dispersion_in_labels : whether the labels contain dispersion already.
    subtract_dispersion : take ``dispersion`` out of labels that contain it, train on the rest, and let the calculator
        add it again.
    base : another fidelity of the data, to which this one learns the difference (Δ-learning).
    like : fidelity of ``init`` that this one starts from; None takes the one of the same name, or the first.
    """

    functional: str | None = None
    dispersion: str | None = None
    dispersion_in_labels: bool = False
    subtract_dispersion: bool = False
    base: str | None = None
    like: str | None = None

    def __post_init__(self) -> None:
        if self.subtract_dispersion and (self.dispersion is None or not self.dispersion_in_labels):
            raise ValueError(
                "subtract_dispersion needs dispersion_in_labels=True and the dispersion that they contain "
                "(dispersion='d3bj:pbe0')"
            )


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Options of :func:`molcalc.train.fit`; YAML files have the same keys.

    Attributes
    ----------
    model : kind of network, a key of :data:`molcalc.registry.MODELS`: "aimnet2", "physnet-dcm" or "noneq-dcm".
    arguments : fields of the network's own configuration that differ from its defaults.
    preset : named size of the network, where it has several.
    init : published name, model file or directory to start from; None starts from random weights.
    init_member : which network of an ensemble to start from.
    keep_fidelities : keep the fidelities of ``init`` that the data do not have. What all share changes with training,
        unless it is frozen (``groups``).
    coulomb : Coulomb energy of the model: "auto" (AIMNet2 "simple", models of distributed charges None), "simple"
        (beyond bonds), "physnet" (also between bonded atoms), "distributed" (of the charges around the atoms), or None.
    repulsion : "zbl" or None, repulsion of nuclei at short range.
    seed : of split, weights and order of batches.
    valid, test : share (< 1) or number of systems held out.
    split_by : "molecule" or a database key: systems that share it stay together.
    split_key : database key that names each row's part ("train", "valid", "test").
    allow_overlap : train although held-out files have geometries of the training part, with a warning.
    epochs : passes over the training set (or of ``batches_per_epoch``).
    batch_size, batch_mode : molecules or atoms in a batch.
    batches_per_epoch : None for one pass.
    accumulate : parts in which a batch is worked through, to save memory.
    fidelities : level of theory of each fidelity.
    fidelity_weights : how often each fidelity is drawn, and how much it counts in validation. None draws every system
        equally often, and lets every fidelity count equally in validation.
    loss : terms and weights.
    optimizer : "adam", "adamw", "rmsprop" or "muon".
    learning_rate, weight_decay : None takes the recommended value.
    use_recommended_hparams : take the recommended values whatever else is given.
    optimizer_options : of the optimizer itself.
    groups : own settings for parameters by name.
    schedule : of the learning rate, per step.
    grad_clip : largest norm of the gradient; 0 or less is off.
    ema : decay of the average of weights, which is what is validated and kept; 0 is off.
    precision : arithmetic of the network: "float32", "bf16" (matrix products) or "float64".
    device : "auto", "cpu" or "cuda".
    threads : of the processor; None leaves torch's choice.
    esp_points : random points per system and step; None takes all.
    esp_radius_factor : points closer to an atom than this many van der Waals radii are left out.
    esp_max : V; points with a larger absolute potential are left out. None keeps all.
    dipole_source : which charges' dipole is compared with labels: "distributed", "charges", or "auto" as the calculator
        returns it.
    rotation_augmentation : turn every system randomly at every step.
    validate_every : epochs; None makes about 200 validations.
    patience : validations without a new best model after which the run ends; None goes on. The best is that with the
        smallest geometric mean of the errors (MAE) on the validation part: every property counts alike.
    keep_top : further models kept beside the best, in ``top/``.
    checkpoint_minutes : longest time between two checkpoints.
    plots : draw pictures of errors at the end of the run; needs matplotlib (extra ``plot``).
    plot_every : validations between two updates of the plots; None draws them at the end only.
    track : "tensorboard" or "wandb": also log every validation there.
    dist_timeout : seconds after which a process that does not answer ends the run.
    """

    model: str = DEFAULT_MODEL
    arguments: dict[str, Any] = field(default_factory=dict)
    preset: str = "default"
    init: str | None = None
    init_member: int = 0
    keep_fidelities: bool = False
    coulomb: str | None = "auto"
    repulsion: str | None = None
    seed: int = 0
    valid: float = 0.1
    test: float = 0.1
    split_by: str | None = None
    split_key: str | None = None
    allow_overlap: bool = False
    epochs: int = 200
    batch_size: int = 32
    batch_mode: str = "molecules"
    batches_per_epoch: int | None = None
    accumulate: int = 1
    fidelities: dict[str, LevelOfTheory] = field(default_factory=dict)
    fidelity_weights: dict[str, float] | None = None
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: str = "adamw"
    learning_rate: float | None = None
    weight_decay: float | None = None
    use_recommended_hparams: bool = False
    optimizer_options: dict[str, Any] = field(default_factory=dict)
    groups: tuple[GroupConfig, ...] = ()
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    grad_clip: float = 1.0
    ema: float = 0.999
    precision: str = "float32"
    device: str = "auto"
    threads: int | None = None
    esp_points: int | None = 512
    esp_radius_factor: float = 1.4
    esp_max: float | None = None
    dipole_source: str = "auto"
    rotation_augmentation: bool = False
    validate_every: int | None = None
    patience: int | None = None
    keep_top: int = 0
    checkpoint_minutes: float = 10.0
    plots: bool = True
    plot_every: int | None = None
    track: str | None = None
    dist_timeout: float = 600.0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("optimizer", tuple(OPTIMIZER_CONFIGS)),
            ("precision", PRECISIONS),
            ("batch_mode", MODES),
            ("dipole_source", DIPOLE_SOURCES),
            ("device", ("auto", "cpu", "cuda")),
            ("track", (None, *TRACKERS)),
            ("coulomb", COULOMB),
            ("repulsion", (None, "zbl")),
        ):
            value = getattr(self, name)
            if value not in allowed:
                names = [str(item) for item in allowed]
                raise ValueError(f"{name}={value!r}{suggest(str(value), names)}; choose one of {', '.join(names)}")
        for name in ("epochs", "batch_size", "accumulate", "validate_every", "patience", "threads", "plot_every",
                     "batches_per_epoch", "esp_points"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value}; expected at least 1")
        for name in ("valid", "test", "keep_top", "esp_radius_factor", "learning_rate", "weight_decay"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name}={value}; expected at least 0")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema={self.ema}; expected a number from 0 (off) to below 1")
        for name in ("checkpoint_minutes", "dist_timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)}; expected a positive number")

    def to_dict(self) -> dict[str, Any]:
        """All options as plain values; :func:`make_config` reads them back."""
        return asdict(self)


def make_config(options: Mapping[str, Any]) -> FitConfig:
    """Options of a user on top of the recommended ones of the model.

    Raises
    ------
    ConfigError
        For an unknown model or key, a value of the wrong type or out of range.
    """
    model = options.get("model", DEFAULT_MODEL)
    if model not in MODELS:
        raise ConfigError(f"unknown model {model!r}{suggest(str(model), MODELS)}; known: {', '.join(MODELS)}")
    return from_dict(FitConfig, merged(MODELS[model].training.options, options))


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings are merged, other values replaced."""
    result = copy.deepcopy(dict(base))
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result
