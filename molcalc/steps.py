"""A potential with its derivatives for plain calls: by the graph of torch, or compiled in one go without a graph.

:class:`CompiledStep` is the twin of :func:`molcalc.derivatives.evaluate`. Networks go forward and back by
:mod:`molcalc.models.aimnet2_step`; between both, energy terms give the derivatives by the charges. What the networks of
an ensemble have in common is computed once.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, cast

import torch
from jaxtyping import Float
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.derivatives import (
    Gradient,
    evaluate,
    results_of_gradients,
    results_of_output,
    term_derivatives,
)
from molcalc.energy_term import EnergyTerm, FirstDerivatives
from molcalc.kernels.runtime import WIDTH, available, start_each
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.models.network import Network
from molcalc.nn.segments import segment_sum
from molcalc.potential import Potential, PotentialOutput

if TYPE_CHECKING:
    from molcalc.models.aimnet2_step import Surroundings


class Step(Protocol):
    """A potential that is evaluated with its derivatives, on the device of its weights.

    Attributes
    ----------
    kind : "torch" or "compiled".
    """

    kind: str

    def evaluate(self, batch: AtomicBatch, properties: Iterable[str]) -> dict[str, Float[Tensor, " ..."]]:
        """Results as :func:`molcalc.derivatives.evaluate` returns them, with "forces" and "stress" if asked for."""
        ...


def step_of(potential: Potential) -> Step:
    """The quickest step of a potential.

    It is compiled for AIMNet2 networks with the published numbers of functions and without charge heads, with energy
    terms that read charges or nothing, on a processor where numba is installed.

    Returns
    -------
    Step
    """
    reads = {name for term in potential.energy_terms for name in term.requires}
    if available() and reads <= {"charges"} and all(_has_twin(network) for network in potential.networks):
        return CompiledStep(potential)
    return TorchStep(potential)


def _has_twin(network: Network) -> bool:
    if not isinstance(network, AIMNet2Network):
        return False
    c, weight = network.config, network.embedding
    published = c.n_radial == WIDTH and c.n_vector <= WIDTH and not c.charge_heads
    return published and weight.device.type == "cpu" and weight.dtype == torch.float64


class TorchStep:
    """Step by the graph of torch, of any potential."""

    kind = "torch"

    def __init__(self, potential: Potential) -> None:
        self._potential = potential

    def evaluate(self, batch: AtomicBatch, properties: Iterable[str]) -> dict[str, Float[Tensor, " ..."]]:
        """Results of :func:`molcalc.derivatives.evaluate`."""
        return evaluate(self._potential, batch, properties)


class CompiledStep:
    """Step of AIMNet2 networks without a graph; see :func:`step_of`.

    Arrays of a step are used again by the next; several threads may evaluate at once. Where torch has several threads,
    the networks of an ensemble take one each.
    """

    kind = "compiled"

    def __init__(self, potential: Potential) -> None:
        from molcalc.models.aimnet2_step import Workspaces

        self._potential = potential
        self._networks = cast("list[AIMNet2Network]", potential.networks)
        self._of_charges = [term for term in potential.energy_terms if term.requires]
        self._shared = [term for term in potential.energy_terms if not term.requires]
        self._workspaces = Workspaces()

    def evaluate(self, batch: AtomicBatch, properties: Iterable[str]) -> dict[str, Float[Tensor, " ..."]]:
        """Results as of a graph; those of a batch of several fidelities come from one."""
        if not self._knows(batch):
            return TorchStep(self._potential).evaluate(batch, properties)
        from molcalc.models.aimnet2_step import Surroundings

        wanted = set(properties)
        self._potential.check_periodicity(batch)
        with torch.no_grad():
            near = Surroundings.of(batch, self._networks[0].shells)
            find = functools.partial(self._member, near, batch, bool(wanted))
            together = len(self._networks) > 1 and torch.get_num_threads() > 1
            begun = start_each(torch.no_grad()(find), self._networks) if together else []
            shared = _sum_of_terms(self._shared, batch, {})
            members = [each.result() for each in begun] or [find(network) for network in self._networks]
            output = PotentialOutput(
                [found.energies for found, _ in members],
                None if shared is None else shared.energies,
                [predictions for _, predictions in members],
            )
            results = results_of_output(output, batch, wanted, self._potential.rotation_invariant)
            if wanted:
                own = [_gradient(found, batch, wanted) for found, _ in members]
                results.update(
                    results_of_gradients(own, None if shared is None else _gradient(shared, batch, wanted), batch)
                )
        return results

    def _knows(self, batch: AtomicBatch) -> bool:
        """Whether one energy head gives the energies of all structures."""
        first = int(batch.fidelity[0])
        same = batch.n_systems == 1 or bool((batch.fidelity == first).all())
        return same and len(self._networks[0].config.chain(first)) == 1

    def _member(
        self, near: Surroundings, batch: AtomicBatch, with_gradient: bool, network: AIMNet2Network
    ) -> tuple[FirstDerivatives, dict[str, Tensor]]:
        """Energies that depend on one network, with their derivatives if these are wanted, and its predictions."""
        from molcalc.models.aimnet2_step import AIMNet2Step

        with self._workspaces.borrow(network, batch.n_atoms) as workspace:
            step = AIMNet2Step(network, near, batch, workspace)
            predictions = network.predictions(batch, step.charges, step.features)
            added = _sum_of_terms(self._of_charges, batch, predictions)
            energies = network.shifted(step.energies, batch)
            if with_gradient:
                by_charges = None if added is None or added.by_charges is None else added.by_charges.numpy()
                own = FirstDerivatives(energies, *near.by_atoms(batch, step.gradient(by_charges)))
            else:
                own = FirstDerivatives(energies, torch.zeros_like(batch.positions), torch.zeros_like(batch.cell))
        return own if added is None else own + added, predictions


def _sum_of_terms(
    terms: Sequence[EnergyTerm], batch: AtomicBatch, predictions: Mapping[str, Tensor]
) -> FirstDerivatives | None:
    """Energies of several terms with their derivatives; None without terms."""
    found = [term_derivatives(term, batch, predictions) for term in terms]
    return functools.reduce(operator.add, found) if found else None


def _gradient(found: FirstDerivatives, batch: AtomicBatch, wanted: set[str]) -> Gradient:
    """Derivatives by positions and by a symmetric strain of positions and cell, as far as they are wanted."""
    gradient = {"positions": found.by_positions}
    if "stress" in wanted:
        of_atoms = batch.positions[:, :, None] * found.by_positions[:, None, :]
        turned = segment_sum(of_atoms, batch.system_idx, batch.n_systems) + batch.cell.mT @ found.by_cell
        gradient["strain"] = 0.5 * (turned + turned.mT)
    return gradient if "forces" in wanted else {"strain": gradient["strain"]}
