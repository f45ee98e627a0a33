"""Derivatives in torch of D3 energies that compiled loops or the dftd3 package compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import Float64
from torch import Tensor

from molcalc.kernels.differentiation import CompiledFunction, Gradients, Tensors, differentiable

Engine = Callable[
    [Float64[Tensor, " n_atoms"] | None],
    tuple[Float64[Tensor, " n_atoms"], Float64[Tensor, "n_atoms 3"], Float64[Tensor, "n_systems 3 3"]],
]
"""weights w → energies e, derivatives of Σ_i w_i e_i at given positions and cell; no weights are ones."""
Formula = Callable[[Float64[Tensor, "n_atoms 3"], Float64[Tensor, "n_systems 3 3"]], Float64[Tensor, " n_atoms"]]
"""(positions, cell) → energies, in torch operations."""


def d3_energies(
    positions: Float64[Tensor, "n_atoms 3"],
    cell: Float64[Tensor, "n_systems 3 3"],
    engine: Engine,
    make_formula: Callable[[], Formula],
    *,
    weighted: bool,
) -> Float64[Tensor, " n_atoms"]:
    """Energies of an engine on the CPU, with first derivatives by it and higher ones by the formula.

    Parameters
    ----------
    positions, cell : float64; those the engine works at.
    make_formula : returns the formula; called only when it is needed.
    weighted : whether the engine takes weights other than ones; where not, the formula does their work.

    Returns
    -------
    (n_atoms,)
    """
    return differentiable(_Energies(engine, make_formula, weighted), positions, cell)[0]


@dataclass(frozen=True)
class _Energies(CompiledFunction):
    """The derivatives of the plain sum come with the energies; only other weights need a second pass."""

    engine: Engine
    make_formula: Callable[[], Formula]
    weighted: bool

    def value(self, *inputs: Tensor) -> tuple[Tensors, Tensors]:
        energies, *of_plain_sum = self.engine(None)
        return (energies,), tuple(of_plain_sum)

    def gradient(self, inputs: Tensors, kept: Tensors, upstream: Tensors, wanted: Sequence[bool]) -> Gradients | None:
        factor = _common_value(upstream[0])
        if factor is not None:
            return tuple(gradient * factor for gradient in kept)
        return self.engine(upstream[0])[1:] if self.weighted else None

    def formula(self, *inputs: Tensor) -> Tensors:
        return (self.make_formula()(*inputs),)


def _common_value(weights: Float64[Tensor, " n_atoms"]) -> float | None:
    """The value that all weights have, if there is one."""
    values = weights.numpy()
    return float(values[0]) if values.size and (values == values[0]).all() else None
