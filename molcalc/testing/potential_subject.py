"""The potential under test, the structures it is tried with, and comparisons of its results."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from ase.data import covalent_radii
from torch import Tensor

from molcalc.assembly.potentials import bare_potential
from molcalc.batch import AtomicBatch, collate, from_atoms
from molcalc.derivatives import evaluate
from molcalc.errors import ConfigError
from molcalc.potential import Potential
from molcalc.properties import PROPERTIES
from molcalc.testing.check_report import CheckFailedError, CheckSkippedError
from molcalc.testing.structures import boxed, generic

MOLECULES = ("CH3OH", "NH3", "H2O", "CO2", "H2")
FAMILIAR = (8, 6, 7, 1)
"""Elements that chains are made of, where the potential knows them."""
N_STRUCTURES = 3
BOND = 1.1
"""Distance of neighbors in a chain of atoms, in sums of their covalent radii."""
EXACT, RELATIVE = 1e-9, 1e-12
"""Allowed difference of two results in double precision that should be equal: absolute, and relative to the largest."""

BatchResults = dict[str, Tensor]


@dataclass(frozen=True)
class Sample:
    """A structure in a state.

    Attributes
    ----------
    multiplicity : None takes the lowest that the number of electrons allows.
    """

    atoms: Atoms
    charge: int = 0
    multiplicity: int | None = None
    fidelity: int = 0

    @property
    def spin(self) -> int:
        """The multiplicity, given or lowest."""
        return self.multiplicity or 1 + (int(self.atoms.numbers.sum()) - self.charge) % 2

    def at(self, positions: np.ndarray) -> Sample:
        """The same with atoms elsewhere, (n_atoms, 3) Å."""
        atoms = self.atoms.copy()
        atoms.positions[:] = positions
        return replace(self, atoms=atoms)


class PotentialSubject:
    """A potential in double precision, with everything the checks share.

    Parameters
    ----------
    potential : is copied, and left as it is.
    atoms : molecule to test with first; None chooses one.

    Raises
    ------
    ConfigError
        When ``atoms`` hold an element that the potential does not know, or are periodic.
    """

    def __init__(self, potential: Potential, atoms: Atoms | None = None) -> None:
        self.given = potential
        self.potential = copy.deepcopy(potential).requires_grad_(False).eval().set_dtype(torch.float64)
        self.network = self.potential.networks[0]
        found = [generic(each) for each in _molecules(potential.elements)]
        if atoms is not None:
            if not set(atoms.numbers.tolist()) <= set(potential.elements) or atoms.pbc.any():
                raise ConfigError(f"atoms={atoms.get_chemical_formula()}: give a molecule of {potential.elements}")
            found.insert(0, atoms.copy())
        self.samples = [Sample(each) for each in found[:N_STRUCTURES]]
        self.sample = self.samples[0]

    @cached_property
    def alone(self) -> Potential:
        """The networks without energy terms."""
        return bare_potential(self.potential.networks)

    @cached_property
    def periodic(self) -> Potential:
        """The potential, or its networks alone where a term is defined for molecules only."""
        return self.potential if self.potential.supports_periodic else self.alone

    @cached_property
    def crystal(self) -> Sample:
        """The molecule in a narrow triclinic box: its images interact."""
        return Sample(boxed(self.sample.atoms))

    @property
    def charged(self) -> bool:
        """Whether charges of atoms are predicted."""
        return "charges" in self.potential.predicts

    @property
    def open_shell(self) -> bool:
        """Whether spin charges of atoms are predicted."""
        return "spin_charges" in self.potential.predicts

    @property
    def fixed_in_space(self) -> tuple[str, ...]:
        """Names of results that do not turn with the structure; standard deviations of forces are by component."""
        return ("forces_std", *self.potential.fixed_in_space)

    def require_energy_that_turns(self) -> None:
        """Skip a check of rotations when charges that do not turn are part of the energy."""
        if "energy" in self.potential.fixed_in_space:
            raise CheckSkippedError("charges that do not turn with the molecule are part of the energy")

    @cached_property
    def standard(self) -> BatchResults:
        """Results of the first sample."""
        return self.results(self.sample)

    @cached_property
    def force_scale(self) -> float:
        """Largest force component of the first sample in eV/Å."""
        return float(self.standard["forces"].abs().max())

    def batch(self, *samples: Sample, potential: Potential | None = None, cutoff: float | None = None) -> AtomicBatch:
        """A batch with the lists of neighbors that a potential needs; edges reach to ``cutoff`` Å or as far as it."""
        chosen = potential or self.potential
        return collate([
            from_atoms(
                sample.atoms,
                cutoff=cutoff or chosen.cutoff,
                pair_cutoff=_pair_cutoff(chosen, sample.atoms),
                total_charge=sample.charge,
                multiplicity=sample.spin,
                fidelity=sample.fidelity,
            )
            for sample in samples
        ])  # fmt: skip

    def results(
        self, *samples: Sample, potential: Potential | None = None, properties: Sequence[str] = ("forces",)
    ) -> BatchResults:
        """Results of structures in one batch, all that a potential has."""
        chosen = potential or self.potential
        return evaluate(chosen, self.batch(*samples, potential=chosen), properties)

    def energies(self, samples: Iterable[Sample], potential: Potential | None = None) -> np.ndarray:
        """(n_samples,) eV."""
        return self.results(*samples, potential=potential, properties=())["energy"].numpy()


def _pair_cutoff(potential: Potential, atoms: Atoms) -> float | None:
    if potential.pair_cutoff is None:
        return None
    return potential.pair_cutoff if atoms.pbc.any() else math.inf


def _molecules(elements: Sequence[int]) -> list[Atoms]:
    """Molecules of these elements; chains of atoms where there are too few."""
    found = [molecule(name) for name in MOLECULES]
    found = [atoms for atoms in found if set(atoms.numbers.tolist()) <= set(elements)]
    known = [z for z in FAMILIAR if z in elements] or list(elements[:4])
    return [*found, *(_chain(known, n) for n in (6, 4, 2))]


def _chain(elements: Sequence[int], n_atoms: int) -> Atoms:
    """Atoms on a helix, neighbors at the distance of a bond."""
    numbers = [elements[k % len(elements)] for k in range(n_atoms)]
    steps = BOND * (covalent_radii[numbers[1:]] + covalent_radii[numbers[:-1]])
    angles = 1.1 * np.arange(n_atoms - 1)
    directions = np.stack([0.7 * np.cos(angles), 0.7 * np.sin(angles), np.full(n_atoms - 1, 0.714)], axis=1)
    return Atoms(numbers, np.concatenate([np.zeros((1, 3)), np.cumsum(steps[:, None] * directions, axis=0)]))


def rank_of(name: str) -> int:
    """Rank by which a result turns: 0 as a number, 1 as a vector, 2 as a matrix."""
    shape = PROPERTIES[name].shape if name in PROPERTIES else ()
    return sum(size == 3 for size in shape)


def require_equal(
    found: BatchResults, wanted: BatchResults, when: str, *, exact: bool = False, slack: float = 0.0
) -> None:
    """Fail unless results agree.

    Parameters
    ----------
    found, wanted : the same names; what only one has is not compared.
    when : begins the sentence "… the forces change by …".
    exact : to the last bit.
    slack : allowed beside EXACT.
    """
    for name in sorted(found.keys() & wanted.keys()):
        a, b = found[name], wanted[name]
        if a.shape != b.shape:
            raise CheckFailedError(f"{when} {name} has the shape {tuple(a.shape)} instead of {tuple(b.shape)}")
        allowed = 0.0 if exact else EXACT + slack + RELATIVE * float(b.abs().max()) if b.numel() else 0.0
        difference = float((a - b).abs().max()) if a.numel() else 0.0
        if not difference <= allowed:
            raise CheckFailedError(f"{when} {name} changes by {difference:.2g} (allowed: {allowed:.1g})")
