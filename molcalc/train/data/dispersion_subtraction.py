"""Changes of training labels."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from molcalc.assembly.potentials import dispersion_potential
from molcalc.assembly.terms import dispersion_from
from molcalc.batch import AtomicBatch
from molcalc.derivatives import evaluate
from molcalc.errors import ConfigError
from molcalc.fidelity import Fidelity


class DispersionSubtraction:
    """Takes the dispersion that labels contain out of them, so that a network learns the rest.

    >>> subtraction = DispersionSubtraction(Fidelity(name="pbe0", dispersion_in_labels=True), "d3bj:pbe0")
    >>> batch = subtraction(batch)                 # energy, forces and stress without D3
    >>> model_fidelity = subtraction.fidelity      # dispersion="d3bj:pbe0", which calculators add again

    Parameters
    ----------
    fidelity : what the labels are; ``dispersion``, where it is set, names what they contain.
    dispersion : what to subtract ("d3bj:pbe0", "d4:pbe0"); None takes ``fidelity.dispersion``. It must be what was
        added when the labels were made.
    index : subtract from structures of this fidelity index only; None from all.

    Attributes
    ----------
    fidelity : the record of labels after subtraction: without dispersion, and completed by it.

    Raises
    ------
    ConfigError
        When the labels contain no dispersion, or another one, or none is named, or the name is unknown.
    """

    def __init__(self, fidelity: Fidelity, dispersion: str | None = None, *, index: int | None = None) -> None:
        if not fidelity.dispersion_in_labels:
            raise ConfigError(
                f"the labels of fidelity {fidelity.name!r} contain no dispersion (dispersion_in_labels=False): it "
                "would be subtracted twice; declare dispersion_in_labels=True if they do"
            )
        wish = dispersion if dispersion is not None else fidelity.dispersion
        if wish is None:
            raise ConfigError(
                f"which dispersion the labels of fidelity {fidelity.name!r} contain is not declared: give dispersion=, "
                "for example 'd3bj:pbe0'"
            )
        if fidelity.dispersion not in (None, wish):
            raise ConfigError(
                f"the labels of fidelity {fidelity.name!r} contain dispersion={fidelity.dispersion!r}, not {wish!r}: "
                "subtract what they contain"
            )
        self.index = index
        self.fidelity = replace(fidelity, dispersion=wish, dispersion_in_labels=False)
        self.potential = dispersion_potential(dispersion_from(wish))

    def __call__(self, batch: AtomicBatch) -> AtomicBatch:
        """The batch with float64 labels less the term's energy, forces and stress; what is NaN stays NaN."""
        wanted = [name for name in ("energy", "forces", "stress") if name in batch.labels]
        if "stress" in wanted and not torch.isfinite(batch.labels["stress"]).any():
            wanted.remove("stress")
        if not wanted:
            return batch
        values = evaluate(self.potential, replace(batch, labels={}), [name for name in wanted if name != "energy"])
        labels = {name: self._rest(name, batch.labels[name].double(), values[name], batch) for name in wanted}
        return replace(batch, labels={**batch.labels, **labels})

    def _rest(self, name: str, label: Tensor, value: Tensor, batch: AtomicBatch) -> Tensor:
        """Labels less values where the structure is of this fidelity and has the label."""
        subtract = torch.isfinite(label)
        if self.index is not None:
            chosen = batch.fidelity == self.index
            chosen = chosen[batch.system_idx] if name == "forces" else chosen
            subtract = subtract & chosen.reshape(-1, *[1] * (label.ndim - 1))
        return torch.where(subtract, label - value, label)
