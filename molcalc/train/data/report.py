"""What a data set holds, and what in it looks wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from ase.data import chemical_symbols

from molcalc.properties import LABELS
from molcalc.train.data.contradictions import contradicting_repeats, doubtful_derivatives, missed_charges
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.geometry_hash import geometry_hashes
from molcalc.train.data.limits import FAR_ENERGY, LARGE_FORCE, ROUNDED_CHARGE, SMALLEST_SPREAD
from molcalc.train.data.opening import Data, open_dataset
from molcalc.train.data.single_precision import doubtful_precision
from molcalc.train.data.suspicions import suspicious_units

SHOWN_SUSPECTS = 5


@dataclass(frozen=True)
class DataReport:
    """Counts, ranges and warnings; ``print(report)`` shows a table.

    Attributes
    ----------
    n_systems, n_atoms : totals.
    labels : structures that have each label, by fidelity.
    ranges : smallest, median and largest value (length for vectors) by label, in its unit.
    elements : structures that hold each element.
    sizes, charges, multiplicities : structures by value.
    duplicates : structures whose geometry occurred before at the same fidelity.
    skipped : rows that cannot be used, by reason.
    warnings : sentences.
    """

    n_systems: int
    n_atoms: int
    fidelities: dict[str, int]
    labels: dict[str, dict[str, int]]
    ranges: dict[str, tuple[float, float, float]]
    elements: dict[str, int]
    sizes: dict[int, int]
    charges: dict[int, int]
    multiplicities: dict[int, int]
    duplicates: int
    skipped: dict[str, int]
    keys: tuple[str, ...]
    hash: str
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.n_systems} structures, {self.n_atoms} atoms, content {self.hash}", ""]
        width = max(12, *(len(name) for name in self.fidelities))
        header = "".join(f"{name:>{width + 2}}" for name in self.fidelities)
        lines.append(f"{'label':14}{header}  {'smallest':>12}{'median':>12}{'largest':>12}  unit")
        lines.append(f"{'structures':14}" + "".join(f"{count:>{width + 2}}" for count in self.fidelities.values()))
        for name, counts in self.labels.items():
            numbers = "".join(f"{counts[fidelity]:>{width + 2}}" for fidelity in self.fidelities)
            low, median, high = self.ranges[name]
            lines.append(f"{name:14}{numbers}  {low:>12.5g}{median:>12.5g}{high:>12.5g}  {LABELS[name].unit}")
        lines += ["", f"elements        {_listed(self.elements)}", f"atoms           {_listed(self.sizes)}"]
        lines += [f"total charge    {_listed(self.charges)}", f"multiplicity    {_listed(self.multiplicities)}"]
        lines += [f"duplicates      {self.duplicates}", f"keys            {', '.join(self.keys) or 'none'}"]
        lines += [f"left out        {count}: {reason}" for reason, count in self.skipped.items()]
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])


def report(
    data: Data,
    *,
    units: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    cache: str | None = None,
) -> DataReport:
    """Look through a data set.

    Rows that cannot be used are counted, not refused.

    Parameters
    ----------
    data, units, labels, cache : as for :func:`molcalc.train.data.open_dataset`.

    Returns
    -------
    counts, ranges and suspicions
    """
    dataset = open_dataset(data, units=units, labels=labels, cache=cache, skip_bad=True)
    fidelity = dataset.fidelity
    names = dict(enumerate(dataset.fidelities))
    has = {name: dataset.has(name) for name in dataset.labels}
    hashes = geometry_hashes(dataset) ^ fidelity.astype(np.uint64)
    _, first = np.unique(hashes, return_index=True)
    repeated = np.setdiff1d(np.arange(len(dataset)), first)
    return DataReport(
        n_systems=len(dataset),
        n_atoms=int(dataset.n_atoms().sum()),
        fidelities={name: int((fidelity == k).sum()) for k, name in names.items()},
        labels={
            label: {name: int(mask[fidelity == k].sum()) for k, name in names.items()} for label, mask in has.items()
        },
        ranges={name: _range(dataset, name, mask) for name, mask in has.items()},
        elements=_elements(dataset),
        sizes=_counted(dataset.n_atoms()),
        charges=_counted(dataset.total_charge.astype(np.int64)),
        multiplicities=_counted(dataset.multiplicity),
        duplicates=len(repeated),
        skipped={f"{source}: {why}": n for source, found in dataset.skipped.items() for why, n in found.items()},
        keys=dataset.keys,
        hash=dataset.hash,
        warnings=[
            *_missing(dataset, has),
            *map(str, suspicious_units(dataset)),
            *doubtful_derivatives(dataset),
            *contradicting_repeats(dataset),
            *doubtful_precision(dataset),
            *_outliers(dataset, has, repeated),
        ],
    )


def _counted(values: np.ndarray) -> dict[int, int]:
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist()))


def _elements(dataset: Dataset) -> dict[str, int]:
    owner = np.repeat(np.arange(len(dataset)), dataset.n_atoms())
    elements = np.unique(dataset.numbers).tolist()
    return {chemical_symbols[z]: len(np.unique(owner[dataset.numbers == z])) for z in elements}


def _values(dataset: Dataset, name: str, k: int) -> np.ndarray:
    """All values of a label of one structure, one row each."""
    kind = LABELS[name].kind
    if kind == "system":
        return dataset.labels[name][k : k + 1]
    offsets = dataset.offsets if kind == "atom" else dataset.esp_offsets
    return dataset.labels[name][offsets[k] : offsets[k + 1]]


def _range(dataset: Dataset, name: str, mask: np.ndarray) -> tuple[float, float, float]:
    """Smallest, median and largest value, or length of vectors and tensors."""
    chosen = np.flatnonzero(mask)
    if not len(chosen):
        return (np.nan, np.nan, np.nan)
    values = np.concatenate([_values(dataset, name, int(k)) for k in chosen])
    if values.ndim > 1:
        values = np.linalg.norm(values.reshape(len(values), -1), axis=1)
    return float(values.min()), float(np.median(values)), float(values.max())


def _missing(dataset: Dataset, has: dict[str, np.ndarray]) -> list[str]:
    lines = [] if "energy" in has else ["no structure has an energy"]
    for name, mask in has.items():
        if 0 < mask.sum() < len(mask):
            lines.append(f"{name} is missing in {int((~mask).sum())} of {len(mask)} structures")
    return lines


def _outliers(dataset: Dataset, has: dict[str, np.ndarray], repeated: np.ndarray) -> list[str]:
    lines = []
    if len(repeated):
        lines.append(f"{len(repeated)} structures repeat a geometry: {_names(dataset, repeated)}")
    far = _far_energies(dataset, has)
    if len(far):
        lines.append(f"{len(far)} energies are far from what the composition suggests: {_names(dataset, far)}")
    large = _large_forces(dataset)
    wrong = np.flatnonzero(np.abs(missed_charges(dataset)) > ROUNDED_CHARGE)
    if len(large):
        lines.append(f"{len(large)} structures have forces above {LARGE_FORCE:g} eV/Å: {_names(dataset, large)}")
    if len(wrong):
        lines.append(
            f"{len(wrong)} structures have atomic charges that miss the total charge by over {ROUNDED_CHARGE} e: "
            f"{_names(dataset, wrong)}"
        )
    return lines


def _large_forces(dataset: Dataset) -> np.ndarray:
    """Positions of structures with a component of a force above LARGE_FORCE."""
    if "forces" not in dataset.labels or not len(dataset):
        return np.zeros(0, dtype=np.int64)
    largest = np.maximum.reduceat(np.abs(dataset.labels["forces"]).max(axis=1), dataset.offsets[:-1])
    return np.flatnonzero(largest > LARGE_FORCE)


def _far_energies(dataset: Dataset, has: dict[str, np.ndarray]) -> np.ndarray:
    """Positions of energies far from a sum of energies of elements, per fidelity."""
    found = []
    elements, column = np.unique(dataset.numbers, return_inverse=True)
    owner = np.repeat(np.arange(len(dataset)), dataset.n_atoms())
    composition = np.zeros((len(dataset), len(elements) + 1))
    np.add.at(composition, (owner, column), 1.0)
    composition[:, -1] = dataset.total_charge
    for fidelity in range(len(dataset.fidelities)):
        own = np.flatnonzero((dataset.fidelity == fidelity) & has.get("energy", False))
        if len(own) < 3 * composition.shape[1]:
            continue
        energy = dataset.labels["energy"][own]
        slopes, *_ = np.linalg.lstsq(composition[own], energy, rcond=1e-9)
        residual = energy - composition[own] @ slopes
        _, formula = np.unique(composition[own], axis=0, return_inverse=True)
        for group in range(int(formula.max()) + 1):  # one bad energy must not make the others look bad
            members = formula.reshape(-1) == group
            if members.sum() >= SHOWN_SUSPECTS:
                residual[members] -= np.median(residual[members])
        spread = 1.4826 * np.median(np.abs(residual))
        found.append(own[np.abs(residual) > FAR_ENERGY * max(spread, SMALLEST_SPREAD)])
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def _names(dataset: Dataset, positions: np.ndarray | list[int]) -> str:
    shown = [dataset.row_name(int(k)) for k in positions[:SHOWN_SUSPECTS]]
    return ", ".join(shown) + (", …" if len(positions) > SHOWN_SUSPECTS else "")


def _listed(counts: Mapping[str, int] | Mapping[int, int]) -> str:
    shown = [f"{value}: {count}" for value, count in list(counts.items())[:20]]
    return ", ".join(shown) + (", …" if len(counts) > 20 else "")
