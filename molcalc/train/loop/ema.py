"""Exponential moving average of weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


class WeightAverage:
    r"""Average of a run's weights with a warm-up, so that the first ones do not linger.

    .. math:: \bar p ← d_t \bar p + (1 − d_t) p, \qquad d_t = \min(d, (1 + t)/(10 + t))

    Parameters
    ----------
    parameters : averaged tensors by name. Averages are held in float64: the thousandth part of a small
        difference would be lost in float32, and the average stay behind for good.
    decay : d, in 0…1; 0 follows the weights exactly.
    """

    def __init__(self, parameters: Mapping[str, Tensor], decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"ema={decay}; expected a number from 0 (off) to below 1")
        self.decay = decay
        self.steps = 0
        self._names, self._parameters = list(parameters), list(parameters.values())
        self.averages = [parameter.detach().to(torch.float64, copy=True) for parameter in self._parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the present weights."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        torch._foreach_lerp_(self.averages, [p.detach().double() for p in self._parameters], 1.0 - decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Use the averages as weights within the block."""
        with torch.no_grad():
            raw = [parameter.detach().clone() for parameter in self._parameters]
            for parameter, average in zip(self._parameters, self.averages):
                parameter.copy_(average)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self._parameters, raw):
                    parameter.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Averages by name, and the number of updates."""
        return {"steps": self.steps, "averages": dict(zip(self._names, (value.clone() for value in self.averages)))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`; what was not averaged before begins with the present weights."""
        self.steps = int(state["steps"])
        for name, average, parameter in zip(self._names, self.averages, self._parameters):
            average.copy_(state["averages"].get(name, parameter.detach()))
