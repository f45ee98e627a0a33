"""Energies of generated conformers before and after relaxation, and the minima that they come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.calculators.calculator import Calculator

from molcalc.conformers.metrics.any_calculator import NotRelaxed, Relaxed, relax_each
from molcalc.conformers.metrics.conformer_sets import ConformerSets, evenly_chosen
from molcalc.conformers.metrics.exchanges import DistinctShapes, Exchanges
from molcalc.conformers.metrics.minima_search import APART, TIGHT, why_no_minimum
from molcalc.conformers.ranked import UNCONVERGED, boltzmann_weights
from molcalc.errors import InputError
from molcalc.simulate.relaxation_run import RelaxationSettings

QUANTILES = (0.05, 0.5, 0.95)
Three = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class RelaxedEnergies:
    """What becomes of generated conformers, and of the reference, in relaxations with one calculator.

    Attributes
    ----------
    n_generated, n_reference : structures that were relaxed.
    kept, reference_kept : shares that have bonds and stereochemistry of the molecule after it.
    before, after, reference_before, reference_after : eV above the lowest energy of all, (5 %, 50 %, 95 %) quantiles;
        after it of those kept.
    minima, reference_minima : distinct minima that they come to.
    common : minima of the reference that generated structures come to as well.
    weight : Boltzmann weight of the minima that generated structures come to, of all that are known.
    temperature : K of these weights, which are those of minima, without vibrations.
    calls, reference_calls : for forces.
    """

    n_generated: int
    n_reference: int
    kept: float
    reference_kept: float
    before: Three
    after: Three
    reference_before: Three
    reference_after: Three
    minima: int
    reference_minima: int
    common: int
    weight: float
    temperature: float
    calls: int
    reference_calls: int

    def rows(self) -> list[tuple[str, str, str]]:
        """The most important numbers: what is measured, of what is generated, of the reference."""

        def three(values: Three) -> str:
            return ", ".join(f"{value:.2f}" for value in values)

        return [
            ("structures relaxed", str(self.n_generated), str(self.n_reference)),
            ("ΔE before (eV; 5, 50, 95 %)", three(self.before), three(self.reference_before)),
            ("ΔE after (eV; 5, 50, 95 %)", three(self.after), three(self.reference_after)),
            ("bonds and stereochemistry kept", f"{self.kept:.3f}", f"{self.reference_kept:.3f}"),
            ("distinct minima", str(self.minima), str(self.reference_minima)),
            ("minima of the reference", str(self.common), str(self.reference_minima)),
            (f"weight of minima at {self.temperature:g} K", f"{self.weight:.3f}", ""),
            ("calls for forces", str(self.calls), str(self.reference_calls)),
        ]


def relaxed_energies(
    sets: ConformerSets,
    calculator: Calculator,
    *,
    most: int = 100,
    settings: RelaxationSettings = TIGHT,
    temperature: float = 300.0,
) -> RelaxedEnergies:
    """Relax generated structures and those of the reference.

    Parameters
    ----------
    calculator : of molcalc, which relaxes all in one batch, or any other of ASE; the data's own compares best.
    most : structures of each set, evenly chosen.
    settings : few ``steps`` show what is left after a short relaxation: minima are then those that have converged.
    temperature : K of Boltzmann weights.

    Returns
    -------
    energies, minima and costs

    Raises
    ------
    InputError
        When no structure of one set can be relaxed.
    """
    exchanges = Exchanges.of(sets.molecule, sets.structure)
    shapes = DistinctShapes(exchanges, APART)
    generated, reference = (
        _Part.of(sets, evenly_chosen(positions, most), calculator, settings, exchanges, shapes, name)
        for name, positions in (("generated", sets.generated), ("reference", sets.reference))
    )
    lowest = min(min(part.energies) for part in (generated, reference))
    energies: dict[int, float] = {}
    for part in (generated, reference):
        for number, energy in part.minima:
            energies[number] = min(energy, energies.get(number, np.inf))
    reached, known = {number for number, _ in generated.minima}, {number for number, _ in reference.minima}
    weights = boltzmann_weights([*energies.values()], [1] * len(energies), temperature) if energies else np.empty(0)
    return RelaxedEnergies(
        n_generated=generated.n,
        n_reference=reference.n,
        kept=len(generated.after) / generated.n,
        reference_kept=len(reference.after) / reference.n,
        before=_quantiles(generated.before, lowest),
        after=_quantiles(generated.after, lowest),
        reference_before=_quantiles(reference.before, lowest),
        reference_after=_quantiles(reference.after, lowest),
        minima=len(reached),
        reference_minima=len(known),
        common=len(reached & known),
        weight=float(sum(weight for number, weight in zip(energies, weights) if number in reached)),
        temperature=temperature,
        calls=generated.calls,
        reference_calls=reference.calls,
    )


@dataclass(frozen=True)
class _Part:
    """Outcome of one set: energies of all before, of those kept after, and minima by number with their energies."""

    n: int
    before: list[float]
    after: list[float]
    minima: list[tuple[int, float]]
    calls: int

    @property
    def energies(self) -> list[float]:
        return self.before + self.after

    @classmethod
    def of(
        cls,
        sets: ConformerSets,
        positions: np.ndarray,
        calculator: Calculator,
        settings: RelaxationSettings,
        exchanges: Exchanges,
        shapes: DistinctShapes,
        name: str,
    ) -> _Part:
        outcomes = relax_each([sets.molecule.structure(each) for each in positions], calculator, settings)
        relaxed = [each for each in outcomes if isinstance(each, Relaxed)]
        if not relaxed:
            reason = next(each.reason for each in outcomes if isinstance(each, NotRelaxed))
            raise InputError(f"{name}: none of {len(outcomes)} structures can be relaxed; the first: {reason}")
        reasons = [why_no_minimum(sets.molecule, exchanges, each) for each in relaxed]
        return cls(
            n=len(outcomes),
            before=[each.first_energy for each in relaxed],
            after=[each.energy for each, reason in zip(relaxed, reasons) if reason in ("", UNCONVERGED)],
            minima=[(shapes.number_of(each.positions), each.energy) for each, why in zip(relaxed, reasons) if not why],
            calls=sum(each.calls for each in outcomes),
        )


def _quantiles(energies: Sequence[float], lowest: float) -> Three:
    low, middle, high = (np.quantile(energies, QUANTILES) - lowest).tolist() if energies else [np.nan] * 3
    return low, middle, high
