"""D4 energies and derivatives from the compiled library of the package dftd4."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import NamedTuple

import numpy as np

from molcalc.batch import AtomicBatch
from molcalc.dispersion.functionals import missing_package
from molcalc.dispersion.lattice import derivative_by_cell
from molcalc.dispersion.parameters import D4Parameters
from molcalc.errors import UnsupportedElementError
from molcalc.units import BOHR, HARTREE

D4_LAST_ELEMENT = 103


class D4Form(NamedTuple):
    """Parameters, and ranges in Bohr: of pair and three-body energies, of coordination numbers, of the switch."""

    parameters: D4Parameters
    cutoff: float
    atm_cutoff: float
    cn_cutoff: float
    switch_width: float


class D4Results(NamedTuple):
    """Energies (n_atoms,), and derivatives of the sum of each structure by positions and cell; eV and Å."""

    energies: np.ndarray
    by_positions: np.ndarray
    by_cell: np.ndarray


class D4Structures:
    """The structures of a batch as the library needs them; all but positions and cells stays.

    Raises
    ------
    ConfigError : dftd4 is not installed.
    UnsupportedElementError : an element outside 1 to 103.
    """

    def __init__(self, batch: AtomicBatch, form: D4Form) -> None:
        self.form = form
        self.numbers = batch.numbers.cpu().numpy()
        self.pbc = batch.pbc.cpu().numpy()
        self.charges = batch.total_charge.detach().cpu().double().numpy()
        self.bounds = np.searchsorted(batch.system_idx.cpu().numpy(), np.arange(batch.n_systems + 1))
        _check_elements(self.numbers)
        p = form.parameters
        self._interface = dftd4_interface()
        self._damping = self._interface.DampingParam(s6=p.s6, s8=p.s8, s9=p.s9, a1=p.a1, a2=p.a2)

    def evaluate(self, positions: np.ndarray, cell: np.ndarray, *, gradients: bool = True) -> D4Results:
        """Results at positions (n_atoms, 3) and cells (n_systems, 3, 3) in Å; NaN where positions are not finite."""
        results = D4Results(np.zeros(len(positions)), np.zeros_like(positions), np.zeros_like(cell))
        for s in range(len(cell)):
            atoms = slice(self.bounds[s], self.bounds[s + 1])
            here, lattice = positions[atoms] / BOHR, cell[s] / BOHR
            if np.isfinite(here).all() and np.isfinite(lattice).all():
                values = self._one_structure(s, here, lattice, gradients)
            else:  # the library's equations for the charges would fail
                values = tuple(np.full_like(x, np.nan) for x in (here[:, 0], here, lattice))
            results.energies[atoms], results.by_positions[atoms], results.by_cell[s] = values
        gradient_unit = HARTREE / BOHR
        return D4Results(
            HARTREE * results.energies, gradient_unit * results.by_positions, gradient_unit * results.by_cell
        )

    def _one_structure(
        self, s: int, positions: np.ndarray, cell: np.ndarray, gradients: bool
    ) -> tuple[np.ndarray, ...]:
        """Results for one structure in atomic units."""
        p, form = self.form.parameters, self.form
        periodic = self.pbc[s].any()
        lattice = (cell, self.pbc[s]) if periodic else (None, None)
        numbers = self.numbers[self.bounds[s] : self.bounds[s + 1]]
        model = self._interface.DispersionModel(numbers, positions, float(self.charges[s]), *lattice, ga=p.ga, gc=p.gc)
        width = form.switch_width
        model.set_realspace_cutoff(form.cutoff, form.atm_cutoff, form.cn_cutoff, width, width)
        energies = sum(part.sum(1) for part in model.get_pairwise_dispersion(self._damping).values())
        if not gradients:
            return energies, np.zeros_like(positions), np.zeros((3, 3))
        results = model.get_dispersion(self._damping, grad=True)
        gradient = results["gradient"]
        return energies, gradient, derivative_by_cell(results["virial"], gradient, positions, cell, self.pbc[s])


def dftd4_interface() -> ModuleType:
    """The module ``dftd4.interface``; ConfigError where the package is missing."""
    try:
        return importlib.import_module("dftd4.interface")
    except ImportError as error:
        raise missing_package("D4", "dftd4") from error


def _check_elements(numbers: np.ndarray) -> None:
    bad = (numbers < 1) | (numbers > D4_LAST_ELEMENT)
    if bad.any():
        first = int(numbers[bad][0])
        atoms = np.nonzero(numbers == first)[0].tolist()
        raise UnsupportedElementError(
            f"D4 has no data for Z={first} (atoms {atoms[:10]}); supported: Z=1 to {D4_LAST_ELEMENT} (H to Lr). "
            "Remove these atoms or switch dispersion off"
        )
