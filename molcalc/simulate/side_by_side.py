"""Runs of many structures side by side: each takes its own steps, and one batch evaluates all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from ase import Atoms

from molcalc.devices import device_memory
from molcalc.errors import MolcalcError
from molcalc.neighbors import VerletList
from molcalc.prediction.results import Prediction

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator

GROUP_ATOMS = 1000
"""Atoms that take their steps side by side: more are no faster, and take more memory."""
BYTES_OF_AN_ATOM = 5e5
"""Memory for an atom of a batch with all derivatives: published AIMNet2 for diamond, the densest of its structures.
Molecules take a quarter of it."""
SHARE_OF_MEMORY = 0.5
"""Part of the free memory that a batch may take by this estimate; one that fails all the same is halved."""

Outcome = TypeVar("Outcome")
SomeRun = TypeVar("SomeRun", bound="Run")


class Run(ABC, Generic[Outcome]):
    """Relaxation or dynamics of one structure, driven from outside, one evaluation at a time.

    First :meth:`begin`, then :meth:`advance` with the results of ``atoms``, until there is an ``outcome``.

    Attributes
    ----------
    system : its number among the structures.
    atoms : structure whose results are wanted next.
    outcome : None until it has ended; the error of a run that went wrong.
    """

    system: int
    atoms: Atoms
    outcome: Outcome | MolcalcError | None

    @abstractmethod
    def begin(self) -> None:
        """Make ready for the first evaluation; the run may end here already."""

    @abstractmethod
    def advance(self, prediction: Prediction) -> None:
        """Take the next step with the results of ``atoms``, or end."""

    @abstractmethod
    def fail(self, error: MolcalcError) -> None:
        """End with an error."""

    @abstractmethod
    def close(self) -> None:
        """Close the files; a run that has not ended is left where it is."""


def side_by_side(runs: Sequence[SomeRun], calculator: MolCalculator) -> Iterator[SomeRun]:
    """Runs as they end; as many at once as :data:`GROUP_ATOMS` and the free memory admit, and at least one."""
    most = _atoms_at_once(calculator.predictor.device)
    waiting, moving = deque(runs), dict[SomeRun, VerletList]()
    try:
        while waiting or moving:
            room = most - sum(len(run.atoms) for run in moving)
            while waiting and (not moving or len(waiting[0].atoms) <= room):
                run = waiting.popleft()
                room -= len(run.atoms)
                moving[run] = VerletList(calculator.predictor.potential.cutoff)
                run.begin()
            active = [run for run in moving if run.outcome is None]
            found = calculator.predictor.predict_each([run.atoms for run in active], [moving[run] for run in active])
            for run, outcome in zip(active, found):
                run.fail(outcome) if isinstance(outcome, MolcalcError) else run.advance(outcome)
            for run in [run for run in moving if run.outcome is not None]:
                del moving[run]
                yield run
    finally:
        for run in moving:
            run.close()


def _atoms_at_once(device: torch.device) -> int:
    """Atoms of a batch on a device with so much free memory."""
    memory = device_memory(device)
    return GROUP_ATOMS if memory is None else min(GROUP_ATOMS, int(SHARE_OF_MEMORY * memory[0] / BYTES_OF_AN_ATOM))
