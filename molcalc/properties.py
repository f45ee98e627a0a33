"""Every property that a potential returns or a model is trained on: one record each, and its tables follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from molcalc.units import BOHR, DEBYE, HARTREE, KCAL_PER_MOL, PASCAL

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Array = TypeVar("Array", np.ndarray, Tensor)

Kind = Literal["system", "atom", "point", "pair"]
Components = tuple[tuple[int, int], ...]

VOIGT: Components = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Components of a symmetric tensor in the order of ASE's stress: xx, yy, zz, yz, xz, xy."""
CYCLIC: Components = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0))
"""Components in the order of quadrupole labels: xx, yy, zz, xy, yz, zx."""


@dataclass(frozen=True)
class Quantity:
    """Physical quantity: the unit of this package and the units that data and reports may use instead.

    Attributes
    ----------
    unit : of this package.
    factors : to that unit from every unit that data may be declared in; the first is the unit itself.
    shown : units of errors in reports with their factor from the unit of this package, the usual one first.
    """

    unit: str
    factors: Mapping[str, float]
    shown: tuple[tuple[str, float], ...]


LENGTH = Quantity("Å", {"Angstrom": 1.0, "Bohr": BOHR, "nm": 10.0}, (("Å", 1.0),))
ENERGY = Quantity(
    "eV",
    {"eV": 1.0, "Hartree": HARTREE, "kcal/mol": KCAL_PER_MOL, "kJ/mol": KCAL_PER_MOL / 4.184, "meV": 1e-3,
     "Rydberg": HARTREE / 2},
    (("meV", 1e3), ("kcal/mol", 1 / KCAL_PER_MOL)),
)  # fmt: skip
FORCE = Quantity(
    "eV/Å",
    {"eV/Angstrom": 1.0, "Hartree/Bohr": HARTREE / BOHR, "Hartree/Angstrom": HARTREE, "eV/Bohr": 1 / BOHR,
     "kcal/mol/Angstrom": KCAL_PER_MOL, "kJ/mol/Angstrom": KCAL_PER_MOL / 4.184, "meV/Angstrom": 1e-3},
    (("meV/Å", 1e3), ("kcal/mol/Å", 1 / KCAL_PER_MOL)),
)  # fmt: skip
VIRIAL = -1.0
"""Factor of stress labels that are virials −V·σ in eV: they are divided by the volume of their structure as well."""
STRESS = Quantity(
    "eV/Å³",
    {"eV/Angstrom^3": 1.0, "virial": VIRIAL, "GPa": 1e9 * PASCAL, "kbar": 1e8 * PASCAL, "Pa": PASCAL,
     "Hartree/Bohr^3": HARTREE / BOHR**3},
    (("meV/Å³", 1e3), ("GPa", 1e-9 / PASCAL)),
)  # fmt: skip
DIPOLE = Quantity("e·Å", {"e*Angstrom": 1.0, "Debye": DEBYE, "e*Bohr": BOHR}, (("e·Å", 1.0), ("D", 1 / DEBYE)))
QUADRUPOLE = Quantity(
    "e·Å²",
    {"e*Angstrom^2": 1.0, "Debye*Angstrom": DEBYE, "e*Bohr^2": BOHR**2},
    (("e·Å²", 1.0), ("D·Å", 1 / DEBYE)),
)
CHARGE = Quantity("e", {"e": 1.0}, (("e", 1.0),))
POTENTIAL = Quantity(
    "V",
    {"V": 1.0, "eV/e": 1.0, "Hartree/e": HARTREE, "kcal/mol/e": KCAL_PER_MOL, "mV": 1e-3},
    (("V", 1.0), ("kcal/mol/e", 1 / KCAL_PER_MOL)),
)


@dataclass(frozen=True)
class Property:
    """One property of structures, atoms or points.

    Attributes
    ----------
    name : key in results, labels and the history of a run.
    title : words for tables and pictures.
    kind : whether there is one value per structure ("system"), atom, point of the electrostatic potential, or pair.
    shape : of one such value; -1 stands for a number that the model chooses.
    quantity : what it measures, with its units.
    rank : how it turns with the structure: 0 not at all, 1 as a vector, 2 as a tensor.
    components : which components of a tensor six numbers are; None where ``shape`` has all of them.
    ase_name : name that ASE uses; None for what ASE does not know: that goes to ``calc.extras`` and ``row.data``.
    label : whether a model can be trained on it.
    requires : what a network has to predict for it, beside the energy.
    """

    name: str
    title: str
    kind: Kind
    shape: tuple[int, ...]
    quantity: Quantity
    rank: Literal[0, 1, 2] = 0
    components: Components | None = None
    ase_name: str | None = None
    label: bool = False
    requires: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """Unit of its values in this package."""
        return self.quantity.unit

    @property
    def shown(self) -> tuple[tuple[str, float], ...]:
        """Units of its errors in reports with their factors, the usual one first."""
        return self.quantity.shown


PROPERTIES: dict[str, Property] = {
    p.name: p
    for p in (
        Property("energy", "energy", "system", (), ENERGY, ase_name="energy", label=True),
        Property("forces", "forces", "atom", (3,), FORCE, rank=1, ase_name="forces", label=True),
        Property("stress", "stress", "system", (3, 3), STRESS, rank=2, ase_name="stress", label=True),
        Property("dipole", "dipole", "system", (3,), DIPOLE, rank=1, ase_name="dipole", label=True,
                 requires=("charges",)),
        Property("quadrupole", "quadrupole", "system", (6,), QUADRUPOLE, rank=2, components=CYCLIC, label=True,
                 requires=("charges",)),
        Property("charges", "charges", "atom", (), CHARGE, ase_name="charges", label=True, requires=("charges",)),
        Property("spin_charges", "spin charges", "atom", (), CHARGE, ase_name="magmoms", label=True,
                 requires=("spin_charges",)),
        Property("esp", "potential (ESP)", "point", (), POTENTIAL, label=True, requires=("charges",)),
        Property("atomic_energies", "atomic energies", "atom", (), ENERGY, ase_name="energies"),
        Property("dcm_charges", "distributed charges", "atom", (-1,), CHARGE, requires=("dcm_charges",)),
        Property("dcm_positions", "places of distributed charges", "atom", (-1, 3), LENGTH, rank=1,
                 requires=("dcm_charges",)),
        Property("dcm_dipole", "dipole of distributed charges", "system", (3,), DIPOLE, rank=1,
                 requires=("charges", "dcm_charges")),
        Property("charge_dipole", "dipole of atomic charges", "system", (3,), DIPOLE, rank=1,
                 requires=("charges", "dcm_charges")),
        Property("atomic_dipoles", "atomic dipoles", "atom", (3,), DIPOLE, rank=1, requires=("atomic_dipoles",)),
        Property("atomic_quadrupoles", "atomic quadrupoles", "atom", (3, 3), QUADRUPOLE, rank=2,
                 requires=("atomic_quadrupoles",)),
        Property("energy_std", "standard deviation of the energy", "system", (), ENERGY),
        Property("forces_std", "standard deviation of forces", "atom", (3,), FORCE),
        Property("charges_std", "standard deviation of charges", "atom", (), CHARGE, requires=("charges",)),
    )
}  # fmt: skip
"""All properties by name.

Dipole and quadrupole are about the center of mass; the quadrupole is Σ q (r_a r_b − r² δ_ab / 3).
"""

LABELS: dict[str, Property] = {name: p for name, p in PROPERTIES.items() if p.label}
"""Properties that a model can be trained on, in the order of reports."""


def to_voigt(tensor: Array, order: Components = VOIGT) -> Array:
    """Six components of symmetric tensors.

    Parameters
    ----------
    tensor : (..., 3, 3)
    order : which components; :data:`VOIGT` is ASE's.

    Returns
    -------
    (..., 6)
    """
    rows, columns = zip(*order)
    return tensor[..., list(rows), list(columns)]


def from_voigt(components: Array, order: Components = VOIGT) -> Array:
    """Symmetric tensors from six of their components.

    Parameters
    ----------
    components : (..., 6)
    order : which they are; :data:`VOIGT` is ASE's.

    Returns
    -------
    (..., 3, 3)
    """
    place = {pair: k for k, (a, b) in enumerate(order) for pair in ((a, b), (b, a))}
    return components[..., [[place[a, b] for b in range(3)] for a in range(3)]]
