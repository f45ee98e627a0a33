"""``molcalc compare``: energies and charges at every fidelity of a model."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from molcalc.cli.options import Arguments, Subparsers, add_model_options, make_calculator

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator
    from molcalc.cli.input_structures import InputStructure

ZEROS = ("first", "lowest", "none")
PROPERTY_OF = {"relative_energy": "energy", "max_force": "forces"}
"""Properties of columns that are not called after one."""
MISSING = "-"
_EPILOG = """\
Energies are relative to the first structure (--relative-to first) of the same formula and charge, or to the lowest, at
each fidelity; without several structures of one formula they are total energies. Every fidelity is completed by the
dispersion it declares. A fidelity that was not trained on an element of a structure has "-" there.

examples:
  molcalc compare conformers.xyz --model runs/both
  molcalc compare water.xyz --model runs/both --charges
  molcalc compare conformers.xyz --model runs/both --csv > levels.csv
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
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON, charges and forces included")
    form.add_argument("--csv", action="store_true", help="print a line of comma-separated values per fidelity")
    add_model_options(parser, one_fidelity=False)
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Print a table, JSON or CSV."""
    from molcalc.cli.input_structures import read_frames

    frames = [frame for name in args.files for frame in read_frames(name)]
    calculator = make_calculator(args, one_fidelity=False)
    rows = [_compared(calculator, frame) for frame in frames]
    groups = [(row.formula, row.charge) for row in rows]
    zero = args.relative_to or ("first" if len(set(groups)) < len(groups) else "none")
    set_relative(rows, zero)
    names = [fidelity.name for fidelity in calculator.fidelities]
    if args.json:
        print(json.dumps(_values(calculator, rows, zero), indent=1, ensure_ascii=False))
    elif args.csv:
        _write_csv(rows, names, args.charges)
    else:
        _print(rows, names, zero, args.charges)
    return 0


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
    from molcalc.errors import MolcalcError

    try:
        results = calculator.compare_fidelities(frame.atoms)
        charge = calculator.resolve(frame.atoms).charge
    except MolcalcError as error:
        raise type(error)(f"{frame.label}: {error}") from error
    return ComparisonRow(frame, frame.atoms.get_chemical_formula(), charge, results, {})


def _largest_force(result: dict[str, Any]) -> float:
    import numpy as np

    return float(np.linalg.norm(result["forces"], axis=1).max())


def _values(calculator: MolCalculator, rows: list[ComparisonRow], zero: str) -> dict[str, Any]:
    import numpy as np

    from molcalc.properties import LABELS, PROPERTIES

    reported = {label.ase_name: label.unit for label in LABELS.values() if label.ase_name is not None}
    reported["energy_std"] = PROPERTIES["energy_std"].unit

    def at_fidelity(row: ComparisonRow, name: str) -> dict[str, Any] | None:
        if name not in row.results:
            return None
        relative = {"relative_energy": row.relative[name]} if row.relative else {}
        found = {key: row.results[name][key] for key in reported if key in row.results[name]}
        return {**relative, **{key: np.asarray(value).tolist() for key, value in found.items()}}

    made_by = calculator.todict()
    return {
        "model": made_by["model"],
        "model_hash": made_by["model_hash"],
        "units": reported,
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


def _write_csv(rows: list[ComparisonRow], names: list[str], charges: bool) -> None:
    """One line per structure and fidelity; what is not there is empty."""
    from molcalc.properties import PROPERTIES

    results = [result for row in rows for result in row.results.values()]
    columns = ["energy", "max_force"]
    columns += ["relative_energy"] if any(row.relative for row in rows) else []
    columns += ["energy_std"] if any("energy_std" in result for result in results) else []
    columns += ["charges"] if charges and any("charges" in result for result in results) else []
    writer = csv.writer(sys.stdout, lineterminator="\n")
    header = [f"{column} ({PROPERTIES[PROPERTY_OF.get(column, column)].unit})" for column in columns]
    writer.writerow(["file", "frame", "formula", "charge", "fidelity", *header])
    for row in rows:
        for name in names:
            cells: dict[str, Any] = {}
            if name in row.results:
                result = row.results[name]
                cells = {"energy": result["energy"], "max_force": _largest_force(result)}
                cells["relative_energy"] = row.relative.get(name, "")
                cells["energy_std"] = result.get("energy_std", "")
                cells["charges"] = " ".join(f"{q:.8f}" for q in result.get("charges", ()))
            place = [row.frame.source, row.frame.number, row.formula, row.charge, name]
            writer.writerow([*place, *(cells.get(column, "") for column in columns)])


def _print(rows: list[ComparisonRow], names: list[str], zero: str, charges: bool) -> None:
    from molcalc.cli.terminal import print_table

    kind = "total energies" if zero == "none" else f"relative to the {zero} structure of the same formula and charge"
    print(f"energies in eV, {kind}")
    lines = []
    for row in rows:
        shown = row.relative or {name: result["energy"] for name, result in row.results.items()}
        cells = [f"{shown[name]:.6f}" if name in shown else MISSING for name in names]
        lines.append([row.frame.source, str(row.frame.number), row.formula, str(row.charge), *cells])
    print_table(["file", "frame", "formula", "charge", *names], lines)
    for row in rows if charges else []:
        print(f"\ncharges in e, {row.frame.label}")
        found = {name: result["charges"] for name, result in row.results.items() if "charges" in result}
        print_table(
            ["atom", "", *names],
            [
                [str(k), symbol, *(f"{found[name][k]:.5f}" if name in found else MISSING for name in names)]
                for k, symbol in enumerate(row.frame.atoms.get_chemical_symbols())
            ],
        )
