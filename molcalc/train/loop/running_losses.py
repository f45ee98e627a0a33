"""Losses of the steps since the last validation, as the history averages them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor


class RunningLosses:
    """Sums over the steps since the last validation.

    The loss is averaged over steps; each of its terms over the values that had a label, so that steps without such a
    label do not count as steps without an error.

    Parameters
    ----------
    terms : names of the terms of the loss.
    """

    def __init__(self, terms: Sequence[str]) -> None:
        self._terms = tuple(terms)
        self.clear()

    def clear(self) -> None:
        """Begin anew, after a validation."""
        self._steps, self._loss = 0, 0.0
        self._sums = torch.zeros(2, len(self._terms), dtype=torch.float64)

    def add(self, loss: float, averages: Float64[Tensor, " n_terms"], counts: Float64[Tensor, " n_terms"]) -> None:
        """Take in one step.

        Parameters
        ----------
        loss : weighted sum of the terms.
        averages, counts : (n_terms,) average of each term, and number of values in it.
        """
        self._steps += 1
        self._loss += loss
        self._sums += torch.stack([averages * counts, counts])

    def averages(self) -> dict[str, float]:
        """``train_loss`` and ``train_TERM``; without terms that had no label, and empty before the first step."""
        if not self._steps:
            return {}
        found = {"train_loss": self._loss / self._steps}
        for name, total, count in zip(self._terms, *self._sums.tolist()):
            if count > 0:
                found[f"train_{name}"] = total / count
        return found

    def state_dict(self) -> dict[str, Any]:
        """Sums as plain values."""
        return {"terms": list(self._terms), "steps": self._steps, "loss": self._loss, "sums": self._sums.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`; sums of other terms than those of this loss begin anew."""
        if state["terms"] == list(self._terms):
            self._steps, self._loss, self._sums = int(state["steps"]), float(state["loss"]), state["sums"].clone()
