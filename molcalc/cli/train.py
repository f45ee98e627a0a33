"""``molcalc train``: from a database to a calculator."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from molcalc.cli.options import (
    DATA_HELP,
    Arguments,
    Subparsers,
    input_paths,
)
from molcalc.cli.table import Column, ShownTable, add_table_options, check_table_target, show_table, text_table
from molcalc.cli.terminal import log_shown_from
from molcalc.cli.training_options import add_training_options, said_options, setting_names

if TYPE_CHECKING:
    from molcalc.train.fitting import FitResult

_EPILOG = """\
Options come from the recommended values of the model, then the --config files in their order, then --set and the
options below. --config RUN/training.yaml repeats a run: its data, options and parts.
A run goes on with --resume, with its own data and options where none are given: to its end when it was interrupted, or
further (--epochs), also with another rate, batch size or more data; --resume auto begins it where there is none yet.
SIGINT and SIGTERM save and stop, SIGUSR1 saves and goes on.
Several processes: torchrun --no-python --nproc-per-node 2 molcalc train …

examples:
  molcalc train water.db --model aimnet2 --output runs/water
  molcalc train efd.npz esp.npz --model physnet-dcm --output runs/co2 --valid valid_efd.npz valid_esp.npz
  molcalc train pbe0=high.h5 --model aimnet2 --output runs/pbe0 --set loss.weights.forces=10
  molcalc train water.db --config fine_tuning.yaml --init wb97m-d3 --output runs/tuned
  molcalc train --output runs/water --resume --epochs 400
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("train", help="train a model on a database", description=__doc__, epilog=_EPILOG)
    parser.add_argument("data", nargs="*", metavar="DATA", help=DATA_HELP)
    parser.add_argument("-o", "--output", required=True, metavar="RUN", help="folder of the run, which is the model")
    parser.add_argument(
        "--model",
        metavar="KIND",
        help="aimnet2, physnet-dcm or noneq-dcm (with --init: that of MODEL); aimnet2-dcm or aimnet2-noneq-dcm put a "
        "head of distributed charges on the AIMNet2 of --init; conformer-vae is a generator of structures",
    )
    parser.add_argument(
        "--resume", nargs="?", const="yes", metavar="auto",
        help="go on with the run in RUN; with auto, begin it where there is none (for jobs that are started again)",
    )  # fmt: skip
    add_training_options(parser)
    add_table_options(parser)
    parser.set_defaults(run=run, names_of_settings=setting_names)


def run(args: Arguments) -> int:
    """Train, and print the errors of the best model."""
    from molcalc.train import fit
    from molcalc.train.run_data import FILES, named_files, separated

    if args.resume not in (None, "yes", "auto"):  # a file that stands behind --resume
        args.data, args.resume = [args.resume, *args.data], "yes"
    if trains_generator(args):
        from molcalc.cli.train_generator import run_generator

        return run_generator(args)
    options = gather_options(args)
    files = [file for name in FILES for file in named_files(separated(options)[0].get(name, []))]
    check_table_target(args, input_paths(files))
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    with log_shown_from(logging.ERROR if not first else logging.WARNING if args.quiet else logging.INFO):
        result = fit(
            output=args.output,
            resume="auto" if args.resume == "auto" else args.resume is not None,
            progress=not args.quiet and sys.stderr.isatty(),
            **options,
        )
    if first:
        show_table(args, _table(result), dataclasses.asdict(result), _text(result))
    return 0


def trains_generator(args: argparse.Namespace) -> bool:
    """Whether the options, or the run that goes on, are about a generator of conformers."""
    from molcalc.registry import GENERATOR
    from molcalc.train.loop.run_folder import OPTIONS_FILE
    from molcalc.train.option_parts import read_option_file

    if args.model is not None:
        return bool(args.model == GENERATOR)
    recorded = os.path.join(args.output, OPTIONS_FILE)
    files = [*([recorded] if args.resume is not None and os.path.isfile(recorded) else []), *args.config]
    named = [values["model"] for values in map(read_option_file, files) if values.get("model") is not None]
    return bool(named) and named[-1] == GENERATOR


def gather_options(args: argparse.Namespace) -> dict[str, Any]:
    """Data and options of the run: of the files, --set, and flags, each over those before.

    Returns
    -------
    arguments of :func:`molcalc.train.fit` by name

    Raises
    ------
    ConfigError
        For an unknown option or a value of the wrong type, or when there is no model or no data.
    """
    from molcalc.errors import ConfigError
    from molcalc.registry import MODELS
    from molcalc.train.loop.run_folder import RunFolder

    files, options = said_options(args, "model")
    if args.resume is None or (args.resume == "auto" and not RunFolder(args.output).started):
        if options.get("model") is None and options.get("init") is None:
            kinds = list(MODELS)
            raise ConfigError(
                f"which kind of model? Give --model {', '.join(kinds[:-1])} or {kinds[-1]}, or a --config with it"
            )
        if "data" not in files:
            raise ConfigError("which data? Give a database or another file of structures, or a --config with it")
    return {**options, **files}


def _text(result: FitResult) -> str:
    """Errors of the best model as the terminal shows them, and where it is."""
    from molcalc.train.report.display import ERROR_HEADER, error_rows

    lines = []
    for part, fidelity, errors in result.errors():
        at = "" if fidelity is None else f" at {fidelity}"
        lines += ["", f"errors on the {part} part{at}", str(text_table(ERROR_HEADER, error_rows(errors)))]
    return "\n".join([*lines, "", f"model: {result.output}", f"report: {os.path.join(result.output, 'report.html')}"])


def _table(result: FitResult) -> ShownTable:
    """Errors of the best model, one property of a part in a row; those of one fidelity name it."""
    from molcalc.properties import LABELS

    names = ("part", "fidelity", "property", "unit")
    table = ShownTable([*(Column(name, text=True) for name in names), *map(Column, ("mae", "rmse", "r2", "n"))])
    for part, fidelity, errors in result.errors():
        for name, found in errors.items():
            values = (found.get(column.name) for column in table.columns[len(names) :])
            table.rows.append((part, fidelity, name, LABELS[name].unit, *values))
    return table
