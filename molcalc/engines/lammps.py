"""Potentials in LAMMPS, as a fix that calls Python for energy, forces and virial."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms

from molcalc.calculators.base import MolCalculator
from molcalc.engines.engine_structure import EngineStructure
from molcalc.errors import CellError, ConfigError, InputError


class LammpsPotential:
    """Potential that moves the atoms of an instance of LAMMPS, whose box, atoms and masses are there already.

    Parameters
    ----------
    lmp : ``lammps.lammps``, on one process, in metal units, with atom ids from 1 on.
    calc : calculator of molcalc.
    atoms : elements in the order of the ids, charge and spin, and whether it is a molecule (``boundary m m m``) or
        periodic (``boundary p p p``); positions and box are those of LAMMPS.
    fix : id of the fix that it becomes.

    Raises
    ------
    ConfigError
        For several processes and other units.
    CellError
        When boundaries are not those of the structure.
    InputError
        For other atoms, and as :class:`molcalc.engines.engine_structure.EngineStructure` tells.
    """

    def __init__(self, lmp: Any, calc: MolCalculator, atoms: Atoms, fix: str = "molcalc") -> None:
        self._lmp, self._fix, self._structure = lmp, fix, EngineStructure(calc, atoms)
        self._error: BaseException | None = None
        if (size := lmp.extract_setting("world_size")) != 1:
            raise ConfigError(
                f"LAMMPS runs on {size} processes; the potential needs all atoms on one: start it without MPI"
            )
        if (unit := lmp.extract_global("units")) != "metal":
            raise ConfigError(f'units {unit} of LAMMPS: the potential is in eV and Å, use "units metal"')
        periodic = [bool(flag) for flag in lmp.extract_box()[5]]
        if periodic != atoms.pbc.tolist():
            raise CellError(
                f"LAMMPS is periodic in {periodic}, atoms.pbc is {atoms.pbc.tolist()}: use boundary p p p for boxes "
                "and m m m for molecules"
            )
        local = slice(0, lmp.extract_setting("nlocal"))
        order = self._order(lmp.numpy.extract_atom("id")[local])
        masses, types = np.ravel(lmp.numpy.extract_atom("mass")), lmp.numpy.extract_atom("type")[local]
        self._structure.check_masses(masses[types[order]])
        lmp.commands_list([f"fix {fix} all external pf/callback 1 1", f"fix_modify {fix} energy yes virial yes"])
        lmp.set_fix_external_callback(fix, self._move)

    def command(self, line: str) -> None:
        """A command of LAMMPS, such as ``run 1000``.

        An error of the potential stops LAMMPS within ten steps, with energies that are no numbers. Only this method
        raises it: ``lmp.command`` cannot.

        Raises
        ------
        MolcalcError
            Of the potential, as :meth:`molcalc.engines.engine_structure.EngineStructure.result` tells.
        """
        try:
            self._lmp.command(line)
        finally:
            error, self._error = self._error, None
            if error is not None:
                raise error

    def _move(self, _: Any, step: int, n: int, ids: np.ndarray, positions: np.ndarray, forces: np.ndarray) -> None:
        try:
            order = self._order(ids)
            result = self._structure.result(positions[order], self._box())
        except BaseException as error:  # whatever it is, also an interrupt: ctypes drops it, and LAMMPS would run on
            self._error = self._error or error
            forces[:] = np.nan
            self._lmp.fix_external_set_energy_global(self._fix, np.nan)
            self._lmp.force_timeout()
            return
        forces[order] = result.forces
        self._lmp.fix_external_set_energy_global(self._fix, result.energy)
        virial = result.virial[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]  # in the order of LAMMPS
        self._lmp.fix_external_set_virial_global(self._fix, virial)

    def _order(self, ids: np.ndarray) -> np.ndarray:
        """Places of the atoms in the order of their ids, which have to run from 1 to the number of the structure."""
        if not np.array_equal(np.sort(ids), np.arange(1, len(self._structure) + 1)):
            raise InputError(
                f"LAMMPS has {len(ids)} atoms, with the ids {sorted(ids.tolist())[:9]}; the structure has "
                f"{len(self._structure)}, which need the ids 1 to {len(self._structure)}: were atoms lost or added?"
            )
        return np.argsort(ids)

    def _box(self) -> np.ndarray:
        """(3, 3) Å vectors of the box."""
        low, high, xy, yz, xz, *_ = self._lmp.extract_box()
        cell = np.diag(np.subtract(high, low))
        cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
        return cell
