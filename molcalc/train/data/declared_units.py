"""Units that data are declared in: their spellings, and factors to eV, Å and e."""

from __future__ import annotations

import re
from collections.abc import Mapping

from molcalc.errors import DatasetError
from molcalc.properties import LABELS, LENGTH, Quantity

GEOMETRY = ("positions", "cell", "esp_points")
"""What else has a unit: lengths."""
QUANTITIES: dict[str, Quantity] = {
    **{name: label.quantity for name, label in LABELS.items()},
    **dict.fromkeys(GEOMETRY, LENGTH),
}
"""What every array with a unit measures, by name."""
STANDARD_UNITS = {name: next(iter(quantity.factors)) for name, quantity in QUANTITIES.items()}
"""Units of this package as files declare them."""

_SPELLINGS = {
    "ev": "eV", "electronvolt": "eV", "mev": "meV", "ha": "Hartree", "hartree": "Hartree", "eh": "Hartree",
    "ry": "Rydberg", "rydberg": "Rydberg", "kcal": "kcal", "kj": "kJ", "mol": "mol", "a": "Angstrom", "å": "Angstrom",
    "ang": "Angstrom", "angstrom": "Angstrom", "ångström": "Angstrom", "bohr": "Bohr", "a0": "Bohr", "nm": "nm",
    "d": "Debye", "debye": "Debye", "e": "e", "v": "V", "volt": "V", "mv": "mV", "gpa": "GPa", "kbar": "kbar",
    "pa": "Pa",
}  # fmt: skip


def unit_factor(name: str, unit: str, where: str) -> float:
    """Factor from a declared unit to the unit of this package.

    Remarks in brackets or after a comma are ignored: ``eV (total energy)`` is eV.

    Parameters
    ----------
    name : label, or positions, cell, esp_points.
    where : file, for messages.

    Returns
    -------
    number that values in the declared unit are multiplied by

    Raises
    ------
    DatasetError
        For a unit that is not in the table.
    """
    known = QUANTITIES[name].factors
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

    Returns
    -------
    factor by name; names whose factor is 1 are left out

    Raises
    ------
    DatasetError
        For a name that has no unit, or a unit that is not in the table.
    """
    factors = {}
    for name, unit in declared.items():
        if name not in QUANTITIES:
            raise DatasetError(f"{where}: a unit is declared for {name!r}; valid names: {', '.join(QUANTITIES)}")
        factors[name] = unit_factor(name, unit, where)
    if "positions" in factors:
        factors.setdefault("cell", factors["positions"])
    return {name: factor for name, factor in factors.items() if factor != 1.0}


def manifest_factors(
    units: Mapping[str, str], known: Mapping[str, str], declared: Mapping[str, str], present: set[str], where: str
) -> dict[str, float]:
    """Factors from the manifest of a file and what the user declares; what has a unit must have it declared.

    Parameters
    ----------
    units : manifest of the file, by its own names.
    known : names of the file that differ from names of labels.
    present : labels that the file holds.

    Returns
    -------
    factor by name; names whose factor is 1 are left out

    Raises
    ------
    DatasetError
        When the unit of a label is declared nowhere.
    """
    said = {known.get(key, key): unit for key, unit in units.items()}
    said = {name: unit for name, unit in said.items() if name in QUANTITIES}
    said.update(declared)
    for name in ("charges", "spin_charges"):  # charges have one unit everywhere
        said.setdefault(name, "e")
    missing = sorted(name for name in present if name in QUANTITIES and name not in said)
    if missing:
        example = ", ".join(f'"{name}": "…"' for name in missing)
        raise DatasetError(
            f"{where} does not say the unit of {', '.join(missing)}: declare it with units={{{example}}}, "
            "or write a manifest 'units' into the file"
        )
    return unit_factors(said, where)
