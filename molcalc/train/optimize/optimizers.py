"""Adam, AdamW, RMSprop and Muon with recommended settings and parameter groups.

Weight decay is decoupled in all of them: p ← p·(1 − lr·decay), applied to matrices only.
Muon takes the matrices between hidden layers, AdamW the rest.

References
----------
Loshchilov, Hutter, Decoupled Weight Decay Regularization, ICLR 2019.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Integral
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from molcalc.errors import ConfigError, is_number, short, suggest
from molcalc.io.schema import Choice, Range, check_fields
from molcalc.train.optimize.muon import Muon
from molcalc.train.optimize.schedules import ScheduleConfig

log = logging.getLogger(__name__)

SMALL_DATASET = 1000
"""Systems, below which the larger learning rate is recommended."""
LARGE_FEATURES, LARGE_ATOMS = 256, 50
"""A wider network or larger molecules than this gets a smaller learning rate and more decay."""
LARGE_FEATURES_FOR_MUON = 288
"""The default PhysNet-DCM (272 features in trunk and head) learns best with the larger rate of Muon."""
FINE_TUNING_RATE = 1e-4
"""Largest learning rate recommended for weights that were trained before."""
_NO_DECAY = re.compile(r"embedding|shift|scale")


@dataclass(frozen=True)
class Recipe:
    """Recommended settings of one optimizer, as a function of the problem.

    Attributes
    ----------
    small_rate, rate : learning rates for small and for usual training sets.
    large_factor : of the rate for large problems.
    decay, large_decay : of usual and of large problems.
    options : of the optimizer itself.
    large_features : widest network that is a usual problem.
    """

    small_rate: float
    rate: float
    large_factor: float
    decay: float
    large_decay: float
    options: tuple[tuple[str, Any], ...]
    large_features: int = LARGE_FEATURES

    def __call__(self, ds_size: int, features: int, atoms: int) -> dict[str, Any]:
        for name, value in (("ds_size", ds_size), ("features", features), ("atoms", atoms)):
            if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
                raise ConfigError(f"{name}={short(value)}; expected a whole number of at least 1")
        large = features > self.large_features or atoms > LARGE_ATOMS
        rate = self.small_rate if ds_size < SMALL_DATASET else self.rate
        return {
            "learning_rate": rate * (self.large_factor if large else 1.0),
            "weight_decay": self.large_decay if large else self.decay,
            **dict(self.options),
        }


class RMSprop(torch.optim.RMSprop):
    """RMSprop with decoupled weight decay."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Shrink the weights, then take the usual step."""
        decays = [group["weight_decay"] for group in self.param_groups]
        for group, decay in zip(self.param_groups, decays):
            if decay:
                torch._foreach_mul_(group["params"], 1.0 - group["lr"] * decay)
            group["weight_decay"] = 0.0
        try:
            return super().step(closure)
        finally:
            for group, decay in zip(self.param_groups, decays):
                group["weight_decay"] = decay


@dataclass(frozen=True)
class OptimizerKind:
    """An optimizer that a run can choose.

    Attributes
    ----------
    recommended : its settings for a problem.
    build : makes it from groups of parameters (each with its rate and decay) and its own options.
    hidden_only : whether it is for matrices between hidden layers only; AdamW takes the rest.
    """

    recommended: Recipe
    build: Callable[..., torch.optim.Optimizer]
    hidden_only: bool = False


_MUON_OPTIONS = (("momentum", 0.95), ("nesterov", True))
_FUSED_ADAMW = partial(torch.optim.AdamW, fused=True)
OPTIMIZERS: dict[str, OptimizerKind] = {
    # Adam and AdamW differ in the recommended decay alone.
    "adam": OptimizerKind(Recipe(1e-3, 5e-4, 0.5, 0.0, 0.0, (("betas", (0.9, 0.999)), ("eps", 1e-8))), _FUSED_ADAMW),
    "adamw": OptimizerKind(Recipe(1e-3, 5e-4, 0.5, 1e-4, 1e-3, (("betas", (0.9, 0.999)), ("eps", 1e-8))), _FUSED_ADAMW),
    "rmsprop": OptimizerKind(
        Recipe(1e-3, 5e-4, 0.7, 1e-5, 1e-4, (("alpha", 0.9), ("momentum", 0.0), ("eps", 1e-8))),
        partial(RMSprop, foreach=True),
    ),
    "muon": OptimizerKind(
        Recipe(2e-3, 1e-3, 0.5, 1e-4, 1e-3, _MUON_OPTIONS, large_features=LARGE_FEATURES_FOR_MUON),
        Muon,
        hidden_only=True,
    ),
    # The documented rates were made for momentum without orthogonalization; docs/optimizers.md compares both.
    "muon-documented": OptimizerKind(Recipe(1e-2, 5e-3, 0.5, 1e-4, 1e-3, _MUON_OPTIONS), Muon, hidden_only=True),
}
"""All optimizers by name. A new one is a row here."""
OPTIMIZER_CONFIGS: dict[str, Recipe] = {name: kind.recommended for name, kind in OPTIMIZERS.items()}
"""Recommended settings: ``OPTIMIZER_CONFIGS[name](ds_size=1500, features=256, atoms=24)``."""


Rate = Annotated[float, Range(0, 1000)]
"""A learning rate or weight decay: with one above a few units nothing is learned."""


@dataclass(frozen=True, kw_only=True)
class GroupConfig:
    """Own settings for the parameters whose name matches a regular expression.

    Attributes
    ----------
    pattern : searched in parameter names ("embedding", "^passes\\.0").
    learning_rate : of the group; None takes the general one.
    weight_decay : of the group; None takes the general one.
    freeze : leave these parameters as they are.
    """

    pattern: str
    learning_rate: Rate | None = None
    weight_decay: Rate | None = None
    freeze: bool = False

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern {self.pattern!r} is not a regular expression: {error}") from error
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class OptimizeConfig:
    """Optimizer, its settings, and the schedule of the learning rate.

    Attributes
    ----------
    optimizer : one of :data:`OPTIMIZERS`, such as "adamw" or "muon".
    learning_rate, weight_decay : None takes the recommended value; a rate of at most 1e-4 for given weights (``init``).
    use_recommended_hparams : take the recommended values whatever else is given.
    optimizer_options : of the optimizer itself.
    groups : own settings for parameters by name.
    schedule : of the learning rate, per step.
    """

    optimizer: Annotated[str, Choice(OPTIMIZERS)] = "adamw"
    learning_rate: Rate | None = None
    weight_decay: Rate | None = None
    use_recommended_hparams: bool = False
    optimizer_options: dict[str, Any] = field(default_factory=dict)
    groups: tuple[GroupConfig, ...] = ()
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)

    def __post_init__(self) -> None:
        check_fields(self)


def get_recommended_optimizer_config(
    dataset_size: int, num_features: int, num_atoms: int, optimizer_name: str = "adamw"
) -> dict[str, Any]:
    """Recommended settings of an optimizer.

    Parameters
    ----------
    dataset_size : systems in the training set.
    num_features : width of the network.
    num_atoms : atoms of the largest system.
    optimizer_name : one of :data:`OPTIMIZERS`.

    Returns
    -------
    dict with ``learning_rate``, ``weight_decay`` and the optimizer's own options.

    Raises
    ------
    ConfigError
        For an unknown optimizer, or a number that is no whole one from 1.
    """
    return OPTIMIZERS[_known(optimizer_name)].recommended(dataset_size, num_features, num_atoms)


def resolved(
    config: OptimizeConfig, *, n_systems: int, n_features: int, n_atoms: int, fine_tuning: bool
) -> OptimizeConfig:
    """The options with recommended settings where none are given.

    Parameters
    ----------
    n_systems : in the training set.
    n_features : width of the network.
    n_atoms : of the largest system.
    fine_tuning : the weights were trained before: the recommended rate is at most :data:`FINE_TUNING_RATE`.

    Returns
    -------
    options that leave nothing open

    Raises
    ------
    ConfigError
        For an unknown optimizer.
    """
    options = get_recommended_optimizer_config(n_systems, n_features, n_atoms, config.optimizer)
    rate, decay = options.pop("learning_rate"), options.pop("weight_decay")
    if fine_tuning:
        rate = min(rate, FINE_TUNING_RATE)
    if not config.use_recommended_hparams:
        rate = rate if config.learning_rate is None else config.learning_rate
        decay = decay if config.weight_decay is None else config.weight_decay
        options.update(config.optimizer_options)
    return replace(
        config, learning_rate=rate, weight_decay=decay, optimizer_options=options, use_recommended_hparams=False
    )


@dataclass(frozen=True)
class OptimizerPlan:
    """Plan of an optimizer: its kind and settings, before it has parameters.

    Attributes
    ----------
    name : of its kind, one of :data:`OPTIMIZERS`.
    learning_rate, weight_decay : of all parameters without settings of their own. The decay is decoupled, and for
        matrices only, not for biases, embeddings, scales and shifts.
    groups : own settings by name; the first match counts.
    options : of the optimizer itself.
    """

    name: str
    learning_rate: float
    weight_decay: float
    groups: tuple[GroupConfig, ...]
    options: dict[str, Any]

    def __call__(self, parameters: nn.Module | Iterable[tuple[str, Tensor]]) -> OptimizerSet:
        """The optimizer of a module, or of pairs of name and parameter.

        Parameters
        ----------
        parameters : frozen ones (``requires_grad`` off) are left out. A frozen group's ``requires_grad`` is switched
            off.

        Returns
        -------
        one or two optimizers that behave as one

        Raises
        ------
        ConfigError
            For a pattern that matches nothing, or nothing left to train.
        """
        kind = OPTIMIZERS[self.name]
        named = list(parameters.named_parameters() if isinstance(parameters, nn.Module) else parameters)
        hidden = _hidden_matrices(parameters) if isinstance(parameters, nn.Module) else _matrices(named)
        collected: _Collected = {}
        unused = {group.pattern for group in self.groups}
        for parameter_name, parameter in named:
            group = next((g for g in self.groups if re.search(g.pattern, parameter_name)), None)
            if group is not None:
                unused.discard(group.pattern)
                if group.freeze:
                    parameter.requires_grad_(False)
            if not parameter.requires_grad:
                continue
            rate = self.learning_rate if group is None or group.learning_rate is None else group.learning_rate
            decay = self.weight_decay if parameter.ndim >= 2 and not _NO_DECAY.search(parameter_name) else 0.0
            if group is not None and group.weight_decay is not None:
                decay = group.weight_decay
            key = (kind.hidden_only and parameter_name in hidden, rate, decay)
            collected.setdefault(key, []).append((parameter_name, parameter))
        if unused:
            known = ", ".join(name for name, _ in named[:12])
            raise ConfigError(f"no parameter matches the pattern {sorted(unused)[0]!r}; names: {known} …")
        if not collected:
            raise ConfigError("nothing to train: every parameter is frozen")
        if not any(rate for _, rate, _ in collected):
            log.warning("learning_rate=0: no weight will change; leave the option out to train at the recommended rate")
        return _optimizers(kind, collected, self.options)


_Collected = dict[tuple[bool, float, float], list[tuple[str, Tensor]]]
"""Parameters with their names, by whether they are hidden matrices, rate and decay."""


def create_optimizer(
    optimizer_name: str,
    learning_rate: float,
    weight_decay: float = 0.0,
    *,
    groups: Sequence[GroupConfig] = (),
    **options: Any,
) -> OptimizerPlan:
    """An optimizer that is yet to get its parameters: ``create_optimizer("adamw", 1e-3, 1e-4)(network)``.

    Parameters
    ----------
    weight_decay : decoupled; for matrices only, not for biases, embeddings, scales and shifts.
    groups : own settings by name; the first match counts.
    options : of the optimizer, as :func:`get_recommended_optimizer_config` lists them.

    Returns
    -------
    to be called with a module, or with pairs of name and parameter

    Raises
    ------
    ConfigError
        For an unknown optimizer, options that it does not have, or a rate or decay that is no number from 0.
    """
    kind = OPTIMIZERS[_known(optimizer_name)]
    for name, value in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
        if not is_number(value) or not 0.0 <= value < math.inf:
            raise ConfigError(f"{name}={short(value)}; expected a number of at least 0")
    try:
        kind.build([{"params": [torch.zeros(2, 2)], "lr": learning_rate, "weight_decay": weight_decay}], **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer {optimizer_name!r} does not accept the options {options}: {error}") from error
    return OptimizerPlan(optimizer_name, learning_rate, weight_decay, tuple(groups), options)


def optimizer_for(config: OptimizeConfig, network: nn.Module) -> OptimizerSet:
    """The optimizer of a run.

    Parameters
    ----------
    config : that leaves nothing open, from :func:`resolved`.

    Returns
    -------
    optimizer over all parameters that are not frozen

    Raises
    ------
    ConfigError
        As :func:`create_optimizer` and :class:`OptimizerPlan`.
    """
    assert config.learning_rate is not None
    assert config.weight_decay is not None
    log.info(
        "%s: learning_rate %g, weight_decay %g, %s", config.optimizer, config.learning_rate, config.weight_decay,
        ", ".join(f"{key} {value}" for key, value in config.optimizer_options.items()),
    )  # fmt: skip
    plan = create_optimizer(
        config.optimizer, config.learning_rate, config.weight_decay, groups=config.groups, **config.optimizer_options
    )
    return plan(network)


def _optimizers(kind: OptimizerKind, collected: _Collected, options: dict[str, Any]) -> OptimizerSet:
    """One optimizer over everything; or one over the hidden matrices, and AdamW over the rest."""

    def groups(orthogonal: bool) -> list[dict[str, Any]]:
        return [
            {"params": [tensor for _, tensor in named], "lr": rate, "weight_decay": decay}
            for (is_hidden, rate, decay), named in collected.items()
            if is_hidden is orthogonal
        ]

    optimizers: list[torch.optim.Optimizer] = []
    if not kind.hidden_only:
        optimizers.append(kind.build(groups(False), **options))
    else:
        if groups(True):
            optimizers.append(kind.build(groups(True), **options))
        if groups(False):
            optimizers.append(_FUSED_ADAMW(groups(False)))
    return OptimizerSet(optimizers, {id(tensor): name for named in collected.values() for name, tensor in named})


class OptimizerSet:
    """One or two optimizers that share a learning-rate factor.

    Parameters
    ----------
    names : of the parameters, by their ``id``.

    Attributes
    ----------
    optimizers : Muon with the hidden matrices first, where used.
    """

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer], names: Mapping[int, str]) -> None:
        self.optimizers = list(optimizers)
        self._names = dict(names)
        self._rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]

    @property
    def parameters(self) -> list[Tensor]:
        """All trained parameters."""
        return [p for optimizer in self.optimizers for group in optimizer.param_groups for p in group["params"]]

    @property
    def named_parameters(self) -> dict[str, Tensor]:
        """All trained parameters by name."""
        return {self._names[id(p)]: p for p in self.parameters}

    def names(self) -> list[list[str]]:
        """Names of the parameters of each optimizer, in its own order."""
        return [
            [self._names[id(p)] for group in optimizer.param_groups for p in group["params"]]
            for optimizer in self.optimizers
        ]

    def set_factor(self, factor: float) -> None:
        """Multiply every group's own learning rate by ``factor``."""
        for optimizer, rates in zip(self.optimizers, self._rates):
            for group, rate in zip(optimizer.param_groups, rates):
                group["lr"] = rate * factor

    def learning_rate(self) -> float:
        """The present learning rate of the largest group."""
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        return float(max(groups, key=lambda group: sum(p.numel() for p in group["params"]))["lr"])

    def step(self) -> None:
        """Apply the gradients."""
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """What is remembered of each parameter, by kind of optimizer and name of the parameter."""
        found: dict[str, dict[str, Any]] = {}
        for optimizer, names in zip(self.optimizers, self.names()):
            states = optimizer.state_dict()["state"]
            found[type(optimizer).__name__] = {names[k]: state for k, state in states.items()}
        return found

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Restore :meth:`state_dict`.

        Rates, decays and other options stay those of the configuration; parameters of which this kind of optimizer
        remembers nothing begin anew.
        """
        for optimizer, names, rates in zip(self.optimizers, self.names(), self._rates):
            saved = state.get(type(optimizer).__name__, {})
            own = {k: dict(saved[name]) for k, name in enumerate(names) if name in saved}
            optimizer.load_state_dict({"state": own, "param_groups": optimizer.state_dict()["param_groups"]})
            for group, rate in zip(optimizer.param_groups, rates):
                group["lr"] = rate


def _known(name: str) -> str:
    if name not in OPTIMIZERS:
        raise ConfigError(f"unknown optimizer {name!r}{suggest(str(name), OPTIMIZERS)}; known: {', '.join(OPTIMIZERS)}")
    return name


def _hidden_matrices(module: nn.Module) -> set[str]:
    """Names of weights between hidden layers: what an orthogonalized update makes sense for."""
    return {
        f"{name}.weight" if name else "weight"
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and min(layer.weight.shape) > 1
    }


def _matrices(named: Sequence[tuple[str, Tensor]]) -> set[str]:
    return {name for name, p in named if p.ndim == 2 and min(p.shape) > 1 and not _NO_DECAY.search(name)}
