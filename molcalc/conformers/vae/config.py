"""Options of the training of a generator, with the keys of files and commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any

from molcalc.conformers.vae.losses import ObjectiveConfig
from molcalc.conformers.vae.network import VAENetworkConfig
from molcalc.errors import ConfigError
from molcalc.io.schema import LARGEST_SEED, Range, check_fields, from_dict
from molcalc.registry import GENERATOR
from molcalc.train.data.parts import SplitConfig
from molcalc.train.loop.loop_config import LoopConfig
from molcalc.train.optimize.optimizers import OptimizeConfig
from molcalc.train.option_parts import OptionParts, merged
from molcalc.train.report.recording import ReportConfig

VAE_PARTS: dict[str, type[Any]] = {
    "split": SplitConfig,
    "network": VAENetworkConfig,
    "objective": ObjectiveConfig,
    "optimize": OptimizeConfig,
    "loop": LoopConfig,
    "report": ReportConfig,
}
VAE_OPTIONS = OptionParts(VAE_PARTS, ("seed", "model"), {"split": "split_method"})
"""Keys, which may be written in their part or without it."""
BY_TRAJECTORY = {"split_method": "block"}
"""How structures are divided where no key or molecule says so: neighbors in a trajectory are too much alike."""
VAE_RECOMMENDED: dict[str, Any] = {
    "test": 0.0,
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "weight_decay": 1e-4,
    "schedule": {"name": "one-cycle", "final_factor": 0.001},
    "batch_size": 32,
    "grad_clip": 10.0,
    "ema": 0.99,
}
"""Of a generator, where they differ from those of potentials."""
STEPS = 500
"""Of a run that does not say how many epochs it has."""
WITHOUT_MEANING = {
    "batch_mode": "all structures have equally many atoms",
    "fidelity_weights": "structures have no level of theory here",
    "esp_points": "no potential is learned",
    "rotation_augmentation": "nothing in it depends on the orientation",
}
"""Options of the loop that do nothing here, and why."""


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """Options of :meth:`ConformerVAE.fit`; YAML files have the same keys.

    Attributes
    ----------
    seed : of weights, batches and noise.
    split : which structures are held out.
    network : sizes of encoder and decoder.
    objective : what a reconstruction is measured by.
    optimize : optimizer, learning rates, schedule.
    loop : batches, steps, validation, checkpoints, device.
    report : pictures and records.
    """

    seed: Annotated[int, Range(0, LARGEST_SEED)] = 0
    split: SplitConfig = field(default_factory=SplitConfig)
    network: VAENetworkConfig = field(default_factory=VAENetworkConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimize: OptimizeConfig = field(default_factory=OptimizeConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    report: ReportConfig = field(default_factory=ReportConfig)

    def __post_init__(self) -> None:
        check_fields(self)

    def flat(self) -> dict[str, Any]:
        """All options as plain values by key, without the parts; :func:`vae_config` reads them back."""
        values = asdict(self)
        for name in WITHOUT_MEANING:
            del values["loop"][name]
        return VAE_OPTIONS.flat(values)

    def with_epochs(self, batches_per_epoch: int, given: bool) -> VAEConfig:
        """The options with about :data:`STEPS` steps, unless a number of epochs was given."""
        if given:
            return self
        return replace(self, loop=replace(self.loop, epochs=max(1, -(-STEPS // batches_per_epoch))))


def vae_config(options: Mapping[str, Any], where: str = "") -> VAEConfig:
    """Options of a user on top of the recommended ones.

    Parameters
    ----------
    options : keys in their parts or without them.
    where : named in errors.

    Returns
    -------
    complete configuration

    Raises
    ------
    ConfigError
        For an unknown key, a key given twice, a value of the wrong type or out of range, or an option without meaning.
    """
    given = VAE_OPTIONS.flat(options, where)
    prefix = f"{where}: " if where else ""
    if (model := given.pop("model", GENERATOR)) != GENERATOR:
        raise ConfigError(f"{prefix}model={model!r}; expected {GENERATOR!r}")
    for name, reason in WITHOUT_MEANING.items():
        if name in given:
            raise ConfigError(f"{prefix}{name} has no meaning for a {GENERATOR}: {reason}; leave it out")
    if given.get("precision") == "bf16":
        raise ConfigError(f"{prefix}precision='bf16': positions need at least float32")
    divided = given.get("split_key") is not None or given.get("split_by") is not None
    values = merged({**VAE_RECOMMENDED, **({} if divided else BY_TRAJECTORY)}, given)
    parts = {part: from_dict(kind, VAE_OPTIONS.of_part(part, values), where) for part, kind in VAE_PARTS.items()}
    loose = {name: value for name, value in values.items() if name == "seed"}
    return replace(from_dict(VAEConfig, loose, where), **parts)
