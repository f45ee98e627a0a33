"""``molcalc db``: look into, repair, split and merge databases."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molcalc.cli.options import (
    Arguments,
    Parser,
    Subparsers,
    add_labels,
    add_units,
    input_paths,
    number,
    parse_labels,
    parse_units,
    share_or_number,
)
from molcalc.cli.table import Column, ShownTable, add_table_options, check_table_target, show_table

if TYPE_CHECKING:
    from molcalc.train.data.report import DataReport

_EPILOG = """\
examples:
  molcalc db report water.db
  molcalc db report low.h5 high.h5
  molcalc db repair water.db --charge 0
  molcalc db split water.db --valid 0.1 --test 0.1 --by molecule
  molcalc db split trajectory.db --method block
  molcalc db merge first.db second.db --output all.db
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "db", help="look into, repair, split and merge databases", description=__doc__, epilog=_EPILOG
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action", parser_class=Parser)
    action = _add(actions, "report", _report, "what data files hold and what looks wrong")
    action.add_argument("data", nargs="+", metavar="FILE", help="databases or other files of structures")
    add_units(action)
    add_labels(action)
    add_table_options(action)
    action = _add(actions, "repair", _repair, "restore single-precision arrays and set missing charges, in place")
    action.add_argument("data", metavar="DATABASE", help="SQLite database (.db)")
    action.add_argument("--charge", type=number(int), metavar="Q", help="total charge of rows that record none")
    add_table_options(action)
    action = _add(actions, "split", _split, "write training, validation and test parts into files of their own")
    action.add_argument("data", metavar="DATABASE", help="SQLite database (.db)")
    for name in ("valid", "test"):
        action.add_argument(
            f"--{name}", type=share_or_number, default=0.1, metavar="X", help="share, or number if whole"
        )
    action.add_argument("--seed", type=number(int, 0), default=0, metavar="N", help="of the draw (default 0)")
    action.add_argument(
        "--method", default="hash", choices=("hash", "random", "block"),
        help="hash of the geometry, so that growing data keep their parts (default); random, of exact size; block, "
        "consecutive frames of trajectories",
    )  # fmt: skip
    action.add_argument("--fold", metavar="K/N", help="the K-th of N equal parts is the test, in place of --test")
    action.add_argument("--by", metavar="KEY", help="'molecule' or a key: structures that share it stay together")
    action.add_argument("--split-key", metavar="KEY", help="key that says which part a row belongs to")
    action.add_argument("--force", action="store_true", help="replace existing files")
    add_table_options(action)
    action = _add(actions, "merge", _merge, "write the rows of several databases into one")
    action.add_argument("data", nargs="+", metavar="DATABASE", help="SQLite databases (.db)")
    action.add_argument("--output", "-o", required=True, metavar="FILE", help="database to write")
    action.add_argument("--force", action="store_true", help="replace an existing file")
    add_table_options(action)


def _add(actions: Any, name: str, run: Callable[[Arguments], int], text: str) -> Any:
    parser = actions.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _report(args: Arguments) -> int:
    from molcalc.train.data.report import report

    check_table_target(args, input_paths(args.data))
    found = report(args.data, units=parse_units(args.units), labels=parse_labels(args.labels))
    show_table(args, _table(found), dataclasses.asdict(found), text=str(found))
    return 0


def _table(found: DataReport) -> ShownTable:
    """Labels of a data set, one in a row, for files of values."""
    from molcalc.properties import LABELS

    names = ["label", "unit", *found.fidelities, "smallest", "median", "largest"]
    table = ShownTable([Column(name, text=True) for name in names])
    for label, counts in found.labels.items():
        row = [label, LABELS[label].unit, *(counts[name] for name in found.fidelities), *found.ranges[label]]
        table.rows.append(row)
    return table


def _repair(args: Arguments) -> int:
    from molcalc.train.data.databases import repair

    check_table_target(args, input_paths([args.data]))
    done = repair(args.data, charge=args.charge)
    table = ShownTable([Column("file", text=True), Column("restored"), Column("charged")], [(args.data, *done)])
    text = f"{args.data}: arrays of {done.restored} rows restored, charge of {done.charged} rows set"
    show_table(args, table, table.records()[0], text)
    return 0


def _split(args: Arguments) -> int:
    from molcalc.train.data.databases import part_files, split_database

    files = part_files(Path(args.data))
    check_table_target(args, input_paths([args.data]), files.values())
    options = {
        name: getattr(args, name) for name in ("valid", "test", "seed", "by", "split_key", "method", "fold", "force")
    }
    counts = split_database(args.data, **options)
    table = ShownTable([Column("part", text=True), Column("file", text=True), Column("rows")])
    table.rows += [(part, str(path), counts.get(path, 0)) for part, path in files.items()]
    text = "\n".join(f"{path}: {count} rows" for path, count in counts.items())
    show_table(args, table, {"database": args.data, "parts": table.records()}, text)
    return 0


def _merge(args: Arguments) -> int:
    from molcalc.train.data.databases import merge

    check_table_target(args, input_paths(args.data), [Path(args.output)])
    count = merge(args.data, Path(args.output), force=args.force)
    table = ShownTable([Column("file", text=True), Column("rows")], [(args.output, count)])
    show_table(args, table, table.records()[0], f"{args.output}: {count} rows")
    return 0
