"""``molcalc sae``: self-atomic energies, the part of total energies that the composition alone explains."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molcalc.cli.options import (
    DATA_HELP,
    Arguments,
    Subparsers,
    add_labels,
    add_units,
    input_paths,
    parse_data,
    parse_labels,
    parse_units,
)
from molcalc.cli.table import Column, ShownTable, add_table_options, check_table_target, per_electronvolt, show_table

if TYPE_CHECKING:
    from molcalc.train.start.reference_energies import ReferenceFit

_EPILOG = """\
Linear regression of total energies on compositions, repeated without the outermost 2 % of the residuals on either
side. The file has one line 'Z: energy in eV' per element, or a block of them for each fidelity.

examples:
  molcalc sae water.db sae.yaml
  molcalc sae gfn2=low.h5 pbe0=high.h5 sae.yaml
  molcalc sae water.db -
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "sae", help="fit self-atomic energies to a database", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument("data", nargs="+", metavar="DATA", help=DATA_HELP)
    parser.add_argument("output", metavar="OUT", help="YAML file to write (- = standard output)")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    add_units(parser)
    add_labels(parser)
    add_table_options(parser, unit=True)
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Fit, print what is left to learn, and write the file."""
    from molcalc.errors import ConfigError
    from molcalc.io.files import together, write_atomic
    from molcalc.io.targets import reserved
    from molcalc.train.data import open_dataset
    from molcalc.train.start.reference_energies import as_yaml, fit_by_fidelity

    outputs = [] if args.output == "-" else [Path(args.output)]
    check_table_target(args, input_paths(parse_data(args.data)), outputs)
    if args.output == "-" and (args.json or args.csv == "-"):
        raise ConfigError("OUT, --json and --csv write to standard output: name a file for all but one")
    if args.output != "-":
        inputs = input_paths(parse_data(args.data))
        args.held.enter_context(reserved(Path(args.output), force=args.force, inputs=inputs))
    dataset = open_dataset(parse_data(args.data), units=parse_units(args.units), labels=parse_labels(args.labels))
    fits = fit_by_fidelity(dataset)
    if len(fits) == 1:
        text = as_yaml(next(iter(fits.values())).energies)
    else:
        blocks = {name: as_yaml(found.energies) for name, found in fits.items()}
        text = "".join(
            f"{json.dumps(name, ensure_ascii=False)}:\n" + _indented(block) for name, block in blocks.items()
        )
    if args.output == "-":
        sys.stdout.write(text)
        return 0
    lines = [
        f"{name}: {len(found.energies)} elements from {found.n_systems} energies; "
        f"residuals have a standard deviation of {found.residual:.4g} eV"
        for name, found in fits.items()
    ]
    with together():
        write_atomic(Path(args.output), text.encode())
        show_table(args, *_table(fits, args.unit), "\n".join([*lines, f"written to {args.output}"]))
    return 0


def _table(fits: Mapping[str, ReferenceFit], unit: str) -> tuple[ShownTable, dict[str, Any]]:
    """One row per fidelity and element; and the same by fidelity, for JSON."""
    from molcalc.units import SYMBOLS

    factor = per_electronvolt(unit)
    columns = [Column("fidelity", text=True), Column("element", text=True), Column("energy", unit=unit)]
    table, by_fidelity = ShownTable(columns), {}
    for name, found in fits.items():
        energies = {SYMBOLS[z]: factor * energy for z, energy in found.energies.items()}
        table.rows += [[name, symbol, energy] for symbol, energy in energies.items()]
        by_fidelity[name] = {
            "energies": energies, "residual": factor * found.residual, "systems": found.n_systems,
        }  # fmt: skip
    return table, {"unit": unit, "fidelities": by_fidelity}


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())
