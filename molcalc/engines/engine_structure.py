"""A structure that another program moves: what stays the same in it, and what comes back for new positions."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from ase import Atoms
from jaxtyping import Float64

from molcalc.calculators.base import MolCalculator
from molcalc.errors import CellError, InputError, MissingPackageError, short
from molcalc.units import ATOMIC_MASSES, SYMBOLS


def engine_package(name: str, install: str) -> ModuleType:
    """Module of another program.

    Parameters
    ----------
    name : of the module.
    install : what pip is asked for.

    Returns
    -------
    the module

    Raises
    ------
    MissingPackageError
        When it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"the package {error.name} is not installed: pip install {install} (or the extra engines of molcalc)"
        ) from error


@dataclass(frozen=True)
class EngineResult:
    """What an engine wants to know of one geometry.

    Attributes
    ----------
    energy : eV.
    forces : (n, 3) eV/Å.
    virial : (3, 3) eV, minus the stress times the volume of the box, and of a molecule the sum of rᵢ ⊗ Fᵢ.
    """

    energy: float
    forces: Float64[np.ndarray, "n_atoms 3"]
    virial: Float64[np.ndarray, "3 3"]


class EngineStructure:
    """Structure whose elements, charge and spin stay, while an engine moves its atoms and box.

    Parameters
    ----------
    calc : calculator of molcalc.
    atoms : elements in the order of the engine, charge and spin as everywhere (``atoms.info``), and whether it is a
        molecule or periodic. It is copied.

    Raises
    ------
    InputError
        And its subclasses for what the model cannot describe, for constraints, and for calculators of others.
    CellError
        For structures that are periodic in one or two directions, whose pressure no engine defines alike.
    """

    def __init__(self, calc: MolCalculator, atoms: Atoms) -> None:
        if not isinstance(calc, MolCalculator):
            raise InputError(f"calc={short(calc)} is a {type(calc).__name__}; expected a calculator of molcalc")
        if not isinstance(atoms, Atoms):
            raise InputError(f"atoms={short(atoms)} is a {type(atoms).__name__}; expected ase.Atoms")
        if atoms.constraints:
            kind = type(atoms.constraints[0]).__name__
            raise InputError(
                f"atoms have the constraint {kind}, which engines do not read: use those of the engine and delete it "
                "here (del atoms.constraints)"
            )
        if atoms.pbc.any() and not atoms.pbc.all():
            raise CellError(
                f"pbc={atoms.pbc.tolist()}: engines take molecules and boxes that are periodic in three directions; "
                "give a slab a box with empty space, and pbc=True"
            )
        calc.prepare(atoms)
        self.calc, self.periodic = calc, bool(atoms.pbc.all())
        self._atoms = atoms.copy()

    def __len__(self) -> int:
        return len(self._atoms)

    def check_masses(self, masses: Float64[np.ndarray, " n_atoms"]) -> None:
        """Refuse atoms of an engine that are in another order than those of the structure, by their masses.

        Isotopes and repartitioned masses pass: the mass of an atom has to be nearest to that of its own element, among
        the elements of the structure.

        Parameters
        ----------
        masses : u, in the order of the engine.

        Raises
        ------
        InputError
            Names the first atom.
        """
        self._check_number(len(masses))
        elements = np.unique(self._atoms.numbers)
        nearest = elements[np.abs(masses[:, None] - ATOMIC_MASSES[elements]).argmin(axis=1)]
        for k in np.flatnonzero(nearest != self._atoms.numbers):
            raise InputError(
                f"atom {k} is {SYMBOLS[self._atoms.numbers[k]]}, but has a mass of {masses[k]:g} u in the engine, that "
                f"of {SYMBOLS[nearest[k]]}: give the atoms in the order of the engine"
            )

    def result(self, positions: Float64[np.ndarray, "n 3"], cell: Float64[np.ndarray, "3 3"]) -> EngineResult:
        """Result of one geometry, with the neighbors of the last one where they still hold.

        Parameters
        ----------
        positions : Å.
        cell : Å, rows are vectors; not looked at for molecules.

        Returns
        -------
        energy, forces and virial

        Raises
        ------
        InputError
            For another number of atoms, and as :meth:`molcalc.calculators.base.MolCalculator.calculate`.
        """
        atoms = self._moved(positions, cell)
        found = {name: self.calc.get_property(name, atoms) for name in self._properties}
        return self._summed_up(atoms, found)

    def results(
        self, positions: Sequence[Float64[np.ndarray, "n 3"]], cells: Sequence[Float64[np.ndarray, "3 3"]]
    ) -> list[EngineResult]:
        """Results of several geometries, evaluated together; parameters and errors as of :meth:`result`.

        Returns
        -------
        energy, forces and virial of each
        """
        images = [self._moved(each, cell) for each, cell in zip(positions, cells, strict=True)]
        found = self.calc.evaluate(images, self._properties)
        return [self._summed_up(atoms, results) for atoms, results in zip(images, found)]

    @property
    def _properties(self) -> tuple[str, ...]:
        return ("energy", "forces", "stress") if self.periodic else ("energy", "forces")

    def _check_number(self, found: int) -> None:
        if found != len(self):
            raise InputError(f"the engine has {found} atoms, the structure {len(self)}: both must be of the same atoms")

    def _moved(self, positions: np.ndarray, cell: np.ndarray) -> Atoms:
        self._check_number(len(positions))
        atoms = self._atoms.copy()
        atoms.positions[:] = positions
        if self.periodic:
            atoms.cell[:] = cell
        return atoms

    def _summed_up(self, atoms: Atoms, found: dict[str, float | np.ndarray]) -> EngineResult:
        forces = np.asarray(found["forces"])
        if self.periodic:
            xx, yy, zz, yz, xz, xy = -np.asarray(found["stress"]) * atoms.get_volume()
            virial = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        else:
            virial = atoms.positions.T @ forces
        return EngineResult(float(found["energy"]), forces, virial)
