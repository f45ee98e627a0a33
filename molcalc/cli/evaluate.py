"""``molcalc evaluate``: errors of a model on labelled data."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molcalc.cli.options import (
    DATA_HELP,
    Arguments,
    Subparsers,
    add_labels,
    add_units,
    input_paths,
    number,
    parse_data,
    parse_labels,
    parse_units,
)

if TYPE_CHECKING:
    from molcalc.train.report.evaluation import Evaluation

GROUPS = ("formula", "n_atoms", "element", "fidelity")
PRINTED_GROUPS = 20
_EPILOG = """\
The model is compared with labels as it was trained: with its Coulomb energy, without the dispersion that calculators
add; --with-dispersion where the labels contain it.

examples:
  molcalc evaluate test.db --model runs/water
  molcalc evaluate pbe0=test.h5 --model runs/both --by formula element
  molcalc evaluate test.db --model runs/water --output predictions.db
  molcalc evaluate test.db --model runs/water --annotate water1
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "evaluate", help="errors of a model on labelled data", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument("data", nargs="+", metavar="DATA", help=DATA_HELP)
    parser.add_argument("--model", required=True, help="folder of a run, model directory, or published name")
    parser.add_argument("--with-dispersion", action="store_true", help="the labels contain the model's dispersion")
    parser.add_argument("--fidelity", metavar="NAME", help="of the model, for data without one (NAME=FILE)")
    parser.add_argument(
        "--by",
        nargs="*",
        metavar="GROUP",
        default=list(GROUPS),
        help=f"errors by group: {', '.join(GROUPS)} (default all; nothing: none)",
    )
    parser.add_argument(
        "--all", action="store_true", help=f"all groups, not the {PRINTED_GROUPS} with the largest errors"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, in eV, eV/Å, e·Å, e, V")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write structures with predictions (.db, .json, .xyz, …)"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing output file")
    parser.add_argument(
        "--annotate", metavar="NAME", help="add predictions to the rows of DATA, as keys NAME_energy, …"
    )
    parser.add_argument("--dipole-source", choices=("auto", "distributed", "charges"), default="auto",
                        help="charges that make the dipole (default auto, as in the calculator)")  # fmt: skip
    parser.add_argument("--esp-radius-factor", type=number(float, 0), default=1.4, metavar="X",
                        help="leave out ESP points inside X van der Waals radii (default 1.4)")  # fmt: skip
    parser.add_argument("--esp-max", type=number(float, 0, open_end=True), metavar="V", help="leave out larger |ESP|")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default auto")
    add_units(parser)
    add_labels(parser)
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Print errors; write predictions if asked to."""
    from molcalc.errors import ConfigError, suggest
    from molcalc.io.targets import check_file
    from molcalc.pretrained.sources import read_model
    from molcalc.train.data import open_dataset
    from molcalc.train.data.comparison import Comparison
    from molcalc.train.data.declared_units import STANDARD_UNITS
    from molcalc.train.data.formats import FORMATS
    from molcalc.train.loop.processes import chosen_device
    from molcalc.train.report.evaluation import Evaluator, evaluate_part
    from molcalc.train.report.prediction_writer import PredictionWriter

    for kind in args.by:
        if kind not in GROUPS:
            raise ConfigError(f"--by {kind!r}{suggest(kind, GROUPS)}; groups are {', '.join(GROUPS)}")
    if args.output:
        check_file(Path(args.output), force=args.force, inputs=input_paths(parse_data(args.data), args.model))
        if Path(args.output).suffix.lower() not in FORMATS:
            raise ConfigError(f"-o {args.output}: files of structures end in {', '.join(FORMATS)}")
    checkpoint = read_model(args.model)
    data = open_dataset(parse_data(args.data), units=parse_units(args.units), labels=parse_labels(args.labels))
    comparison = Comparison(
        esp_radius_factor=args.esp_radius_factor, esp_max=args.esp_max, dipole_source=args.dipole_source
    )
    device = chosen_device(args.device)
    results = PredictionWriter(data) if args.output or args.annotate else None
    if args.annotate:
        assert results is not None
        results.check_annotation(args.annotate)
    evaluator = Evaluator(checkpoint, comparison, device=device, with_dispersion=args.with_dispersion)
    found = evaluate_part(evaluator, data, fidelity=args.fidelity, on_batch=results)
    if args.json:
        print(json.dumps(_values(args, found, len(data)), indent=1, ensure_ascii=False))
    else:
        _print(args, found, len(data))
    if results is not None and args.output:
        results.write(Path(args.output), {"model": args.model, "model_hash": checkpoint.hash, "units": STANDARD_UNITS})
    if results is not None and args.annotate:
        results.annotate(args.annotate)
    return 0


def _values(args: argparse.Namespace, found: Evaluation, n_systems: int) -> dict[str, Any]:
    from molcalc.properties import LABELS

    values: dict[str, Any] = {
        "model": args.model,
        "systems": n_systems,
        "units": {name: LABELS[name].unit for name in found.overall},
        "errors": found.overall,
        "by": {kind: {name: row for name, row in found.groups.get(kind, {}).items() if row} for kind in args.by},
    }
    if "esp" in found.overall:
        values["esp_points"] = {"esp_radius_factor": args.esp_radius_factor, "esp_max": args.esp_max}
    return values


def _print(args: argparse.Namespace, found: Evaluation, n_systems: int) -> None:
    from molcalc.cli.terminal import print_table
    from molcalc.train.report.display import ERROR_HEADER, error_rows, esp_note, group_table

    print(f"{n_systems} systems, {args.model}\n")
    print_table(ERROR_HEADER, error_rows(found.overall))
    if "esp" in found.overall:
        print(esp_note(args.esp_radius_factor, args.esp_max))
    for kind in args.by:
        table = {name: row for name, row in found.groups.get(kind, {}).items() if row}
        if len(table) < 2:
            continue
        header, rows = group_table(table, kind)
        shown = rows if args.all else rows[:PRINTED_GROUPS]
        print()
        print_table(header, shown)
        if len(shown) < len(rows):
            print(f"… {len(rows) - len(shown)} more: --all")
