"""Calculators of trained models: their common base, and the choice of the one that a model needs."""

from __future__ import annotations

from typing import Any

from molcalc.assembly.opening import AnyModel, open_model
from molcalc.assembly.potentials import PotentialOptions
from molcalc.calculators.base import MolCalculator
from molcalc.errors import CheckpointMismatchError
from molcalc.prediction.options import PredictorOptions
from molcalc.predictor import Predictor
from molcalc.registry import calculator_class


class ModelCalculator(MolCalculator):
    """Calculator of a model, or of several runs of it, at one of its fidelities.

    Parameters
    ----------
    model, trusted : as :func:`molcalc.assembly.opening.open_model` takes them.
    fidelity : its name; may be left out where there is only one.
    energy, options : what a user chooses about the energy, and how it is computed.

    Raises
    ------
    CheckpointMismatchError
        When it is a model of another kind; the message names the calculator to use.
    """

    def __init__(
        self,
        model: AnyModel,
        fidelity: str | None,
        energy: PotentialOptions,
        options: PredictorOptions,
        *,
        trusted: bool = False,
    ) -> None:
        opened = open_model(model, trusted=trusted)
        right = calculator_class(opened.config.kind)
        if not isinstance(self, right):
            raise CheckpointMismatchError(
                f"{opened.label!r} holds a {opened.config.kind!r} model, not {self.name!r}: load it with "
                f"{right.__name__}({opened.label!r})"
            )
        super().__init__(Predictor.of_model(opened, fidelity, energy, options))


def calculator_of(model: AnyModel, *, trusted: bool = False, **options: Any) -> ModelCalculator:
    """The calculator for a model of any kind.

    Parameters
    ----------
    model, trusted : as :func:`molcalc.assembly.opening.open_model` takes them.
    options : those of its class.

    Returns
    -------
    ModelCalculator

    Raises
    ------
    FileNotFoundError, CheckpointError, FidelityError, ConfigError
        As the class tells.
    """
    opened = open_model(model, trusted=trusted)
    found: ModelCalculator = calculator_class(opened.config.kind)(opened, **options)
    return found
