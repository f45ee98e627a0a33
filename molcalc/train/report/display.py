"""Errors of a model as text, in the units that people think in."""

from __future__ import annotations

import math
from collections.abc import Mapping

from molcalc.properties import LABELS, Property

DIGITS = 3
ERROR_HEADER = ["property", "MAE", "RMSE", "MAE", "RMSE", "R²", "values"]
"""Columns of :func:`error_rows`."""


def three_digits(value: float) -> str:
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
    value : in the unit of the property (eV, eV/Å, eV/Å³, e·Å, e·Å², e, V).
    which : position among the units that the property is shown in; the last one where there are fewer.

    Returns
    -------
    number of three digits with its unit
    """
    shown = LABELS[name].shown
    unit, factor = shown[min(which, len(shown) - 1)]
    return f"{three_digits(value * factor)} {unit}"


def error_rows(table: dict[str, dict[str, float]]) -> list[list[str]]:
    """Rows of property, MAE and RMSE in the usual unit, the same in the second unit, R² and number of values."""
    rows = []
    for name, errors in table.items():
        usual = [with_unit(name, errors[kind]) for kind in ("mae", "rmse")]
        has_second = len(LABELS[name].shown) > 1
        second = [with_unit(name, errors[kind], 1) if has_second else "" for kind in ("mae", "rmse")]
        share = f"{errors['r2']:.4f}" if "r2" in errors else ""
        rows.append([LABELS[name].title, *usual, *second, share, str(int(errors["n"]))])
    return rows


def group_table(
    table: Mapping[str, Mapping[str, Mapping[str, float]]], title: str
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of mean absolute errors by group; numbers of atoms in their order, others by error."""
    labels = [label for name, label in LABELS.items() if any(name in row for row in table.values())]
    header = [title, *(f"{label.title} MAE ({label.shown[0][0]})" for label in labels)]
    if all(group.isdigit() for group in table):
        order = sorted(table, key=int)
    else:
        order = sorted(table, key=lambda group: -table[group].get(labels[0].name, {"mae": 0.0})["mae"])

    def cell(label: Property, errors: Mapping[str, Mapping[str, float]]) -> str:
        return three_digits(label.shown[0][1] * errors[label.name]["mae"]) if label.name in errors else ""

    return header, [[group, *(cell(label, table[group]) for label in labels)] for group in order]


def esp_note(radius_factor: float, largest: float | None) -> str:
    """Note that says over which points the errors of the potential are taken."""
    text = f"ESP errors are over points at least {radius_factor:g} van der Waals radii away from every atom"
    return text + ("." if largest is None else f" with |V| up to {largest:g} V.")
