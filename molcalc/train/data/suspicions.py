"""Signs that labels are in another unit than the one they are taken for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from molcalc.errors import UnitMismatchError
from molcalc.properties import PROPERTIES
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.statistics import correlation
from molcalc.units import ATOMIC_MASSES, BOHR, COULOMB, DEBYE, HARTREE

SAMPLE = 200
"""Structures that are looked at."""
_ENERGY_UNITS = ("Hartree", "kcal/mol", "kJ/mol")
_ENERGY_TOLERANCE = 0.05
_LONGEST_DIPOLE = 0.6
"""e; a median of |dipole| / diameter above it does not occur in neutral molecules of non-metals."""
_DEBYE_SLOPE = (3.5, 14.0)
"""Slope of dipoles in Debye against those of atomic charges: 4.8 times what charges miss or exaggerate."""
_GOOD_FIT, _BAD_FIT = 0.9, 0.7
_NON_METALS = (1, 2, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 33, 34, 35, 36, 53, 54)


class Suspicion(NamedTuple):
    """label, the unit it seems to be in, and why."""

    label: str
    unit: str
    reason: str

    def __str__(self) -> str:
        return f"{self.label} looks like {self.unit}: {self.reason}"


def suspicious_units(dataset: Dataset) -> list[Suspicion]:
    """Labels that seem to be in another unit; labels whose unit the user has declared are trusted."""
    declared = {name for source in dataset.sources for name in source.declared}
    step = max(1, len(dataset) // SAMPLE)
    sample = dataset.subset(np.arange(0, len(dataset), step)[:SAMPLE])
    found = [*_energy(sample), *_forces(dataset), *_dipole(sample), *_points(sample)]
    return [suspicion for suspicion in found if suspicion.label not in declared]


def check_units(dataset: Dataset) -> None:
    """Refuse labels that seem to be in another unit.

    Raises
    ------
    UnitMismatchError
    """
    found = suspicious_units(dataset)
    if found:
        label, unit, _ = found[0]
        raise UnitMismatchError(
            f"{'; '.join(map(str, found))}. Declare the units, as in units={{{label!r}: {unit!r}}}, "
            "or the present one if it is right"
        )


def atomic_energies(numbers: np.ndarray) -> np.ndarray:
    r"""Total energies of neutral atoms in eV, good to one percent beyond helium.

    .. math:: E = -0.768745 Z^{7/3} + Z^2/2 - 0.269900 Z^{5/3}

    References
    ----------
    Schwinger, Phys. Rev. A 24, 2353 (1981).
    """
    z = np.asarray(numbers, dtype=np.float64)
    return HARTREE * (-0.768745 * z ** (7 / 3) + z**2 / 2 - 0.269900 * z ** (5 / 3))


def _energy(sample: Dataset) -> list[Suspicion]:
    """Total energies are close to the sum of those of atoms, so that their ratio gives the unit away."""
    has = sample.has("energy")
    expected = np.add.reduceat(atomic_energies(sample.numbers), sample.offsets[:-1])[sample.indices]
    heavy = np.maximum.reduceat(sample.numbers, sample.offsets[:-1])[sample.indices] > 2
    use = has & heavy
    if use.sum() < 2:
        return []
    ratio = sample.labels["energy"][sample.indices][use] / expected[use]
    for unit in _ENERGY_UNITS:
        if (np.abs(ratio * PROPERTIES["energy"].quantity.factors[unit] - 1) < _ENERGY_TOLERANCE).mean() > 0.9:
            return [Suspicion("energy", unit, f"{np.median(ratio):.4g} times the sum of atomic energies in eV")]
    return []


def _forces(dataset: Dataset) -> list[Suspicion]:
    """Work of the forces between neighboring rows against their difference in energy."""
    if "forces" not in dataset.labels or "energy" not in dataset.labels:
        return []
    work, difference = _work(dataset)
    if len(work) < 5 or correlation(work, difference) < _GOOD_FIT:
        return []
    slope = float((work * difference).sum() / (work**2).sum())
    for unit in ("Hartree/Bohr", "Hartree/Angstrom", "kcal/mol/Angstrom", "eV/Bohr"):
        factor = PROPERTIES["forces"].quantity.factors[unit]
        if abs(slope / factor - 1) < 0.15:
            return [Suspicion("forces", unit, f"differences of energies are {slope:.3g} times the work of the forces")]
    return []


def _work(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """−½ (F₁ + F₂) · Δr and ΔE in eV of pairs of consecutive rows that hold nearly the same geometry."""
    work, difference = [], []
    forces, energy = dataset.labels["forces"], dataset.labels["energy"]
    for a, b in zip(dataset.indices[:-1].tolist(), dataset.indices[1:].tolist()):
        first = slice(dataset.offsets[a], dataset.offsets[a + 1])
        second = slice(dataset.offsets[b], dataset.offsets[b + 1])
        if not np.array_equal(dataset.numbers[first], dataset.numbers[second]):
            continue
        move = dataset.positions[second] - dataset.positions[first]
        if np.abs(move).max() > 0.3 or dataset.fidelity[a] != dataset.fidelity[b]:
            continue
        w = -0.5 * float(((forces[first] + forces[second]) * move).sum())
        d = float(energy[b] - energy[a])
        if np.isfinite(w) and np.isfinite(d):
            work.append(w)
            difference.append(d)
        if len(work) == SAMPLE:
            break
    return np.array(work), np.array(difference)


def _dipole(sample: Dataset) -> list[Suspicion]:
    """Dipoles against those of atomic charges, of charges fitted to the ESP, and against the size of the molecule."""
    if "dipole" not in sample.labels:
        return []
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"charges": [], "esp": []}
    lengths = []
    for k in np.flatnonzero(sample.has("dipole")).tolist():
        system = int(sample.indices[k])
        atoms = slice(sample.offsets[system], sample.offsets[system + 1])
        numbers, positions = sample.numbers[atoms], sample.positions[atoms]
        dipole = sample.labels["dipole"][system]
        masses = ATOMIC_MASSES[numbers]
        arms = positions - masses @ positions / masses.sum()
        if "charges" in sample.labels and not np.isnan(sample.labels["charges"][atoms]).any():
            pairs["charges"].append((sample.labels["charges"][atoms] @ arms, dipole))
        if (fit := _fit_esp(sample, system, 1.0)) is not None and fit[1] > _GOOD_FIT:
            pairs["esp"].append((fit[0] @ arms, dipole))
        if sample.total_charge[system] == 0 and len(numbers) > 1 and np.isin(numbers, _NON_METALS).all():
            diameter = np.linalg.norm(positions[:, None] - positions[None], axis=2).max()
            lengths.append(np.linalg.norm(dipole) / diameter)
    for kind, listed in pairs.items():
        if len(listed) < 5:
            continue
        model, found = (np.concatenate(values) for values in zip(*listed))
        if correlation(model, found) < _GOOD_FIT:
            continue
        slope = float((model * found).sum() / (model**2).sum())
        low, high = _DEBYE_SLOPE if kind == "charges" else (0.8 / DEBYE, 1.25 / DEBYE)
        if low < slope < high:
            what = "the atomic charges" if kind == "charges" else "charges fitted to the ESP"
            return [Suspicion("dipole", "Debye", f"{slope:.3g} times the dipole of {what} in e·Å")]
        if kind == "esp" and abs(slope / BOHR**2 - 1) < 0.2:
            return [
                Suspicion("esp_points", "Bohr", f"the dipole is {slope:.3g} times that of charges fitted to the ESP")
            ]
        if kind == "esp" and abs(slope / HARTREE - 1) < 0.25:
            return [Suspicion("esp", "Hartree/e", f"the dipole is {slope:.3g} times that of charges fitted to the ESP")]
    if len(lengths) >= 5 and np.median(lengths) > _LONGEST_DIPOLE:
        return [Suspicion("dipole", "Debye", f"|dipole| is {np.median(lengths):.2g} e times the diameter (median)")]
    return []


def _points(sample: Dataset) -> list[Suspicion]:
    """Atomic charges reproduce an ESP well when points and atoms are in one frame and unit, and badly otherwise."""
    if sample.esp_offsets is None:
        return []
    systems = sample.indices[np.flatnonzero(sample.has("esp"))][:50].tolist()
    quality = {}
    for unit, scale in (("Angstrom", 1.0), ("Bohr", BOHR)):
        fits = [fit[1] for system in systems if (fit := _fit_esp(sample, int(system), scale)) is not None]
        quality[unit] = float(np.median(fits)) if fits else 0.0
    if not systems or quality["Angstrom"] > _BAD_FIT:
        return []
    share = f"atomic charges explain {quality['Angstrom']:.0%} of the ESP"
    if quality["Bohr"] > _GOOD_FIT:
        return [Suspicion("esp_points", "Bohr", f"{share}, {quality['Bohr']:.0%} with points taken as Bohr")]
    return [Suspicion("esp_points", "another frame than the atoms", share)]


def _fit_esp(dataset: Dataset, system: int, scale: float) -> tuple[np.ndarray, float] | None:
    """Atomic charges that fit the ESP of a structure best, and the share of its variation they explain."""
    if dataset.esp_offsets is None:
        return None
    part = slice(dataset.esp_offsets[system], dataset.esp_offsets[system + 1])
    values = dataset.labels["esp"][part]
    atoms = slice(dataset.offsets[system], dataset.offsets[system + 1])
    if len(values) <= 2 * (atoms.stop - atoms.start) or not values.any():
        return None
    points = scale * dataset.esp_points[part]  # type: ignore[index]
    distances = np.linalg.norm(points[:, None] - dataset.positions[atoms][None], axis=2)
    matrix = COULOMB / np.maximum(distances, 1e-3)
    charges, *_ = np.linalg.lstsq(matrix, values, rcond=1e-6)
    residual = values - matrix @ charges
    return charges, 1 - float((residual**2).sum() / (values**2).sum())
