"""Table of properties: name, shape, unit, and the name ASE uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["system", "atom", "pair"]


@dataclass(frozen=True)
class Property:
    """One quantity a potential can return.

    ``kind`` is "system" for one value per structure, "atom" for one per atom; ``shape`` is the shape of
    one such value. ``ase_name`` is ``None`` for what ASE does not know: those go to ``calc.extras``.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    unit: str
    ase_name: str | None


PROPERTIES: dict[str, Property] = {
    p.name: p
    for p in (
        Property("energy", "system", (), "eV", "energy"),
        Property("atomic_energies", "atom", (), "eV", "energies"),
        Property("forces", "atom", (3,), "eV/Å", "forces"),
        Property("stress", "system", (3, 3), "eV/Å³", "stress"),
        Property("charges", "atom", (), "e", "charges"),
        Property("spin_charges", "atom", (), "e", "magmoms"),
        Property("dipole", "system", (3,), "e·Å", "dipole"),
        Property("dcm_charges", "atom", (-1,), "e", None),
        Property("dcm_positions", "atom", (-1, 3), "Å", None),
        Property("dcm_dipole", "system", (3,), "e·Å", None),
        Property("charge_dipole", "system", (3,), "e·Å", None),
        Property("atomic_quadrupoles", "atom", (3, 3), "e·Å²", None),
        Property("energy_std", "system", (), "eV", None),
        Property("forces_std", "atom", (3,), "eV/Å", None),
        Property("charges_std", "atom", (), "e", None),
    )
}
