"""Table of labels, and the units they may be declared in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from molcalc.errors import DatasetError
from molcalc.units import BOHR, DEBYE, HARTREE, KCAL_PER_MOL

Kind = Literal["system", "atom", "point"]


@dataclass(frozen=True)
class Label:
    """One quantity a model can be trained on.

    ``kind`` says whether there is one value per structure, per atom or per point; ``shape`` is the shape of one such
    value, ``unit`` what it is stored in, and ``quantity`` the row of :data:`UNITS` it is converted with.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    unit: str
    quantity: str


LABELS: dict[str, Label] = {
    label.name: label
    for label in (
        Label("energy", "system", (), "eV", "energy"),
        Label("forces", "atom", (3,), "eV/Å", "force"),
        Label("stress", "system", (3, 3), "eV/Å³", "stress"),
        Label("dipole", "system", (3,), "e·Å", "dipole"),
        Label("quadrupole", "system", (6,), "e·Å²", "quadrupole"),
        Label("charges", "atom", (), "e", "charge"),
        Label("spin_charges", "atom", (), "e", "charge"),
        Label("esp", "point", (), "V", "potential"),
    )
}
"""The dipole is about the center of mass; the quadrupole is xx, yy, zz, xy, yz, zx of
Σ q (r_a r_b − r² δ_ab / 3) about it."""

GEOMETRY = {"positions": "length", "cell": "length", "esp_points": "length"}
"""What else has a unit."""

_PASCAL = HARTREE / 4.3597447222071e-18 * 1e-30
"""1 Pa in eV/Å³; the Hartree in J is CODATA 2018."""
UNITS: dict[str, dict[str, float]] = {
    "energy": {"eV": 1.0, "Hartree": HARTREE, "kcal/mol": KCAL_PER_MOL, "kJ/mol": KCAL_PER_MOL / 4.184, "meV": 1e-3,
               "Rydberg": HARTREE / 2},
    "length": {"Angstrom": 1.0, "Bohr": BOHR, "nm": 10.0},
    "force": {"eV/Angstrom": 1.0, "Hartree/Bohr": HARTREE / BOHR, "Hartree/Angstrom": HARTREE, "eV/Bohr": 1 / BOHR,
              "kcal/mol/Angstrom": KCAL_PER_MOL, "kJ/mol/Angstrom": KCAL_PER_MOL / 4.184, "meV/Angstrom": 1e-3},
    "stress": {"eV/Angstrom^3": 1.0, "GPa": 1e9 * _PASCAL, "kbar": 1e8 * _PASCAL, "Pa": _PASCAL,
               "Hartree/Bohr^3": HARTREE / BOHR**3},
    "dipole": {"e*Angstrom": 1.0, "Debye": DEBYE, "e*Bohr": BOHR},
    "quadrupole": {"e*Angstrom^2": 1.0, "Debye*Angstrom": DEBYE, "e*Bohr^2": BOHR**2},
    "charge": {"e": 1.0},
    "potential": {"V": 1.0, "eV/e": 1.0, "Hartree/e": HARTREE, "kcal/mol/e": KCAL_PER_MOL, "mV": 1e-3},
}  # fmt: skip
"""Factors to eV, Å and e, by quantity."""

_SPELLINGS = {
    "ev": "eV", "electronvolt": "eV", "mev": "meV", "ha": "Hartree", "hartree": "Hartree", "eh": "Hartree",
    "ry": "Rydberg", "rydberg": "Rydberg", "kcal": "kcal", "kj": "kJ", "mol": "mol", "a": "Angstrom", "å": "Angstrom",
    "ang": "Angstrom", "angstrom": "Angstrom", "ångström": "Angstrom", "bohr": "Bohr", "a0": "Bohr", "nm": "nm",
    "d": "Debye", "debye": "Debye", "e": "e", "v": "V", "volt": "V", "mv": "mV", "gpa": "GPa", "kbar": "kbar",
    "pa": "Pa",
}  # fmt: skip


def quantity(name: str) -> str:
    """Row of :data:`UNITS` of a label or of positions, cell and esp_points."""
    if name in LABELS:
        return LABELS[name].quantity
    return GEOMETRY[name]


def unit_factor(name: str, unit: str, where: str) -> float:
    """Factor from a declared unit to the unit of this package.

    Remarks in brackets or after a comma are ignored: ``eV (total energy)`` is eV.

    Parameters
    ----------
    name : label, or positions, cell, esp_points.
    where : file, for messages.

    Raises
    ------
    DatasetError
        For a unit that is not in the table.
    """
    known = UNITS[quantity(name)]
    plain = _plain(unit)
    if plain not in known:
        raise DatasetError(
            f"{where}: unit {unit!r} of {name} is not known; use one of {', '.join(known)}, or convert the numbers"
        )
    return known[plain]


def _plain(unit: str) -> str:
    """A unit without remarks, in the spelling of the table."""
    text = re.sub(r"[\(\[].*", "", str(unit)).split(",")[0].strip()
    text = text.replace("·", "*").replace("²", "^2").replace("³", "^3").replace("**", "^").replace(" per ", "/")
    text = re.sub(r"\s+", "*", text)
    return re.sub(r"[^\W\d_][\w]*", lambda match: _SPELLINGS.get(match[0].lower(), match[0]), text)


def unit_factors(declared: Mapping[str, str], where: str) -> dict[str, float]:
    """Factors other than one by name.

    Raises
    ------
    DatasetError
        For a name that has no unit, or a unit that is not in the table.
    """
    names = [*LABELS, *GEOMETRY]
    factors = {}
    for name, unit in declared.items():
        if name not in names:
            raise DatasetError(f"{where}: a unit is declared for {name!r}; valid names: {', '.join(names)}")
        factors[name] = unit_factor(name, unit, where)
    if "positions" in factors:
        factors.setdefault("cell", factors["positions"])
    return {name: factor for name, factor in factors.items() if factor != 1.0}
