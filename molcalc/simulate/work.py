"""What is done with each of many structures, here or in another process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from ase import Atoms

from molcalc.errors import MolcalcError
from molcalc.simulate.side_by_side import Outcome, Run, side_by_side

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator


@dataclass(frozen=True)
class Item:
    """One of many structures.

    Attributes
    ----------
    system : its number among them, from 0.
    path : its trajectory, or None.
    log : its table of energies, or None.
    """

    system: int
    atoms: Atoms
    path: Path | None = None
    log: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Work(ABC, Generic[Outcome]):
    """Relaxation or dynamics of any structure, with settings and a calculator; other processes get a copy of it.

    Attributes
    ----------
    restart : go on with trajectories that are there.
    force : replace other files that are there.
    """

    calculator: MolCalculator
    restart: bool = False
    force: bool = False

    @abstractmethod
    def run_of(self, item: Item, observer: Any = None) -> Run[Outcome]:
        """Run of one structure, which has not begun.

        Parameters
        ----------
        observer : called at every step.

        Returns
        -------
        run for :func:`~molcalc.simulate.side_by_side.side_by_side`

        Raises
        ------
        InputError, ConfigError
            When a trajectory cannot be continued.
        """

    @abstractmethod
    def cost(self, item: Item) -> float:
        """Time that a structure takes, in any unit."""

    def outcomes(
        self, items: Sequence[Item], observer: Any = None
    ) -> Generator[tuple[int, Outcome | MolcalcError], None, None]:
        """Numbers and outcomes of structures as they end, all of them in one batch.

        Returns
        -------
        iterator of pairs

        Raises
        ------
        InputError, ConfigError
            When a trajectory cannot be continued, before anything is computed.
        """
        return self.ended([self.run_of(item, observer) for item in items])

    def ended(self, runs: Sequence[Run[Outcome]]) -> Generator[tuple[int, Outcome | MolcalcError], None, None]:
        """Numbers and outcomes of runs as they end."""
        for run in side_by_side(runs, self.calculator):
            assert run.outcome is not None
            yield run.system, run.outcome

    def all_outcomes(self, items: Sequence[Item]) -> list[tuple[int, Outcome | MolcalcError]]:
        """Numbers and outcomes of structures, also of those whose trajectory cannot be continued."""
        runs: list[Run[Outcome]] = []
        found: list[tuple[int, Outcome | MolcalcError]] = []
        for item in items:
            try:
                runs.append(self.run_of(item))
            except MolcalcError as error:
                found.append((item.system, error))
        return [*found, *self.ended(runs)]
