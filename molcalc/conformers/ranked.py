"""Conformers of molecules by rank, and why the other structures are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.units import kB

from molcalc.conformers.molecules import Molecule
from molcalc.errors import MolcalcError
from molcalc.notebook_tables import facts_table, rows_table
from molcalc.units import KCAL_PER_MOL

FAILED = "not relaxed"
UNCONVERGED = "not converged"
BONDS_CHANGED = "bonds changed"
STEREO_CHANGED = "stereochemistry changed"
DUPLICATE = "duplicate"
BEYOND_WINDOW = "beyond the window"
SADDLE_POINT = "saddle point"
REASONS = (FAILED, UNCONVERGED, BONDS_CHANGED, STEREO_CHANGED, DUPLICATE, BEYOND_WINDOW, SADDLE_POINT)
"""Why a structure is not among the conformers, in the order in which it is asked."""


@dataclass(frozen=True)
class Dropped:
    """Structure that is not among the conformers.

    Attributes
    ----------
    start : its number among those that were relaxed, from 0.
    reason : one of :data:`REASONS`.
    detail : what exactly, as "bond O3–H9 is broken".
    """

    start: int
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Conformer:
    """Minimum of the energy of a molecule.

    Attributes
    ----------
    rank : from 1, the most stable one of its molecule.
    atoms : structure with its results; ``info`` has all numbers below.
    energy : eV.
    relative : eV above the first rank, in Gibbs energies where these are known.
    weight : share of the molecules at the temperature; those of a molecule add up to 1.
    degeneracy : 2 for one that stands for its mirror image as well, else 1.
    found : structures that were relaxed and ended here.
    start : number of the first of them, from 0.
    gibbs : eV at temperature and pressure, or None.
    symmetry_number : rotations that take it into itself, where Gibbs energies were asked for, or None.
    """

    rank: int
    atoms: Atoms
    energy: float
    relative: float
    weight: float
    degeneracy: int
    found: int
    start: int
    gibbs: float | None = None
    symmetry_number: int | None = None

    @property
    def relative_kcal_mol(self) -> float:
        """kcal/mol above the first rank."""
        return self.relative / KCAL_PER_MOL

    @property
    def numbers(self) -> dict[str, float]:
        """What files say of it beside its energy, by name; what is not known is left out."""
        values = {
            "rank": self.rank,
            "relative_kcal_mol": self.relative_kcal_mol,
            "weight": self.weight,
            "degeneracy": self.degeneracy,
            "found": self.found,
            "gibbs_energy": self.gibbs,
            "symmetry_number": self.symmetry_number,
        }
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class RankedMolecule:
    """One molecule with its conformers in the order of their ranks.

    Attributes
    ----------
    n_structures : that were relaxed.
    dropped : those of them that are no conformers of their own.
    """

    molecule: Molecule
    conformers: tuple[Conformer, ...]
    dropped: tuple[Dropped, ...]
    n_structures: int

    @property
    def dropped_by_reason(self) -> dict[str, int]:
        """Numbers of dropped structures by reason; reasons that none has are left out."""
        counts = Counter(each.reason for each in self.dropped)
        return {reason: counts[reason] for reason in REASONS if counts[reason]}


@dataclass(frozen=True)
class RankedConformers:
    """Conformers of one molecule or several.

    Attributes
    ----------
    molecules : in the order of the source.
    failures : of molecules and structures that could not be read or have no conformer.
    """

    molecules: tuple[RankedMolecule, ...]
    failures: tuple[MolcalcError, ...] = field(default=())

    @property
    def conformers(self) -> list[Conformer]:
        """Conformers of all molecules, one molecule after the other, by rank."""
        return [conformer for each in self.molecules for conformer in each.conformers]

    @property
    def frames(self) -> list[Atoms]:
        """Structures of all conformers with their results, for files."""
        return [conformer.atoms for conformer in self.conformers]

    def __repr__(self) -> str:
        found = ", ".join(f"{len(each.conformers)} of {each.molecule.label}" for each in self.molecules)
        failed = f"; {len(self.failures)} failed" if self.failures else ""
        return f"<RankedConformers: {found or 'none'}{failed}>"

    def _repr_html_(self) -> str:
        header = ("rank", "ΔE (kcal/mol)", "weight", "degeneracy", "found")
        tables = [
            rows_table(
                f"{each.molecule.label}: {len(each.conformers)} conformers of {each.n_structures} structures",
                header,
                [
                    (str(c.rank), f"{c.relative_kcal_mol:.2f}", f"{c.weight:.3f}", str(c.degeneracy), str(c.found))
                    for c in each.conformers
                ],
            )
            for each in self.molecules
        ]
        if self.failures:
            failed = [(str(error),) for error in self.failures]
            tables.append(rows_table("failed", ("error",), failed))
        return "".join(tables) or facts_table("RankedConformers", {"conformers": "none"})


def boltzmann_weights(energies: Sequence[float], degeneracies: Sequence[int], temperature: float) -> np.ndarray:
    r"""Shares of states at a temperature.

    .. math:: w_i = g_i e^{-E_i / kT} / \sum_j g_j e^{-E_j / kT}

    Parameters
    ----------
    energies : eV, or Gibbs energies.
    degeneracies : g.
    temperature : K.

    Returns
    -------
    (n,) that add up to 1
    """
    values = np.asarray(energies, dtype=np.float64)
    shares = np.asarray(degeneracies) * np.exp(-(values - values.min()) / (kB * temperature))
    return shares / shares.sum()
