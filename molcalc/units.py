"""The only unit constants of the package.

Everything outside ``molcalc.dispersion`` is in eV, Å and e. The values are ASE's (CODATA 2014), so that
numbers agree to the last digit with what users compute from ``ase.units``.
"""

from collections.abc import Iterable

import numpy as np
from ase import units
from ase.data import atomic_masses, chemical_symbols, covalent_radii, vdw_radii
from ase.formula import Formula

HARTREE: float = units.Hartree
"""1 Hartree in eV."""
BOHR: float = units.Bohr
"""1 Bohr in Å."""
DEBYE: float = units.Debye
"""1 Debye in e·Å."""
KCAL_PER_MOL: float = units.kcal / units.mol
"""1 kcal/mol in eV."""
COULOMB: float = HARTREE * BOHR
"""Coulomb constant e²/(4πε₀) in eV·Å."""
PASCAL: float = HARTREE / 4.3597447222071e-18 * 1e-30
"""1 Pa in eV/Å³; the Hartree in J is CODATA 2018."""

LARGEST_Z = 118
"""Largest atomic number there is."""
SYMBOLS: tuple[str, ...] = tuple(chemical_symbols)
"""Symbols of the elements by atomic number; number 0 is "X"."""
ATOMIC_MASSES: np.ndarray = atomic_masses
"""(119,) u by atomic number."""
COVALENT_RADII: np.ndarray = covalent_radii
"""(119,) Å by atomic number."""
VDW_RADII: np.ndarray = np.where(np.isfinite(vdw_radii), vdw_radii, 2.0)
"""(119,) Å by atomic number; 2 Å for elements whose van der Waals radius is not tabulated."""


def hill_formula(numbers: Iterable[int]) -> str:
    """Formula of atoms as people write it, carbon and hydrogen first: "CH4O"."""
    return Formula.from_list([SYMBOLS[z] for z in numbers]).format("hill")


def charged_formula(numbers: Iterable[int], charge: int) -> str:
    """Formula of atoms with their total charge, where it is not 0: "CH4O", "H4N (+1)"."""
    return hill_formula(numbers) + (f" ({charge:+d})" if charge else "")


def symbols_of(numbers: Iterable[int]) -> str:
    """Elements as messages name them: "H (Z=1), C (Z=6)"."""
    return ", ".join(f"{chemical_symbols[z]} (Z={z})" for z in sorted({int(z) for z in numbers}))
