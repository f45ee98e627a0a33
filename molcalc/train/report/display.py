"""Errors in the units that people think in."""

from __future__ import annotations

import math
from collections.abc import Mapping

from molcalc.units import DEBYE, KCAL_PER_MOL

SCALES: dict[str, tuple[tuple[str, float], ...]] = {
    "energy": (("meV", 1e3), ("kcal/mol", 1 / KCAL_PER_MOL)),
    "forces": (("meV/Å", 1e3), ("kcal/mol/Å", 1 / KCAL_PER_MOL)),
    "dipole": (("e·Å", 1.0), ("D", 1 / DEBYE)),
    "quadrupole": (("e·Å²", 1.0), ("D·Å", 1 / DEBYE)),
    "charges": (("e", 1.0),),
    "spin_charges": (("e", 1.0),),
    "esp": (("V", 1.0), ("kcal/mol/e", 1 / KCAL_PER_MOL)),
}
"""Units of errors of each property, the usual one first, with their factor from eV, Å, e and V."""

TITLES = {
    "energy": "energy",
    "forces": "forces",
    "dipole": "dipole",
    "quadrupole": "quadrupole",
    "charges": "charges",
    "spin_charges": "spin charges",
    "esp": "potential (ESP)",
}
DIGITS = 3
ERROR_HEADER = ["property", "MAE", "RMSE", "MAE", "RMSE", "values"]
"""Columns of :func:`error_rows`."""


def number(value: float) -> str:
    """Three significant digits, without an exponent where that is readable."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else str(value)
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if not -5 < size < 6:
        return f"{value:.{DIGITS - 1}e}"
    return f"{value:.{max(0, DIGITS - 1 - size)}f}"


def with_unit(name: str, value: float, which: int = 0) -> str:
    """An error of a property in one of its units: "12.3 meV".

    Parameters
    ----------
    value : in eV, eV/Å, e·Å, e·Å², e, V.
    which : position in the row of :data:`SCALES`; the last one where there are fewer.
    """
    unit, factor = SCALES[name][min(which, len(SCALES[name]) - 1)]
    return f"{number(value * factor)} {unit}"


def error_rows(table: dict[str, dict[str, float]]) -> list[list[str]]:
    """Rows of property, MAE and RMSE in the usual unit, the same in the second unit, and number of values."""
    rows = []
    for name, errors in table.items():
        usual = [with_unit(name, errors[kind]) for kind in ("mae", "rmse")]
        second = [with_unit(name, errors[kind], 1) for kind in ("mae", "rmse")] if len(SCALES[name]) > 1 else ["", ""]
        rows.append([TITLES[name], *usual, *second, str(int(errors["n"]))])
    return rows


def group_table(
    table: Mapping[str, Mapping[str, Mapping[str, float]]], title: str
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of mean absolute errors by group; numbers of atoms in their order, others by error."""
    names = [name for name in TITLES if any(name in row for row in table.values())]
    header = [title, *(f"{TITLES[name]} MAE ({SCALES[name][0][0]})" for name in names)]
    if all(group.isdigit() for group in table):
        order = sorted(table, key=int)
    else:
        order = sorted(table, key=lambda group: -table[group].get(names[0], {"mae": 0.0})["mae"])
    rows = [
        [
            group,
            *(number(SCALES[name][0][1] * table[group][name]["mae"]) if name in table[group] else "" for name in names),
        ]
        for group in order
    ]
    return header, rows


def esp_note(radius_factor: float, largest: float | None) -> str:
    """Which points the errors of the potential are over."""
    text = f"ESP errors are over points at least {radius_factor:g} van der Waals radii away from every atom"
    return text + ("." if largest is None else f" with |V| up to {largest:g} V.")
