"""``molcalc sae``: self-atomic energies, the part of total energies that the composition alone explains."""

from __future__ import annotations

import json
import sys
from pathlib import Path

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
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Fit, print what is left to learn, and write the file."""
    from molcalc.io.files import write_atomic
    from molcalc.io.targets import check_file
    from molcalc.train.data import open_dataset
    from molcalc.train.start.reference_energies import as_yaml, fit_by_fidelity

    if args.output != "-":
        check_file(Path(args.output), force=args.force, inputs=input_paths(parse_data(args.data)))
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
    write_atomic(Path(args.output), text.encode())
    for name, found in fits.items():
        print(
            f"{name}: {len(found.energies)} elements from {found.n_systems} energies; "
            f"residuals have a standard deviation of {found.residual:.4g} eV"
        )
    print(f"written to {args.output}")
    return 0


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())
