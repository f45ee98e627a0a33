"""Minima of one molecule on their way to ranks: what is none is dropped, what is one minimum twice becomes one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ase import Atoms

from molcalc.conformers.gibbs import SaddlePointError, thermochemistry_of
from molcalc.conformers.molecules import Molecule
from molcalc.conformers.ranked import (
    BEYOND_WINDOW,
    BONDS_CHANGED,
    DUPLICATE,
    FAILED,
    SADDLE_POINT,
    STEREO_CHANGED,
    UNCONVERGED,
    Conformer,
    Dropped,
    RankedMolecule,
    boltzmann_weights,
)
from molcalc.conformers.rotors import with_turned_rotors
from molcalc.conformers.settings import RankingSettings
from molcalc.conformers.shapes import Shape, compared_atoms, symmetric_rmsd
from molcalc.conformers.stereo import stereo_map
from molcalc.errors import InputError, MolcalcError
from molcalc.simulate.relaxation_run import Relaxation

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator


@dataclass(eq=False)
class _Minimum:
    """Structure that stands for all starts that have come to it.

    Attributes
    ----------
    starts : their numbers; the first is that of the structure itself.
    """

    starts: list[int]
    atoms: Atoms
    energy: float
    shape: Shape
    gibbs: float | None = None
    symmetry_number: int | None = None

    @property
    def stability(self) -> float:
        """Gibbs energy where it is known, or energy: eV."""
        return self.energy if self.gibbs is None else self.gibbs


@dataclass(eq=False)
class MinimaOfMolecule:
    """Structures of a molecule between two relaxations, and after the last one.

    Attributes
    ----------
    starts : structures that everything began with.
    structures : what is to be relaxed next.
    """

    molecule: Molecule
    starts: Sequence[Atoms]
    settings: RankingSettings
    structures: list[Atoms] = field(init=False)
    _members: list[list[int]] = field(init=False)
    _minima: list[_Minimum] = field(init=False, default_factory=list)
    _dropped: list[Dropped] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.structures = list(self.starts)
        self._members = [[k] for k in range(len(self.starts))]
        self._compared = compared_atoms(self.molecule.numbers, self.molecule.graph)
        self._graph = self.molecule.graph.part(self._compared)

    def take(self, outcomes: Sequence[Relaxation | MolcalcError], fmax: float) -> None:
        """Go on with relaxed structures, of equal ones with the lowest.

        Their methyl groups are turned a little: on top of a barrier they have small forces, too.

        Parameters
        ----------
        outcomes : of ``structures``.
        fmax : force that they were relaxed to, eV/Å.
        """
        minima = []
        for members, outcome in zip(self._members, outcomes):
            fault = self._fault(members[0], outcome, fmax)
            if fault is not None:
                self._drop(members, *fault)
            elif isinstance(outcome, Relaxation):
                shape = Shape.of(self._graph, outcome.atoms.positions[self._compared])
                minima.append(_Minimum(members, outcome.atoms, outcome.last.energy, shape))
        self._minima = self._distinct(minima)
        self._members = [each.starts for each in self._minima]
        self.structures = [with_turned_rotors(each.atoms, self.molecule.graph) for each in self._minima]

    def ranked(self, calculator: MolCalculator) -> RankedMolecule:
        """Conformers among the minima, by rank.

        Returns
        -------
        molecule with conformers, and what was dropped

        Raises
        ------
        InputError
            When there is none.
        """
        minima = self._within_window(self._minima)
        if self.settings.gibbs:
            minima = self._with_gibbs(minima, calculator)
        if not minima:
            first = min(self._dropped, key=lambda each: each.start)
            raise InputError(
                f"{self.molecule.label}: none of {len(self.starts)} structures is a conformer; structure "
                f"{first.start}: {first.reason}: {first.detail}{self.molecule.cure_without_hydrogen}"
            )
        for each in minima:
            for start in each.starts[1:]:
                self._dropped.append(Dropped(start, DUPLICATE, f"of structure {each.starts[0]}"))
        conformers = self._conformers(sorted(minima, key=lambda each: each.stability))
        dropped = tuple(sorted(self._dropped, key=lambda each: each.start))
        return RankedMolecule(self.molecule, conformers, dropped, len(self.starts))

    def _drop(self, starts: Sequence[int], reason: str, detail: str) -> None:
        """Drop a structure, and with it those that it stands for."""
        first, *others = starts
        self._dropped.append(Dropped(first, reason, detail))
        self._dropped += [Dropped(start, reason, f"as structure {first}: {detail}") for start in others]

    def _fault(self, start: int, outcome: Relaxation | MolcalcError, fmax: float) -> tuple[str, str] | None:
        """Why a relaxed structure is no conformer, and what exactly; None where it is one."""
        if isinstance(outcome, MolcalcError):
            return FAILED, str(outcome)
        molecule, positions = self.molecule, outcome.atoms.positions
        if changed := molecule.connectivity_fault(positions):
            return BONDS_CHANGED, changed
        before, after = molecule.stereo(self.starts[start].positions), molecule.stereo(positions)
        if stereo_map(molecule.graph, before, molecule.graph, after) is None:
            places = ", ".join("=".join(map(str, place)) for place in before if before[place].sign != after[place].sign)
            return STEREO_CHANGED, f"at atom {places}"
        if not outcome.converged:
            return UNCONVERGED, f"{outcome.last.fmax:.4f} > {fmax:g} eV/Å after {outcome.last.step} steps"
        return None

    def _distinct(self, minima: Iterable[_Minimum]) -> list[_Minimum]:
        """Minima by energy, of equal ones the lowest."""
        kept: list[_Minimum] = []
        for each in sorted(minima, key=lambda each: each.energy):
            shapes = [each.shape, each.shape.mirrored()] if self.settings.enantiomers == "merge" else [each.shape]
            near = [known for known in kept if each.energy - known.energy <= self.settings.duplicate_energy]
            same = next((known for known in near for shape in shapes if self._same(known.shape, shape)), None)
            if same is None:
                kept.append(each)
            else:
                same.starts.extend(each.starts)
        return kept

    def _same(self, first: Shape, second: Shape) -> bool:
        return math.isfinite(symmetric_rmsd(first, second, limit=self.settings.duplicate_rmsd))

    def _within_window(self, minima: Sequence[_Minimum]) -> list[_Minimum]:
        kept = []
        for each in minima:
            above = each.energy - minima[0].energy
            if above > self.settings.window:
                self._drop(each.starts, BEYOND_WINDOW, f"{above:.3f} eV above the lowest")
            else:
                kept.append(each)
        return kept

    def _with_gibbs(self, minima: Sequence[_Minimum], calculator: MolCalculator) -> list[_Minimum]:
        """Minima with Gibbs energies; saddle points are dropped."""
        kept = []
        for each in minima:
            try:
                functions = thermochemistry_of(
                    each.atoms,
                    calculator,
                    multiplicity=self.molecule.multiplicity,
                    temperature=self.settings.temperature,
                    pressure=self.settings.pressure,
                )
            except SaddlePointError as error:
                self._drop(each.starts, SADDLE_POINT, str(error))
                continue
            each.gibbs, each.symmetry_number = functions.gibbs_energy, functions.symmetry_number
            kept.append(each)
        return kept

    def _degeneracy(self, minimum: _Minimum) -> int:
        """2 for a minimum whose mirror image is another conformer of this molecule, which it stands for."""
        if self.settings.enantiomers == "apart" or self._same(minimum.shape, minimum.shape.mirrored()):
            return 1
        molecule, positions = self.molecule, minimum.atoms.positions
        hands, mirrored = molecule.stereo(positions), molecule.stereo(-positions)
        return 1 if stereo_map(molecule.graph, hands, molecule.graph, mirrored) is None else 2

    def _conformers(self, minima: Sequence[_Minimum]) -> tuple[Conformer, ...]:
        degeneracies = [self._degeneracy(each) for each in minima]
        weights = boltzmann_weights([each.stability for each in minima], degeneracies, self.settings.temperature)
        found = tuple(
            Conformer(
                rank=rank,
                atoms=each.atoms,
                energy=each.energy,
                relative=each.stability - minima[0].stability,
                weight=weight,
                degeneracy=degeneracy,
                found=len(each.starts),
                start=each.starts[0],
                gibbs=each.gibbs,
                symmetry_number=each.symmetry_number,
            )
            for rank, (each, degeneracy, weight) in enumerate(zip(minima, degeneracies, weights.tolist()), start=1)
        )
        for conformer in found:
            conformer.atoms.info.update(molecule=self.molecule.name, **conformer.numbers)
        return found
