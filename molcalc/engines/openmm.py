"""Potentials in OpenMM, as a force that Python computes."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms, units

from molcalc.calculators.base import MolCalculator
from molcalc.engines.engine_structure import EngineStructure, engine_package
from molcalc.errors import CellError

openmm: Any = engine_package("openmm", "openmm")
NM, KJ_PER_MOL = 10.0, units.kJ / units.mol
"""OpenMM's units of length in Å and of energy in eV."""


class OpenMMComputation:
    """Energy in kJ/mol and forces in kJ/mol/nm of a state of OpenMM; pickled with the force that holds it."""

    def __init__(self, structure: EngineStructure) -> None:
        self.structure = structure

    def __call__(self, state: Any) -> tuple[float, np.ndarray]:
        """Energy and (n, 3) forces at the positions of a state."""
        positions = state.getPositions(asNumpy=True).value_in_unit(openmm.unit.nanometer) * NM
        cell = np.zeros((3, 3))
        if self.structure.periodic:
            cell = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(openmm.unit.nanometer) * NM
        result = self.structure.result(positions, cell)
        return result.energy / KJ_PER_MOL, result.forces * NM / KJ_PER_MOL


def force(calc: MolCalculator, atoms: Atoms) -> Any:
    """Force of OpenMM for a system of these atoms, in their order, or for a part of one (``setParticles``).

    Parameters
    ----------
    calc : calculator of molcalc.
    atoms : elements, charge and spin, and whether it is a molecule or periodic; positions and box are those of OpenMM.

    Returns
    -------
    openmm.PythonForce

    Raises
    ------
    InputError
        And its subclasses, as :class:`molcalc.engines.engine_structure.EngineStructure` tells.
    """
    structure = EngineStructure(calc, atoms)
    python_force = openmm.PythonForce(OpenMMComputation(structure))
    python_force.setUsesPeriodicBoundaryConditions(structure.periodic)
    python_force.setName(f"molcalc {calc.model}")
    return python_force


def system(calc: MolCalculator, atoms: Atoms) -> Any:
    """System of OpenMM with the masses and the box of a structure, and :func:`force` as its only force.

    Returns
    -------
    openmm.System

    Raises
    ------
    InputError
        As :func:`force`.
    CellError
        When the box is not in the reduced form that OpenMM asks for.
    """
    new = openmm.System()
    new.addForce(force(calc, atoms))
    for mass in atoms.get_masses():
        new.addParticle(mass)
    if atoms.pbc.all():
        try:
            new.setDefaultPeriodicBoxVectors(*(openmm.Vec3(*vector) for vector in atoms.cell.array / NM))
        except openmm.OpenMMException as error:
            raise CellError(
                f"OpenMM does not take the cell {atoms.cell.array.tolist()} Å: {error} Turn the structure so that its "
                "first vector is along x and its second in the xy plane, and shorten vectors by multiples of others"
            ) from error
    return new
