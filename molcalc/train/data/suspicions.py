"""Signs that labels are in another unit than the one they are taken for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from molcalc.errors import UnitMismatchError
from molcalc.properties import ENERGY, FORCE
from molcalc.train.data import limits
from molcalc.train.data.block import Block
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.declared_units import STANDARD_UNITS
from molcalc.train.data.work import compared_work
from molcalc.units import ATOMIC_MASSES, BOHR, COULOMB, DEBYE, HARTREE

_ENERGY_UNITS = ("Hartree", "kcal/mol", "kJ/mol")
_FORCE_UNITS = ("Hartree/Bohr", "Hartree/Angstrom", "kcal/mol/Angstrom", "eV/Bohr")
_NON_METALS = (1, 2, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 33, 34, 35, 36, 53, 54)


class Suspicion(NamedTuple):
    """label, the unit it seems to be in, and why; what to do where no unit mends it."""

    label: str
    unit: str
    reason: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.label} looks like {self.unit}: {self.reason}"


def suspicious_units(dataset: Dataset) -> list[Suspicion]:
    """Labels that seem to be in another unit; labels whose unit the user has declared are trusted."""
    declared = {name for source in dataset.sources for name in source.declared.units}
    step = max(1, len(dataset) // limits.SAMPLED)
    sample = dataset.block(np.arange(0, len(dataset), step)[: limits.SAMPLED])
    found = [*_energy(sample), *_forces(dataset), *(_dipole(sample) or _origin(sample)), *_points(sample)]
    return [suspicion for suspicion in found if suspicion.label not in declared]


def check_units(dataset: Dataset) -> None:
    """Refuse labels that seem to be in another unit.

    Raises
    ------
    UnitMismatchError
    """
    found = suspicious_units(dataset)
    if found:
        first = found[0]
        cure = first.cure or f"Declare the units, as in units={{{first.label!r}: {first.unit!r}}}"
        present = STANDARD_UNITS[first.label]
        raise UnitMismatchError(f"{'; '.join(map(str, found))}. {cure}; if all is right, declare {present}")


def atomic_energies(numbers: np.ndarray) -> np.ndarray:
    r"""Total energies of neutral atoms in eV, good to one percent beyond helium.

    .. math:: E = -0.768745 Z^{7/3} + Z^2/2 - 0.269900 Z^{5/3}

    Returns
    -------
    eV, in the shape of ``numbers``

    References
    ----------
    Schwinger, Phys. Rev. A 24, 2353 (1981).
    """
    z = np.asarray(numbers, dtype=np.float64)
    return HARTREE * (-0.768745 * z ** (7 / 3) + z**2 / 2 - 0.269900 * z ** (5 / 3))


def _energy(sample: Block) -> list[Suspicion]:
    """Total energies are close to the sum of those of atoms, so that their ratio gives the unit away."""
    if "energy" not in sample.systems:
        return []
    numbers, starts = sample.atoms["numbers"], sample.offsets[:-1]
    use = ~np.isnan(sample.systems["energy"]) & (np.maximum.reduceat(numbers, starts) > 2)
    if use.sum() < 2:
        return []
    ratio = (sample.systems["energy"] / np.add.reduceat(atomic_energies(numbers), starts))[use]
    for unit in _ENERGY_UNITS:
        if (np.abs(ratio * ENERGY.factors[unit] - 1) < limits.ENERGY_TOLERANCE).mean() > limits.SAME_UNIT:
            return [Suspicion("energy", unit, f"{np.median(ratio):.4g} times the sum of atomic energies in eV")]
    return []


def _forces(dataset: Dataset) -> list[Suspicion]:
    """Work of the forces between structures that are nearly alike against their difference in energy."""
    pairs, _ = compared_work(dataset)
    factor = pairs.other_factor
    if factor is None:
        return []
    for unit in _FORCE_UNITS:
        if abs(factor / FORCE.factors[unit] - 1) < limits.FORCE_UNIT_TOLERANCE:
            reason = f"differences of energies are {factor:.3g} times the work of the forces"
            return [Suspicion("forces", unit, reason)]
    return []


def _dipole(sample: Block) -> list[Suspicion]:
    """Dipoles against those of atomic charges, of charges fitted to the ESP, and against the size of the molecule."""
    if "dipole" not in sample.systems:
        return []
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"charges": [], "esp": []}
    lengths = []
    for k in np.flatnonzero(~np.isnan(sample.systems["dipole"][:, 0])).tolist():
        atoms = sample.atoms_of(k)
        numbers, positions = sample.atoms["numbers"][atoms], sample.atoms["positions"][atoms]
        dipole = sample.systems["dipole"][k]
        masses = ATOMIC_MASSES[numbers]
        arms = positions - masses @ positions / masses.sum()
        if "charges" in sample.atoms and not np.isnan(sample.atoms["charges"][atoms]).any():
            pairs["charges"].append((sample.atoms["charges"][atoms] @ arms, dipole))
        if (fit := _fit_esp(sample, k, 1.0)) is not None and fit[1] > limits.GOOD_FIT:
            pairs["esp"].append((fit[0] @ arms, dipole))
        if sample.systems["total_charge"][k] == 0 and len(numbers) > 1 and np.isin(numbers, _NON_METALS).all():
            diameter = np.linalg.norm(positions[:, None] - positions[None], axis=2).max()
            lengths.append(np.linalg.norm(dipole) / diameter)
    for kind, listed in pairs.items():
        if len(listed) < limits.FEWEST_PAIRS:
            continue
        model, found = (np.concatenate(values) for values in zip(*listed))
        if correlation(model, found) < limits.GOOD_CORRELATION:
            continue
        if suspicion := _dipole_slope(kind, slope(model, found)):
            return [suspicion]
    if len(lengths) >= limits.FEWEST_PAIRS and np.median(lengths) > limits.LONGEST_DIPOLE:
        return [Suspicion("dipole", "Debye", f"|dipole| is {np.median(lengths):.2g} e times the diameter (median)")]
    return []


def _dipole_slope(kind: str, factor: float) -> Suspicion | None:
    """What it means that dipoles are a multiple of those of atomic charges, or of charges fitted to the ESP."""
    low, high = limits.DEBYE_SLOPE_OF_CHARGES if kind == "charges" else (0.8 / DEBYE, 1.25 / DEBYE)
    if low < factor < high:
        what = "the atomic charges" if kind == "charges" else "charges fitted to the ESP"
        return Suspicion("dipole", "Debye", f"{factor:.3g} times the dipole of {what} in e·Å")
    reason = f"the dipole is {factor:.3g} times that of charges fitted to the ESP"
    if kind == "esp" and abs(factor / BOHR**2 - 1) < limits.BOHR_TOLERANCE:
        return Suspicion("esp_points", "Bohr", reason)
    if kind == "esp" and abs(factor / HARTREE - 1) < limits.HARTREE_TOLERANCE:
        return Suspicion("esp", "Hartree/e", reason)
    return None


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Correlation of ranks (Spearman's), which an outlier hardly changes; 0 if one of the rows is constant."""
    if not np.ptp(x) or not np.ptp(y):
        return 0.0
    first, second = (np.argsort(np.argsort(values)) for values in (x, y))
    return float(np.corrcoef(first, second)[0, 1])


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Factor that makes ``x`` most like ``y``: the median over the larger half of the entries."""
    large = (np.abs(x) >= np.median(np.abs(x))) & (x != 0)
    return float(np.median(y[large] / x[large]))


def _origin(sample: Block) -> list[Suspicion]:
    """Dipoles of ions that grow with their distance from the origin are not about the center of mass."""
    if "dipole" not in sample.systems:
        return []
    about: dict[str, list[float]] = {"center of mass": [], "origin of coordinates": [], "center of nuclear charge": []}
    for k in np.flatnonzero(~np.isnan(sample.systems["dipole"][:, 0])).tolist():
        charge = float(sample.systems["total_charge"][k])
        if not charge or sample.systems["pbc"][k].any():
            continue
        atoms = sample.atoms_of(k)
        numbers, positions = sample.atoms["numbers"][atoms], sample.atoms["positions"][atoms]
        center, nuclear = (w @ positions / w.sum() for w in (ATOMIC_MASSES[numbers], numbers.astype(float)))
        dipole, model = sample.systems["dipole"][k], np.zeros(3)
        if "charges" in sample.atoms and np.isfinite(sample.atoms["charges"][atoms]).all():
            model = sample.atoms["charges"][atoms] @ (positions - center)
        shifts = {
            "center of mass": np.zeros(3),
            "origin of coordinates": center,
            "center of nuclear charge": center - nuclear,
        }
        if max(np.linalg.norm(charge * shift) for shift in shifts.values()) < limits.FAR_ORIGIN:
            continue
        for name, shift in shifts.items():
            about[name].append(float(np.linalg.norm(dipole - model - charge * shift)))
    n = len(about["center of mass"])
    if n < limits.FEWEST_PAIRS:
        return []
    misses = {name: float(np.median(values)) for name, values in about.items()}
    best = min(misses, key=lambda name: misses[name])
    if best == "center of mass" or misses[best] > limits.OTHER_ORIGIN * misses["center of mass"]:
        return []
    reason = (
        f"without Q·R about it, dipoles of {n} ions are {misses[best]:.2g} e·Å, else {misses['center of mass']:.2g}"
    )
    cure = "Move them (minus total charge times the vector from there to the center of mass)"
    return [Suspicion("dipole", f"about the {best}, not about the center of mass", reason, cure)]


def _points(sample: Block) -> list[Suspicion]:
    """Atomic charges reproduce an ESP well when points and atoms are in one frame and unit, and badly otherwise."""
    chosen = np.flatnonzero(np.diff(sample.point_offsets))[: limits.SAMPLED_POINTS].tolist()
    quality = {}
    for unit, scale in (("Angstrom", 1.0), ("Bohr", BOHR)):
        fits = [fit[1] for k in chosen if (fit := _fit_esp(sample, k, scale)) is not None]
        quality[unit] = float(np.median(fits)) if fits else 0.0
    if not chosen or quality["Angstrom"] > limits.BAD_FIT:
        return []
    share = f"atomic charges explain {quality['Angstrom']:.0%} of the ESP"
    if quality["Bohr"] > limits.GOOD_FIT:
        return [Suspicion("esp_points", "Bohr", f"{share}, {quality['Bohr']:.0%} with points taken as Bohr")]
    return [Suspicion("esp_points", "another frame than the atoms", share, "Turn and move them into that of the atoms")]


def _fit_esp(block: Block, k: int, scale: float) -> tuple[np.ndarray, float] | None:
    """Atomic charges that fit the ESP of a structure best, and the share of its variation they explain."""
    if not block.points:
        return None
    positions, part = block.atoms["positions"][block.atoms_of(k)], block.points_of(k)
    values = block.points["esp"][part]
    if len(values) <= 2 * len(positions) or not values.any():
        return None
    points = scale * block.points["esp_points"][part]
    distances = np.linalg.norm(points[:, None] - positions[None], axis=2)
    matrix = COULOMB / np.maximum(distances, 1e-3)
    charges, *_ = np.linalg.lstsq(matrix, values, rcond=1e-6)
    residual = values - matrix @ charges
    return charges, 1 - float((residual**2).sum() / (values**2).sum())
