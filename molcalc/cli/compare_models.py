"""``molcalc compare-models``: models trained alike, or given, side by side: errors, symmetry, time, memory."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molcalc.cli.options import DATA_HELP, Arguments, Subparsers, input_paths, number
from molcalc.cli.table import Column, ShownTable, add_table_options, check_table_target, prints_text, show_table
from molcalc.cli.terminal import log_shown_from
from molcalc.cli.training_options import add_training_options, said_options, setting_names

if TYPE_CHECKING:
    from molcalc.analysis.comparison_report import QuantityRow
    from molcalc.analysis.model_comparison import ModelComparison

FOLDER = "comparison"
_EPILOG = """\
Every kind is trained in FOLDER/KIND with the data, parts, seed, steps and settings of the first, whatever is
recommended for it; the same command goes on where it was interrupted. FOLDER gets comparison.json, comparison.md,
comparison.html and pictures. Errors are over the test part, or the structures of DATA that no model has seen in
training. Fidelities of one model are compared by "molcalc compare".

examples:
  molcalc compare-models co2.db --epochs 50
  molcalc compare-models co2.db --model physnet-dcm --model noneq-dcm --n-dcm 1 2 4 -o charges
  molcalc compare-models water.db --model physnet-dcm:reference-size --model aimnet2 --epochs 100 -o water
  molcalc compare-models test.db --skip-training runs/a runs/b wb97m-d3
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "compare-models", help="several models: errors, symmetry, time, memory", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument("data", nargs="+", metavar="DATA", help=DATA_HELP)
    parser.add_argument(
        "--model", action="append", metavar="POTENTIAL",
        help="kind to train, such as aimnet2, or with a named size, physnet-dcm:reference-size; repeat it (default "
        "physnet-dcm and noneq-dcm)",
    )  # fmt: skip
    parser.add_argument("--n-dcm", nargs="+", type=number(int, 1), default=[], metavar="N",
                        help="charges around each atom; kinds that have them are trained with each number")  # fmt: skip
    parser.add_argument("--skip-training", nargs="+", metavar="MODEL",
                        help="train nothing: folders of runs, model directories or published names")  # fmt: skip
    parser.add_argument("--fidelity", metavar="NAME", help="level of theory of models that have several")
    parser.add_argument("--structures", type=number(int, 1), default=20, metavar="N",
                        help="test structures that turn and move (default 20)")  # fmt: skip
    parser.add_argument("--rounds", type=number(int, 1), default=15, metavar="N",
                        help="how often each call is timed, in turns (default 15)")  # fmt: skip
    parser.add_argument("--no-memory", action="store_true", help="leave out the peak memory, a process for each model")
    parser.add_argument("-o", "--output", metavar="FOLDER", default=FOLDER, help=f"default {FOLDER}")
    parser.add_argument("--force", action="store_true", help="replace existing files, but no input")
    add_training_options(parser)
    add_table_options(parser)
    parser.set_defaults(run=run, names_of_settings=setting_names)


def run(args: Arguments) -> int:
    """Train what is to be trained, compare, and write the report."""
    from molcalc.analysis.comparison_report import REPORT_FILES, comparison_notes, comparison_rows, write_comparison
    from molcalc.analysis.model_comparison import USUAL_MODELS, compare_models
    from molcalc.cli.terminal import note
    from molcalc.errors import ConfigError
    from molcalc.io.targets import reserved
    from molcalc.simulate.interrupts import Interrupted
    from molcalc.train.run_data import FILES, named_files

    if args.skip_training and args.model:
        raise ConfigError(
            "--skip-training takes models as they are, and --model names kinds to train: give one of them"
        )
    files, options = said_options(args)
    folder = Path(args.output)
    data = files.pop("data")
    named = [str(file) for each in (data, *(files.get(name, []) for name in FILES)) for file in named_files(each)]
    inputs = input_paths(named, *(args.skip_training or []))
    check_table_target(args, inputs)
    args.held.enter_context(_made(folder))
    for name in REPORT_FILES:
        # Of runs in the same folder the results are written anew; of others they are not this command's to replace.
        replaces = args.force or not args.skip_training
        args.held.enter_context(reserved(folder / name, force=replaces, inputs=inputs))
    try:
        with log_shown_from(logging.WARNING if args.quiet else logging.INFO, once=True):
            comparison = compare_models(
                data,
                args.skip_training or args.model or USUAL_MODELS,
                output=None if args.skip_training else folder,
                train=not args.skip_training,
                n_dcm=args.n_dcm,
                epochs=options.pop("epochs", None),
                fidelity=args.fidelity,
                structures=args.structures,
                rounds=args.rounds,
                memory=not args.no_memory,
                device=options.pop("device", "auto"),
                progress=not args.quiet and sys.stderr.isatty(),
                **files,
                **options,
            )
            written = write_comparison(folder, comparison)
    except (KeyboardInterrupt, Interrupted):
        if not args.skip_training:
            note(f"the same command goes on with what is in {folder}")
        raise
    rows = comparison_rows(comparison)
    text = "\n".join([*comparison_notes(comparison), "", str(_shown(comparison, rows))])
    show_table(args, _table(comparison, rows), comparison.to_dict(), text)
    if prints_text(args):
        print(f"\nwritten: {', '.join(str(path) for path in written)}")
    return 0


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder; it goes again if nothing was written into it."""
    from molcalc.errors import ResourceError
    from molcalc.io.targets import check_not_file

    check_not_file(folder, "a comparison")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # there is something in it
            folder.rmdir()


def _table(comparison: ModelComparison, rows: list[QuantityRow]) -> ShownTable:
    """All digits, for files of values."""
    columns = [Column(name, text=True) for name in ("section", "quantity", "unit")]
    table = ShownTable([*columns, *(Column(model.name) for model in comparison.models)])
    table.rows += [(row.section, row.name, row.unit, *row.values) for row in rows]
    return table


def _shown(comparison: ModelComparison, rows: list[QuantityRow]) -> ShownTable:
    """Three digits, a heading before each section."""
    columns: list[Column] = [Column("", text=True), Column("unit", text=True)]
    table = ShownTable([*columns, *(Column(model.name) for model in comparison.models)])
    before: Any = None
    for row in rows:
        if row.section != before:
            table.rows.append((row.section.upper(), *[""] * (1 + len(row.values))))
        before = row.section
        table.rows.append((row.name, row.unit, *(row.cell(k) for k in range(len(row.values)))))
    return table
