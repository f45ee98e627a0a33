"""Search for minima: starts are relaxed until calls for forces are spent, and distinct minima are counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from molcalc.conformers.metrics.any_calculator import NotRelaxed, Relaxed, relax_each
from molcalc.conformers.metrics.exchanges import DistinctShapes, Exchanges
from molcalc.conformers.metrics.start_sources import StartSource
from molcalc.conformers.molecules import Molecule, molecule_of
from molcalc.conformers.ranked import BONDS_CHANGED, FAILED, STEREO_CHANGED, UNCONVERGED
from molcalc.errors import ConfigError, checked_positive
from molcalc.simulate.relaxation_run import RelaxationSettings

APART = 0.25
"""Å between heavy atoms of minima that are distinct."""
TIGHT = RelaxationSettings(fmax=0.02, steps=300)
"""Relaxation that a search ends with."""
STARTS_AT_ONCE = 25
"""Starts that are drawn and relaxed together."""
_MOST_EMPTY = 3
"""Draws without a structure after which a source is exhausted."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Minimum:
    """Minimum that a search has found.

    Attributes
    ----------
    positions : (n_atoms, 3) Å.
    energy : eV, the lowest of all starts that came here.
    found_after : calls for forces until then.
    starts : that came here.
    """

    positions: np.ndarray
    energy: float
    found_after: int
    starts: int


@dataclass(frozen=True, eq=False, kw_only=True)
class MinimaSearch:
    """What a search has found, and what it has cost.

    Attributes
    ----------
    source : name of the starts.
    n_starts : that were relaxed.
    force_calls : of relaxations and of making the starts.
    minima : distinct ones, in the order in which they were found.
    relaxed : (n_kept, n_atoms, 3) Å, all relaxed structures that count, equal ones as well.
    energies : (n_kept,) eV of them.
    rejected : numbers of starts that came to no minimum of the molecule, by the reason.
    """

    source: str
    n_starts: int
    force_calls: int
    minima: tuple[Minimum, ...]
    relaxed: np.ndarray
    energies: np.ndarray
    rejected: dict[str, int]

    @property
    def per_thousand_calls(self) -> float:
        """Distinct minima for each 1,000 calls for forces."""
        return 1000.0 * len(self.minima) / self.force_calls if self.force_calls else 0.0

    def within(self, window: float, lowest: float) -> list[Minimum]:
        """Minima at most so many eV above an energy."""
        return [each for each in self.minima if each.energy <= lowest + window]

    def numbers(self) -> dict[str, Any]:
        """What files say of it, by name."""
        return {
            "source": self.source,
            "starts": self.n_starts,
            "force_calls": self.force_calls,
            "minima": len(self.minima),
            "minima_per_1000_calls": self.per_thousand_calls,
            "lowest_energy": float(self.energies.min()) if len(self.energies) else None,
            "found_after": [each.found_after for each in self.minima],
            "rejected": dict(self.rejected),
        }


def search_minima(
    source: StartSource,
    calculator: Calculator,
    structure: Atoms,
    *,
    force_calls: int,
    settings: RelaxationSettings = TIGHT,
    apart: float = APART,
) -> MinimaSearch:
    """Relax starts of a source until the calls for forces are spent.

    Structures that have not converged, or have lost bonds or stereochemistry, are no minima of the molecule.

    Parameters
    ----------
    calculator : of molcalc, or any other of ASE.
    structure : a relaxed one, in which bonds and stereochemistry are seen.
    force_calls : to spend; the last relaxation that began within them is finished, and does not count.
    apart : Å between heavy atoms of distinct minima, over all exchanges of equal atoms.

    Returns
    -------
    distinct minima and costs

    Raises
    ------
    ConfigError
        When a number is out of range.
    InputError
        When the structure is periodic, or its positions are not finite.
    """
    if force_calls < 1:
        raise ConfigError(f"force_calls={force_calls} is not a whole number ≥ 1")
    molecule = molecule_of(structure, "the structure of the molecule")
    exchanges = Exchanges.of(molecule, structure.positions)
    shapes = DistinctShapes(exchanges, checked_positive("apart", apart))
    tally = _Tally(molecule, exchanges, shapes, force_calls)
    empty = 0
    while tally.spent < force_calls and empty < _MOST_EMPTY:
        starts, cost = source.draw(STARTS_AT_ONCE)
        empty = 0 if starts else empty + 1
        tally.take(relax_each(starts, calculator, settings), cost)
    return tally.result(source.name)


def union_of_minima(searches: Sequence[MinimaSearch], exchanges: Exchanges, apart: float = APART) -> np.ndarray:
    """Which search has found which of all minima that any of them knows.

    Returns
    -------
    (n_minima, n_searches) bool
    """
    shapes = DistinctShapes(exchanges, apart)
    numbers = [[shapes.number_of(each.positions) for each in search.minima] for search in searches]
    found = np.zeros((1 + max((max(each, default=-1) for each in numbers), default=-1), len(searches)), dtype=bool)
    for column, each in enumerate(numbers):
        found[each, column] = True
    return found


def why_no_minimum(molecule: Molecule, exchanges: Exchanges, outcome: Relaxed | NotRelaxed) -> str:
    """Why a relaxed structure is no minimum of the molecule, one of :data:`~molcalc.conformers.ranked.REASONS`.

    Parameters
    ----------
    exchanges : of its atoms, which know the right stereochemistry.

    Returns
    -------
    empty where it is one
    """
    if isinstance(outcome, NotRelaxed):
        return FAILED
    if not molecule.bonds_kept(outcome.positions[None])[0]:
        return BONDS_CHANGED
    if not exchanges.same_stereoisomer(outcome.positions[None])[0]:
        return STEREO_CHANGED
    return "" if outcome.converged else UNCONVERGED


@dataclass(eq=False)
class _Tally:
    """Minima and costs until now."""

    molecule: Molecule
    exchanges: Exchanges
    shapes: DistinctShapes
    budget: int
    spent: int = 0
    n_starts: int = 0
    minima: list[Minimum] = field(default_factory=list)
    kept: list[Relaxed] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=dict)

    def take(self, outcomes: Sequence[Relaxed | NotRelaxed], cost: int) -> None:
        """Count outcomes one after the other; each carries its share of what the starts have cost."""
        if not outcomes:
            self.spent += cost
        shares = np.diff(np.linspace(0, cost, len(outcomes) + 1).astype(int))
        for outcome, share in zip(outcomes, shares.tolist()):
            if self.spent >= self.budget:
                return
            self.spent += outcome.calls + share
            self.n_starts += 1
            if self.spent > self.budget:
                return
            reason = why_no_minimum(self.molecule, self.exchanges, outcome)
            if reason:
                self.rejected[reason] = self.rejected.get(reason, 0) + 1
            elif isinstance(outcome, Relaxed):
                self._add(outcome)

    def result(self, name: str) -> MinimaSearch:
        return MinimaSearch(
            source=name,
            n_starts=self.n_starts,
            force_calls=self.spent,
            minima=tuple(self.minima),
            relaxed=np.array([each.positions for each in self.kept]).reshape(-1, len(self.molecule.numbers), 3),
            energies=np.array([each.energy for each in self.kept]),
            rejected=self.rejected,
        )

    def _add(self, outcome: Relaxed) -> None:
        self.kept.append(outcome)
        k = self.shapes.number_of(outcome.positions)
        if k == len(self.minima):
            self.minima.append(
                Minimum(positions=outcome.positions, energy=outcome.energy, found_after=self.spent, starts=1)
            )
            return
        known = self.minima[k]
        better = outcome if outcome.energy < known.energy else known
        self.minima[k] = Minimum(
            positions=better.positions, energy=better.energy, found_after=known.found_after, starts=known.starts + 1
        )
