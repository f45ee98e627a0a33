"""Potentials in i-PI, as a driver of its own: all beads of a ring polymer in one evaluation.

i-PI loads this file by its path: ``pes="custom"`` with ``pes_path``, or ``i-pi-py_driver -m custom -P``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from molcalc.calculators.of_model import calculator_of
from molcalc.engines.engine_structure import EngineResult, EngineStructure, engine_package
from molcalc.errors import InputError, MissingFileError
from molcalc.structure_files.images import image_format, read_images

__DRIVER_NAME__ = "molcalc"
__DRIVER_CLASS__ = "MolcalcDriver"
IPI_UNITS: Any = engine_package("ipi.utils.units", "ipi")
IPI_BOHR, IPI_HARTREE = (
    IPI_UNITS.unit_to_user("length", "angstrom", 1.0),
    IPI_UNITS.unit_to_user("energy", "electronvolt", 1.0),
)
"""i-PI's own, in Å and eV: those of others differ in the eighth digit."""
IpiResult = tuple[float, np.ndarray, np.ndarray, str]


class MolcalcDriver:
    """Driver of i-PI: energies, forces and virials in Hartree and Bohr.

    Parameters
    ----------
    template : file of a structure, its first one, which states elements in the order of i-PI, charge and spin, and
        whether it is a molecule or periodic.
    model : published name or folder.
    verbosity, verbose : of i-PI; nothing is printed.
    options : those of the calculator (``fidelity``, ``charge``, ``dtype``, ``coulomb``).

    Raises
    ------
    MissingFileError
        When there is no template.
    InputError
        And its subclasses, as :class:`molcalc.engines.engine_structure.EngineStructure` tells.
    """

    def __init__(self, template: str, model: str, verbosity: Any = None, verbose: bool = False, **options: Any) -> None:
        path = Path(template)
        if not path.is_file():
            raise MissingFileError(
                f"template {str(path)!r}: there is no such file; give one with the atoms of i-PI in their order"
            )
        images = read_images(path, image_format(path), slice(0, 1))
        if not images:
            raise InputError(f"template {str(path)!r} has no structure")
        self.structure = EngineStructure(calculator_of(model, **options), images[0])

    def __call__(self, cell: Any, positions: Any) -> IpiResult | list[IpiResult]:
        """Results of one structure, or of a list of them evaluated together; (3, 3) and (n, 3) in Bohr.

        Returns
        -------
        energy, (n, 3) forces, (3, 3) virial in atomic units, and an empty text; a list of them for a list
        """
        if isinstance(cell, list):
            return self._together(cell, positions)
        return self._together([cell], [positions])[0]

    def _together(self, cells: Sequence[np.ndarray], positions: Sequence[np.ndarray]) -> list[IpiResult]:
        moved = [np.reshape(each, (-1, 3)) * IPI_BOHR for each in positions]
        return [_atomic_units(each) for each in self.structure.results(moved, [cell.T * IPI_BOHR for cell in cells])]


def _atomic_units(result: EngineResult) -> IpiResult:
    return (
        result.energy / IPI_HARTREE,
        result.forces * IPI_BOHR / IPI_HARTREE,
        result.virial / IPI_HARTREE,
        "",
    )
