"""Metrics of generated conformers: distributions, validity, coverage, nearness to training data, mirror images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from molcalc.conformers.metrics.coverage import DELTA, Coverage
from molcalc.conformers.metrics.distributions import COORDINATE_KINDS, Divergence, divergences
from molcalc.conformers.metrics.exchanges import Exchanges
from molcalc.conformers.metrics.internal_coordinates import InternalCoordinates
from molcalc.conformers.metrics.validity import validity_of
from molcalc.conformers.molecules import Molecule, molecule_of
from molcalc.errors import InputError
from molcalc.prediction.batching import check_images

SMALLEST_REFERENCE = 4
"""Structures of the reference: two halves of two."""
MOST_COMPARED = 2000
"""Structures of each set whose shapes are compared, evenly chosen from more."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ConformerSets:
    """Structures of one molecule that are compared: generated ones, a reference, and what the generator was trained on.

    Attributes
    ----------
    molecule : of all of them.
    structure : (n_atoms, 3) Å, one that shows bonds and stereochemistry.
    generated : (n_generated, n_atoms, 3) Å.
    reference : (n_reference, n_atoms, 3) Å, in the order of time.
    train : (n_train, n_atoms, 3) Å; None where it is not given.
    coordinates : bonds, angles and torsions that are compared.
    """

    molecule: Molecule
    structure: np.ndarray
    generated: np.ndarray
    reference: np.ndarray
    train: np.ndarray | None
    coordinates: InternalCoordinates

    @classmethod
    def of(
        cls,
        structure: Atoms,
        generated: Sequence[Atoms],
        reference: Sequence[Atoms],
        train: Sequence[Atoms] | None = None,
    ) -> ConformerSets:
        """Sets of structures.

        Parameters
        ----------
        structure : a relaxed one, in which bonds are seen.
        generated, reference, train : structures with the same atoms in the same order.

        Returns
        -------
        sets of one molecule

        Raises
        ------
        InputError
            When a set has too few structures, or a structure other atoms or positions that are none.
        """
        molecule = molecule_of(structure, "the structure of the molecule")
        if len(molecule.graph.fragments()) != 1:
            raise InputError(
                f"{molecule.formula}: the structure has {len(molecule.graph.fragments())} parts; expected one"
            )
        return cls(
            molecule=molecule,
            structure=structure.positions.copy(),
            generated=_positions(molecule, generated, "generated", 1),
            reference=_positions(molecule, reference, "reference", SMALLEST_REFERENCE),
            train=None if train is None else _positions(molecule, train, "train", 1),
            coordinates=InternalCoordinates.of(molecule, structure.positions),
        )


@dataclass(frozen=True, kw_only=True)
class ConformerMetrics:
    """What generated conformers are worth beside a reference.

    Attributes
    ----------
    n_generated, n_reference, n_train : structures; no training ones are 0.
    divergences : of all distributions, with those between halves of the reference.
    validity, reference_validity : shares of valid structures by part, and of structures in which all is right.
    coverage : of generated structures by the reference and the other way round.
    halves_coverage : the same with the second half of the reference in the place of the generated ones, and the first
        as the reference.
    positive_torsions : by torsion the shares of structures in which it is positive: generated, in the reference, and in
        its halves. Of mirror images one has it positive, the other negative.
    mirrored : share of generated structures whose mirror image is nearer to the reference than they are; None where
        mirror images are other molecules.
    nearest_train : Å, (5 %, 50 %, 95 %) quantiles of distances to the nearest training structure: small ones are
        remembered. None without training structures.
    reference_nearest_train : the same of the reference.
    diversity, reference_diversity : Å, mean distance between two structures of a set.
    """

    n_generated: int
    n_reference: int
    n_train: int
    divergences: tuple[Divergence, ...]
    validity: dict[str, float]
    reference_validity: dict[str, float]
    coverage: Coverage
    halves_coverage: Coverage
    positive_torsions: dict[str, tuple[float, float, float, float]]
    mirrored: float | None
    nearest_train: tuple[float, float, float] | None
    reference_nearest_train: tuple[float, float, float] | None
    diversity: float
    reference_diversity: float

    def mean_divergences(self) -> dict[str, tuple[float, float]]:
        """Mean divergences of each kind, and those between halves of the reference."""
        found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for each in self.divergences:
            found[each.kind].append((each.value, each.halves))
        return {
            kind: (mean[0], mean[1])
            for kind in COORDINATE_KINDS
            if kind in found
            for mean in [np.mean(found[kind], axis=0).tolist()]
        }

    def rows(self) -> list[tuple[str, str, str]]:
        """The most important numbers: what is measured, generated, of the reference or its halves."""
        rows = [_row(f"JSD, mean over {kind}s", 4, *values) for kind, values in self.mean_divergences().items()]
        shifts = [
            (each.wasserstein, each.wasserstein_halves)
            for each in self.divergences
            if each.wasserstein is not None and each.wasserstein_halves is not None
        ]
        rows.append(_row("W1 of bonds, largest (Å)", 4, *np.max(shifts, axis=0).tolist()))
        rows += [
            _row(f"valid: {name}", 3, share, self.reference_validity[name]) for name, share in self.validity.items()
        ]
        here, halves = self.coverage, self.halves_coverage
        rows += [
            _row(f"COV-R at {DELTA:g} Å", 3, here.recall, halves.recall),
            _row(f"COV-P at {DELTA:g} Å", 3, here.precision, halves.precision),
            _row("MAT-R (Å)", 3, here.mean_recall, halves.mean_recall),
            _row("MAT-P (Å)", 3, here.mean_precision, halves.mean_precision),
        ]
        if self.nearest_train is not None and self.reference_nearest_train is not None:
            medians = self.nearest_train[1], self.reference_nearest_train[1]
            rows.append(_row("nearest training structure, median (Å)", 3, *medians))
        rows.append(_row("mean distance of two structures (Å)", 3, self.diversity, self.reference_diversity))
        if self.mirrored is not None:
            rows.append(("mirror image nearer than itself", f"{self.mirrored:.3f}", ""))
        return rows


def conformer_metrics(sets: ConformerSets) -> ConformerMetrics:
    """Metrics of generated conformers.

    Values beside each are those between the first and the second half of the reference, or of the reference itself:
    what sampling alone does. Of more than :data:`MOST_COMPARED` structures evenly chosen ones are compared by shape.

    Parameters
    ----------
    sets : structures.

    Returns
    -------
    all metrics that need no calculator
    """
    molecule, generated, reference = sets.molecule, sets.generated, sets.reference
    exchanges = Exchanges.of(molecule, sets.structure)
    shapes = exchanges.compared(evenly_chosen(generated))
    known = exchanges.compared(evenly_chosen(reference))
    half = len(known) // 2
    nearest = exchanges.distances(known, shapes)
    usual = np.median(sets.coordinates.lengths(reference), axis=0)
    trained = None if sets.train is None else exchanges.compared(evenly_chosen(sets.train))
    return ConformerMetrics(
        n_generated=len(generated),
        n_reference=len(reference),
        n_train=0 if sets.train is None else len(sets.train),
        divergences=divergences(sets.coordinates, generated, reference),
        validity=validity_of(molecule, exchanges, usual, generated).shares(),
        reference_validity=validity_of(molecule, exchanges, usual, reference).shares(),
        coverage=Coverage.of(nearest),
        halves_coverage=Coverage.of(exchanges.distances(known[:half], known[half:])),
        positive_torsions=_positive(sets.coordinates, generated, reference),
        mirrored=_mirrored(exchanges, shapes, known, nearest.min(axis=0)),
        nearest_train=_nearest(exchanges, shapes, trained),
        reference_nearest_train=_nearest(exchanges, known, trained),
        diversity=_diversity(exchanges, shapes),
        reference_diversity=_diversity(exchanges, known),
    )


def _row(title: str, digits: int, generated: float, reference: float) -> tuple[str, str, str]:
    return title, f"{generated:.{digits}f}", f"{reference:.{digits}f}"


def evenly_chosen(structures: np.ndarray, most: int = MOST_COMPARED) -> np.ndarray:
    """At most so many structures, evenly chosen, in their order."""
    if len(structures) <= most:
        return structures
    return structures[np.linspace(0, len(structures) - 1, most).astype(int)]


def _positions(molecule: Molecule, structures: Sequence[Atoms], name: str, fewest: int) -> np.ndarray:
    try:
        structures = check_images(structures)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    if len(structures) < fewest:
        raise InputError(f"{name}: {len(structures)} structures; at least {fewest} are needed")
    for k, atoms in enumerate(structures):
        if not np.array_equal(atoms.numbers, molecule.numbers):
            raise InputError(
                f"{name}, structure {k}: atoms {atoms.get_chemical_formula('reduce')} are not those of "
                f"{Atoms(molecule.numbers).get_chemical_formula('reduce')}, in this order"
            )
        if atoms.pbc.any():
            raise InputError(
                f"{name}, structure {k}: pbc={atoms.pbc.tolist()}: conformers are of molecules; make it whole, and "
                "switch off with atoms.pbc = False"
            )
        if not np.isfinite(atoms.positions).all():
            raise InputError(f"{name}, structure {k}: positions are not finite")
    return np.array([atoms.positions for atoms in structures])


def _positive(
    coordinates: InternalCoordinates, generated: np.ndarray, reference: np.ndarray
) -> dict[str, tuple[float, float, float, float]]:
    half = len(reference) // 2
    parts = (generated, reference, reference[:half], reference[half:])
    shares = np.array([np.mean(coordinates.torsions_in(part) > 0.0, axis=0) for part in parts])
    return {name: tuple(column) for name, column in zip(coordinates.torsion_names, shares.T.tolist())}


def _mirrored(exchanges: Exchanges, shapes: np.ndarray, known: np.ndarray, own: np.ndarray) -> float | None:
    images, same = exchanges.mirrored(shapes)
    if not same.any():
        return None
    return float(np.sum(exchanges.distances(known, images[same]).min(axis=0) < own[same]) / len(shapes))


def _nearest(exchanges: Exchanges, shapes: np.ndarray, trained: np.ndarray | None) -> tuple[float, float, float] | None:
    if trained is None:
        return None
    low, middle, high = np.quantile(exchanges.distances(trained, shapes).min(axis=0), (0.05, 0.5, 0.95)).tolist()
    return low, middle, high


def _diversity(exchanges: Exchanges, shapes: np.ndarray) -> float:
    some = evenly_chosen(shapes, 500)
    n = len(some)
    return float(exchanges.distances(some, some).sum() / max(1, n * (n - 1)))
