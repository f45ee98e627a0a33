"""``molcalc evaluate``: errors of a model on labelled data."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molcalc.cli.options import (
    DATA_HELP,
    Arguments,
    Subparsers,
    add_extrapolation,
    add_labels,
    add_skip_bad,
    add_units,
    input_paths,
    number,
    parse_data,
    parse_labels,
    parse_units,
)
from molcalc.cli.table import (
    Column,
    ShownTable,
    add_table_options,
    check_table_target,
    per_electronvolt,
    show_table,
    text_table,
)

if TYPE_CHECKING:
    import numpy as np

    from molcalc.batch import AtomicBatch
    from molcalc.train.report.evaluation import Evaluation, Predictions

GROUPS = ("formula", "n_atoms", "element", "fidelity")
PRINTED_GROUPS = 20
SCALED = ("mae", "rmse")
"""Errors that have the unit of their property."""
_EPILOG = """\
The model is compared with labels as it was trained: with its Coulomb energy, without the dispersion that calculators
add; --with-dispersion where the labels contain it.

examples:
  molcalc evaluate test.db --model runs/water
  molcalc evaluate pbe0=test.h5 --model runs/both --by formula element
  molcalc evaluate test.db --model runs/water --output predictions.db
  molcalc evaluate test.db --model runs/water --annotate water1
  molcalc evaluate test.db --model runs/water --plot parity.png
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "evaluate", help="errors of a model on labelled data", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument("data", nargs="+", metavar="DATA", help=DATA_HELP)
    parser.add_argument("--model", required=True, action="append", metavar="MODEL",
                        help="folder of a run, model directory, or published name; repeat it for an ensemble of several"
                        " runs")  # fmt: skip
    parser.add_argument("--with-dispersion", action="store_true", help="the labels contain the model's dispersion")
    parser.add_argument("--coulomb", default="auto", metavar="METHOD",
                        help="sum of the Coulomb energy, such as dsf or ewald (default auto: as trained)")  # fmt: skip
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
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write structures with predictions (.db, .json, .xyz, …)"
    )
    parser.add_argument("--plot", metavar="FILE", help="picture of labels and predictions, as PNG")
    parser.add_argument("--force", action="store_true", help="replace existing files, but no input")
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
    add_skip_bad(parser)
    add_extrapolation(parser)
    add_table_options(parser, unit=True, usual=None)
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Print errors; write predictions if asked to."""
    from molcalc.assembly.opening import open_model
    from molcalc.errors import ConfigError, suggest
    from molcalc.io.files import together
    from molcalc.io.targets import check_distinct, reserved
    from molcalc.progress import progress_bar
    from molcalc.train.data import open_dataset
    from molcalc.train.data.comparison import Comparison
    from molcalc.train.data.declared_units import STANDARD_UNITS
    from molcalc.train.data.formats import FORMATS
    from molcalc.train.loop.processes import chosen_device
    from molcalc.train.report.error_plots import draw_parity
    from molcalc.train.report.evaluation import Evaluator, evaluate_part
    from molcalc.train.report.figures import PNG, save_figure, style
    from molcalc.train.report.prediction_writer import PredictionWriter

    for kind in args.by:
        if kind not in GROUPS:
            raise ConfigError(f"--by {kind!r}{suggest(kind, GROUPS)}; groups are {', '.join(GROUPS)}")
    inputs = input_paths(parse_data(args.data), *args.model)
    outputs = [Path(name) for name in (args.output, args.plot) if name]
    check_distinct(outputs)
    check_table_target(args, inputs, outputs)
    if args.plot:
        if Path(args.plot).suffix.lower() != PNG:
            raise ConfigError(f"--plot {args.plot}: pictures end in {PNG}")
        with style():  # says that matplotlib is not there, before the work
            pass
        args.held.enter_context(reserved(Path(args.plot), force=args.force, inputs=inputs))
    if args.output:
        if Path(args.output).suffix.lower() not in FORMATS:
            raise ConfigError(f"-o {args.output}: files of structures end in {', '.join(FORMATS)}")
        args.held.enter_context(reserved(Path(args.output), force=args.force, inputs=inputs))
    model = open_model(args.model)
    data = open_dataset(
        parse_data(args.data),
        units=parse_units(args.units),
        labels=parse_labels(args.labels),
        skip_bad=args.skip_bad,
    )
    comparison = Comparison(
        esp_radius_factor=args.esp_radius_factor, esp_max=args.esp_max, dipole_source=args.dipole_source
    )
    device = chosen_device(args.device)
    results = PredictionWriter(data) if args.output or args.annotate else None
    if args.annotate:
        assert results is not None
        results.check_annotation(args.annotate)
    evaluator = Evaluator(model, comparison, device=device, with_dispersion=args.with_dispersion, coulomb=args.coulomb)
    evaluator.judge(data, args.on_extrapolation, args.fidelity)
    with progress_bar(total=len(data), desc="evaluate", unit="structure") as bar:

        def seen(systems: np.ndarray, batch: AtomicBatch, predictions: Predictions) -> None:
            if results is not None:
                results(systems, batch, predictions)
            bar.update(len(systems))

        found = evaluate_part(evaluator, data, fidelity=args.fidelity, on_batch=seen)
    values = _values(args, found, len(data))
    with together():
        show_table(args, _table(values), values, text=_text(args, found, len(data), values))
        if args.plot:
            save_figure(draw_parity(found, f"{len(data)} systems"), Path(args.plot))
        if results is not None and args.output:
            results.write(Path(args.output), {"model": _named(args), "model_hash": model.hash, "units": STANDARD_UNITS})
        if results is not None and args.annotate:
            results.annotate(args.annotate)
    return 0


def _named(args: argparse.Namespace) -> str:
    return ", ".join(args.model)


Errors = dict[str, dict[str, float]]
"""By property: ``mae``, ``rmse`` and the like, and ``n``."""


def _values(args: argparse.Namespace, found: Evaluation, n_systems: int) -> dict[str, Any]:
    """What JSON holds, in the unit that is asked for."""
    from molcalc.properties import LABELS

    units = {name: LABELS[name].unit for name in found.overall}
    units.update({name: unit for name, (unit, _) in scales(args.unit).items() if name in units})
    groups = {kind: found.groups.get(kind, {}) for kind in args.by}
    values: dict[str, Any] = {
        "model": _named(args),
        "systems": n_systems,
        "units": units,
        "errors": scaled(found.overall, args.unit),
        "by": {
            kind: {name: scaled(row, args.unit) for name, row in rows.items() if row} for kind, rows in groups.items()
        },
    }
    if "esp" in found.overall:
        values["esp_points"] = {"esp_radius_factor": args.esp_radius_factor, "esp_max": args.esp_max}
    return values


def scales(unit: str | None) -> dict[str, tuple[str, float]]:
    """Unit and factor of the errors that an energy unit changes, by property; none where none is asked for."""
    if unit is None:
        return {}
    factor = per_electronvolt(unit)
    return {"energy": (unit, factor), "forces": (f"{unit}/Å", factor)}


def scaled(errors: Errors, unit: str | None) -> Errors:
    """Errors in the unit that is asked for; numbers of values stay."""
    changed = scales(unit)
    return {
        name: {kind: value * changed[name][1] if kind in SCALED else value for kind, value in found.items()}
        if name in changed
        else found
        for name, found in errors.items()
    }


def _table(values: dict[str, Any]) -> ShownTable:
    """All errors in rows, for files of values: of all systems, and of every group."""
    parts = [("all", "", values["errors"])]
    parts += [(kind, name, errors) for kind, rows in values["by"].items() for name, errors in rows.items()]
    kinds = list(dict.fromkeys(kind for *_, errors in parts for found in errors.values() for kind in found))
    names = ("by", "group", "property", "unit", *kinds)
    table = ShownTable([Column(name, text=True) for name in names])
    for by, group, errors in parts:
        for name, found in errors.items():
            table.rows.append([by, group, name, values["units"][name], *(found.get(kind) for kind in kinds)])
    return table


def _text(args: argparse.Namespace, found: Evaluation, n_systems: int, values: dict[str, Any]) -> str:
    """What the terminal shows: the usual units, or the one that is asked for."""
    from molcalc.train.report.display import ERROR_HEADER, error_rows, esp_note, group_table, three_digits

    def table_of(errors: Errors) -> ShownTable:
        if args.unit is None:
            return text_table(ERROR_HEADER, error_rows(errors))
        rows = [
            [
                name,
                *(three_digits(row[kind]) for kind in SCALED),
                values["units"][name],
                three_digits(row.get("r2", math.nan)),
                str(int(row["n"])),
            ]
            for name, row in scaled(errors, args.unit).items()
        ]
        return text_table(["property", "MAE", "RMSE", "unit", "R²", "values"], rows)

    parts = [f"{n_systems} systems, {_named(args)}\n", str(table_of(found.overall))]
    if "esp" in found.overall:
        parts.append(esp_note(args.esp_radius_factor, args.esp_max))
    for kind in args.by:
        table = {name: row for name, row in found.groups.get(kind, {}).items() if row}
        if len(table) < 2:
            continue
        header, rows = group_table(table, kind)
        shown = rows if args.all else rows[:PRINTED_GROUPS]
        parts += ["", str(text_table(header, shown))]
        if len(shown) < len(rows):
            parts.append(f"… {len(rows) - len(shown)} more: --all")
    return "\n".join(parts)
