"""``molcalc compare``: energies and charges at every fidelity of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from molcalc.cli.failures import Failures
from molcalc.cli.options import Arguments, Subparsers, add_model_options, input_paths, make_calculator
from molcalc.cli.table import Column, ShownTable, add_table_options, check_table_target, per_electronvolt, show_table

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator
    from molcalc.cli.input_structures import InputStructure

ZEROS = ("first", "lowest", "none")
_EPILOG = """\
Energies are relative to the first structure (--relative-to first) of the same formula and charge, or to the lowest, at
each fidelity; without several structures of one formula they are total energies. Every fidelity is completed by the
dispersion it declares. A fidelity that was not trained on an element of a structure has "-" there.

examples:
  molcalc compare conformers.xyz --model runs/both
  molcalc compare water.xyz --model runs/both --charges
  molcalc compare conformers.xyz --model runs/both --csv levels.csv
"""


@dataclass
class ComparisonRow:
    """Row of the comparison: one structure at every fidelity."""

    frame: InputStructure
    formula: str
    charge: int
    results: dict[str, dict[str, Any]]
    relative: dict[str, float]


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "compare", help="energies and charges at every fidelity", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="structures, all frames (FILE@INDEX selects; - = stdin)"
    )
    parser.add_argument("--charges", action="store_true", help="print the charge of every atom")
    parser.add_argument("--relative-to", choices=ZEROS, help="zero of energies (default: see below)")
    parser.add_argument("--force", action="store_true", help="replace an existing file, but no input")
    add_table_options(parser, unit=True)
    add_model_options(parser, one_fidelity=False)
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Print a table, JSON or CSV."""
    from molcalc.cli.input_structures import read_all, sources_of

    check_table_target(args, input_paths(sources_of(args.files), *(args.model or [])))
    failures = Failures(args.words, args.debug)
    frames = read_all(args.files, failures)
    if not frames:
        return failures.report(0)
    calculator = make_calculator(args, one_fidelity=False)
    rows = _rows(calculator, frames, failures)
    groups = [(row.formula, row.charge) for row in rows]
    zero = args.relative_to or ("first" if len(set(groups)) < len(groups) else "none")
    set_relative(rows, zero)
    names = [fidelity.name for fidelity in calculator.fidelities]
    factor = per_electronvolt(args.unit)
    table = _table(rows, names, args.charges, args.unit, factor)
    document = _values(calculator, rows, zero, table, factor)
    text = _text(rows, names, zero, args.charges, args.unit, factor) if rows else ""
    show_table(args, table, document, text)
    return failures.report(len(rows))


def _rows(calculator: MolCalculator, frames: Sequence[InputStructure], failures: Failures) -> list[ComparisonRow]:
    """Structures that can be compared; the others go to ``failures``."""
    from molcalc.errors import MolcalcError

    rows = []
    for frame in frames:
        try:
            rows.append(_compared(calculator, frame))
        except MolcalcError as error:
            failures.add(type(error)(f"{frame.label}: {error}"))
    return rows


def set_relative(rows: list[ComparisonRow], zero: str) -> None:
    """Fill in the energies relative to the first or lowest structure of the same formula and charge."""
    zeros: dict[tuple[str, str, int], float] = {}
    keys = [[(name, row.formula, row.charge) for name in row.results] for row in rows]
    for row, found in zip(rows, keys):
        for key in found:
            energy = row.results[key[0]]["energy"]
            before = zeros.setdefault(key, energy)
            zeros[key] = min(before, energy) if zero == "lowest" else before
    for row, found in zip(rows, keys):
        row.relative = {key[0]: row.results[key[0]]["energy"] - zeros[key] for key in found} if zero != "none" else {}


def _compared(calculator: MolCalculator, frame: InputStructure) -> ComparisonRow:
    results = calculator.compare_fidelities(frame.atoms)
    charge = calculator.resolve(frame.atoms).charge
    return ComparisonRow(frame, frame.atoms.get_chemical_formula(), charge, results, {})


def _largest_force(result: dict[str, Any]) -> float:
    import numpy as np

    return float(np.linalg.norm(result["forces"], axis=1).max())


def _values(
    calculator: MolCalculator, rows: list[ComparisonRow], zero: str, table: ShownTable, factor: float
) -> dict[str, Any]:
    import numpy as np

    from molcalc.properties import LABELS, PROPERTIES

    unit = {column.name: column.unit for column in table.columns}["energy"]
    reported = {label.ase_name: label.unit for label in LABELS.values() if label.ase_name is not None}
    reported["energy_std"] = PROPERTIES["energy_std"].unit
    scaled = {"energy": unit, "energy_std": unit, "forces": f"{unit}/Å", "relative_energy": unit}

    def at_fidelity(row: ComparisonRow, name: str) -> dict[str, Any] | None:
        if name not in row.results:
            return None
        found = {"relative_energy": row.relative[name]} if row.relative else {}
        found.update({key: row.results[name][key] for key in reported if key in row.results[name]})
        return {key: (np.asarray(value) * (factor if key in scaled else 1.0)).tolist() for key, value in found.items()}

    made_by = calculator.todict()
    return {
        "model": made_by["model"],
        "model_hash": made_by["model_hash"],
        "units": {**reported, **{key: text for key, text in scaled.items() if key in reported}},
        "relative_to": zero,
        "fidelities": {
            fidelity.name: dict(words) for fidelity, words in zip(calculator.fidelities, calculator.completed_by)
        },
        "structures": [
            {
                "file": row.frame.source,
                "frame": row.frame.number,
                "formula": row.formula,
                "charge": row.charge,
                "symbols": row.frame.atoms.get_chemical_symbols(),
                "fidelities": {each.name: at_fidelity(row, each.name) for each in calculator.fidelities},
            }
            for row in rows
        ],
    }


PLACE = (Column("file", text=True), Column("frame"), Column("formula", text=True), Column("charge"))


def _table(rows: list[ComparisonRow], names: list[str], charges: bool, unit: str, factor: float) -> ShownTable:
    """One row per structure and fidelity, for files of values."""
    results = [result for row in rows for result in row.results.values()]
    columns = [
        *PLACE,
        Column("fidelity", text=True),
        Column("energy", unit=unit),
        Column("max_force", unit=f"{unit}/Å"),
    ]
    columns += [Column("relative_energy", unit=unit)] if any(row.relative for row in rows) else []
    columns += [Column("energy_std", unit=unit)] if any("energy_std" in result for result in results) else []
    columns += [Column("charges", unit="e")] if charges and any("charges" in result for result in results) else []
    table = ShownTable(columns)
    for row in rows:
        for name in names:
            cells: dict[str, Any] = {}
            if name in row.results:
                result = row.results[name]
                cells = {"energy": factor * result["energy"], "max_force": factor * _largest_force(result)}
                if name in row.relative:
                    cells["relative_energy"] = factor * row.relative[name]
                if "energy_std" in result:
                    cells["energy_std"] = factor * result["energy_std"]
                cells["charges"] = " ".join(f"{q:.8f}" for q in result.get("charges", ())) or None
            place = [row.frame.source, row.frame.number, row.formula, row.charge, name]
            table.rows.append([*place, *(cells.get(column.name) for column in columns[len(place) :])])
    return table


def _text(rows: list[ComparisonRow], names: list[str], zero: str, charges: bool, unit: str, factor: float) -> str:
    """Fidelities side by side, for people."""
    kind = "total energies" if zero == "none" else f"relative to the {zero} structure of the same formula and charge"
    table = ShownTable([*PLACE, *(Column(name, form=".6f") for name in names)])
    for row in rows:
        shown = row.relative or {name: result["energy"] for name, result in row.results.items()}
        energies = [factor * shown[name] if name in shown else None for name in names]
        table.rows.append([row.frame.source, row.frame.number, row.formula, row.charge, *energies])
    parts = [f"energies in {unit}, {kind}", str(table)]
    for row in rows if charges else []:
        found = {name: result["charges"] for name, result in row.results.items() if "charges" in result}
        table = ShownTable([Column("atom"), Column("", text=True), *(Column(name, form=".5f") for name in names)])
        for k, symbol in enumerate(row.frame.atoms.get_chemical_symbols()):
            table.rows.append([k, symbol, *(float(found[name][k]) if name in found else None for name in names)])
        parts += [f"\ncharges in e, {row.frame.label}", str(table)]
    return "\n".join(parts)
