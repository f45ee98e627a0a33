r"""Work of forces and stress between structures that are nearly alike, beside their difference in energy.

.. math:: ΔE ≈ -\bar F · Δr + \bar V \barσ : ε

with the strain ε between the cells and Δr without the part that follows it. The bar is the mean of both structures,
which is exact where the energy is quadratic; the error of a pair follows from how much forces and stress change.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from molcalc.train.data.block import Block
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.geometry_hash import mix
from molcalc.train.data.limits import (
    AGREEMENT,
    FEWEST_PAIRS,
    LARGEST_MOVE,
    LARGEST_STRAIN,
    MOST_PAIRS,
    SAME_FACTOR,
    TELLING,
)


class WorkAndDifference(NamedTuple):
    """Differences of energies as derivatives say, and as they are; one entry per pair of structures.

    Attributes
    ----------
    work, difference : (n_pairs,) eV.
    error : (n_pairs,) eV, what the work may miss the difference by if everything is right.
    """

    work: np.ndarray
    difference: np.ndarray
    error: np.ndarray

    @property
    def telling(self) -> WorkAndDifference:
        """The pairs whose work is well above its error."""
        keep = np.abs(self.work) > TELLING * self.error
        return WorkAndDifference(*(values[keep] for values in self))

    @property
    def factor(self) -> float:
        """Differences in units of the work, in the middle of all pairs."""
        return float(np.median(self.difference / self.work))

    def deciding(self, factor: float) -> WorkAndDifference:
        """The pairs whose error is too small for both the work, and the work times a factor, to be right."""
        keep = np.abs((factor - 1.0) * self.work) > TELLING * self.error
        return WorkAndDifference(*(values[keep] for values in self))

    def agreeing(self, factor: float) -> float:
        """Share of the pairs whose difference is the work times a factor, within its error."""
        allowed = np.maximum(TELLING * self.error, AGREEMENT * np.abs(self.work)) * abs(factor)
        return float((np.abs(self.difference - factor * self.work) <= allowed).mean())

    @property
    def other_factor(self) -> float | None:
        """What the work has to be multiplied by to be the difference of energies, if that is not 1.

        None where too few pairs decide, most of them agree with 1, or they do not agree on anything.
        """
        if len(self.work) < FEWEST_PAIRS:
            return None
        factor = self.factor
        pairs = self.deciding(factor)
        if len(pairs.work) < FEWEST_PAIRS or pairs.agreeing(1.0) >= 0.5 or pairs.agreeing(factor) < SAME_FACTOR:
            return None
        return factor


def compared_work(dataset: Dataset) -> tuple[WorkAndDifference, WorkAndDifference]:
    """Work of the forces, and of the stress between two cells, beside what they explain.

    Returns
    -------
    Those of forces and of stress, of the pairs that tell, at most :data:`molcalc.train.data.limits.MOST_PAIRS` of all.
    """
    found: tuple[list[tuple[float, float, float]], ...] = ([], [])
    if "energy" in dataset.labels and "forces" in dataset.labels and len(dataset):
        order = np.argsort(_sequences(dataset), kind="stable")
        resolution = _resolution(dataset.labels["energy"])
        for block in dataset.subset(order).blocks(overlap=1):
            for k in range(len(block) - 1):
                _compare(block, k, resolution, *found)
                if sum(map(len, found)) >= MOST_PAIRS:
                    return _telling(found[0]), _telling(found[1])
    return _telling(found[0]), _telling(found[1])


def _telling(pairs: list[tuple[float, float, float]]) -> WorkAndDifference:
    return WorkAndDifference(*np.array(pairs, dtype=np.float64).reshape(-1, 3).T).telling


def _sequences(dataset: Dataset) -> np.ndarray:
    """(n,) uint64, equal for structures of the same elements in the same order, charge, spin and fidelity."""
    sizes = dataset.n_atoms()
    place = np.arange(len(dataset.numbers)) - np.repeat(dataset.offsets[:-1], sizes)
    codes = mix((dataset.numbers.astype(np.uint64) << np.uint64(32)) ^ place.astype(np.uint64))
    found = np.add.reduceat(codes, dataset.offsets[:-1])
    for values in (dataset.total_charge.astype(np.int64), dataset.multiplicity, dataset.fidelity):
        found = mix(found ^ mix(values.astype(np.int64).view(np.uint64)))
    return found


def _resolution(energies: np.ndarray) -> float:
    """Relative precision that energies were stored in."""
    known = energies[np.isfinite(energies)]
    single = len(known) > 0 and bool((known.astype(np.float32) == known).all())
    return float(np.finfo(np.float32 if single else np.float64).eps)


def _compare(
    block: Block,
    k: int,
    resolution: float,
    by_forces: list[tuple[float, float, float]],
    by_stress: list[tuple[float, float, float]],
) -> None:
    """Add structure k and the next one to the pairs, if they are nearly of one geometry."""
    systems, pair = block.systems, slice(k, k + 2)
    first, second = block.atoms_of(k), block.atoms_of(k + 1)
    numbers, positions, forces = (block.atoms[name] for name in ("numbers", "positions", "forces"))
    if not np.array_equal(numbers[first], numbers[second]):
        return
    if any(np.ptp(systems[name][pair]) for name in ("fidelity", "total_charge", "multiplicity")):
        return
    if (systems["pbc"][k] != systems["pbc"][k + 1]).any():
        return
    cells = systems["cell"][pair]
    deformation = np.eye(3)
    if systems["pbc"][k].all() and not np.array_equal(cells[0], cells[1]):
        deformation = np.linalg.solve(cells[0], cells[1])
    strain = 0.5 * (deformation + deformation.T) - np.eye(3)
    move = positions[second] - positions[first] @ deformation
    if np.abs(move).max() > LARGEST_MOVE or np.abs(deformation - np.eye(3)).max() > LARGEST_STRAIN:
        return
    energies = systems["energy"][pair]
    difference = float(energies[1] - energies[0])
    work = -0.5 * float(((forces[first] + forces[second]) * move).sum())
    # The mean of two forces misses the work by a third derivative; in a bond, that of Morse with 2/Å, by this share.
    curved = 0.5 * np.abs((forces[second] - forces[first]) * move).sum()
    error = float(curved * np.abs(move).max()) + 2 * resolution * float(np.abs(energies).max())
    if not np.isfinite([difference, work, error]).all():
        return
    if not strain.any():
        by_forces.append((work, difference, error))
    elif "stress" in systems and np.isfinite(systems["stress"][pair]).all():
        stress = systems["stress"][pair]
        volume = 0.5 * abs(float(np.linalg.det(cells).sum()))
        strained = 0.5 * volume * float((stress.sum(axis=0) * strain).sum())
        bent = 0.5 * volume * float(np.abs((stress[1] - stress[0]) * strain).sum())
        # Elastic constants change by some times the strain. Each of the two takes the other one for right.
        error += 3 * np.abs(strain).max() * (bent + float(curved))
        by_forces.append((work, difference - strained, error + abs(strained)))
        by_stress.append((strained, difference - work, error))
