"""Tables that commands print: on the terminal, as JSON, or as comma-separated values, in the unit that is asked for."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from molcalc.io.escapes import sheet_cell

MISSING = "-"
"""What the terminal shows where a row has no value; JSON has null there, and a file of values nothing."""
STANDARD_OUTPUT = "-"


@dataclass(frozen=True)
class Column:
    """Column of a table.

    Attributes
    ----------
    name : in JSON and in files of values.
    title : on the terminal; the name unless given.
    unit : of the values as they are in the rows.
    form : how numbers look on the terminal, such as ".6f"; empty for texts and whole numbers.
    width : characters at least, for tables that are printed line by line.
    text : whether it begins in line; numbers end in line.
    """

    name: str
    title: str = ""
    unit: str = ""
    form: str = ""
    width: int = 0
    text: bool = False

    @property
    def heading(self) -> str:
        """Title and unit."""
        unit = f"({self.unit})" if "/" in self.unit else self.unit
        return (self.title or self.name) + (f"/{unit}" if unit else "")

    def cell(self, value: Any) -> str:
        """A value as the terminal shows it."""
        if value is None:
            return MISSING
        return str(value) if isinstance(value, str) else format(value, self.form)

    def aligned(self, cell: str, width: int) -> str:
        """A cell in its place."""
        return cell.ljust(width) if self.text else cell.rjust(width)


@dataclass
class ShownTable:
    """Rows of values under columns."""

    columns: Sequence[Column]
    rows: list[Sequence[Any]] = field(default_factory=list)

    def line(self, cells: Sequence[str], widths: Sequence[int] | None = None) -> str:
        """One line of the terminal.

        Parameters
        ----------
        widths : of the columns; those they have by themselves unless given.

        Returns
        -------
        cells in their places
        """
        widths = [max(column.width, len(column.heading)) for column in self.columns] if widths is None else widths
        parts = [column.aligned(cell, width) for column, cell, width in zip(self.columns, cells, widths)]
        return "  ".join(parts).rstrip()

    def header(self) -> str:
        """Line of headings, of a table that is printed line by line."""
        return self.line([column.heading for column in self.columns])

    def row_line(self, row: Sequence[Any]) -> str:
        """Line of one row, of a table that is printed line by line."""
        return self.line([column.cell(value) for column, value in zip(self.columns, row)])

    def __str__(self) -> str:
        lines = [[column.heading for column in self.columns]]
        lines += [[column.cell(value) for column, value in zip(self.columns, row)] for row in self.rows]
        widths = [max(len(line[k]) for line in lines) for k in range(len(self.columns))]
        return "\n".join(self.line(line, widths) for line in lines)

    def units(self) -> dict[str, str]:
        """Units by name of the column; columns without one are left out."""
        return {column.name: column.unit for column in self.columns if column.unit}

    def records(self) -> list[dict[str, Any]]:
        """Rows as dictionaries by name of the column."""
        return [{column.name: value for column, value in zip(self.columns, row)} for row in self.rows]

    def csv(self) -> str:
        """Comma-separated values, all digits, with units in the header."""
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([f"{column.name} ({column.unit})" if column.unit else column.name for column in self.columns])
        writer.writerows([[_csv_cell(value) for value in row] for row in self.rows])
        return text.getvalue()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, str):
        return sheet_cell(value)
    return "" if value is None else value


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> ShownTable:
    """Table of texts for the terminal, the first column of which begins in line."""
    return ShownTable([Column(name, text=k == 0) for k, name in enumerate(header)], list(rows))


def add_table_options(parser: argparse.ArgumentParser, *, unit: bool = False, usual: str | None = "eV") -> None:
    """Options that say how a table is given.

    Parameters
    ----------
    unit : whether it holds energies.
    usual : their unit where none is asked for; None where that differs between terminal and files.
    """
    group = parser.add_argument_group("table")
    group.add_argument("--json", action="store_true", help="print JSON, all digits")
    group.add_argument("--csv", metavar="FILE", help="write comma-separated values, all digits (- = standard output)")
    if unit:
        group.add_argument(
            "--unit", metavar="UNIT", default=usual, type=_energy_unit,
            help="of energies: eV, meV, kcal/mol, kJ/mol, Hartree, Rydberg; forces are in UNIT/Å "
            f"(default {usual or 'the usual ones'})",
        )  # fmt: skip


def check_table_target(
    args: argparse.Namespace, inputs: Iterable[Path] = (), outputs: Iterable[Path | None] = ()
) -> None:
    """Refuse a file of values that would replace something, before any work is done; it is kept for this command.

    Parameters
    ----------
    inputs : what the command reads.
    outputs : what else it writes.

    Raises
    ------
    ConfigError, InputError, InUseError
    """
    from molcalc.errors import ConfigError
    from molcalc.io.targets import check_distinct, reserved

    if args.csv == STANDARD_OUTPUT and args.json:
        raise ConfigError("--json and --csv - both write to standard output: name a file for --csv")
    if args.csv is not None and args.csv != STANDARD_OUTPUT:
        force = bool(vars(args).get("force", False))
        check_distinct([Path(args.csv), *outputs])
        args.held.enter_context(reserved(Path(args.csv), force=force, inputs=inputs))


def reserve_files(
    args: argparse.Namespace, inputs: Iterable[Path], outputs: Sequence[Sequence[Path]], of_all: Sequence[Path] = ()
) -> None:
    """Refuse files that would replace something, and keep their names for this command, as those of the table.

    Of many structures the names of the first stand for all: a process may hold a thousand files at most.

    Parameters
    ----------
    inputs : what the command reads.
    outputs : what it writes of each structure.
    of_all : what it writes of all of them together.

    Raises
    ------
    ConfigError, InputError, InUseError
    """
    from molcalc.io.targets import check_distinct, check_file, reserved

    given = tuple(inputs)
    files = [*of_all, *(path for of_structure in outputs for path in of_structure)]
    for path in files:
        check_file(path, force=args.force, inputs=given)
    check_distinct(files)
    for path in (*of_all, *outputs[0]):
        args.held.enter_context(reserved(path, force=args.force, inputs=given))
    check_table_target(args, given, files)


def show_table(
    args: argparse.Namespace, table: ShownTable, document: Mapping[str, Any], text: str | None = None
) -> None:
    """Give a table as the options say.

    Parameters
    ----------
    document : what JSON holds.
    text : what the terminal shows; the table unless given, nothing for an empty text.

    Raises
    ------
    ResourceError
        When the file of values cannot be written.
    """
    from molcalc.io.files import write_atomic

    if args.csv is not None and args.csv != STANDARD_OUTPUT:
        write_atomic(Path(args.csv), table.csv().encode())
    if args.json:
        print(json.dumps(document, indent=1, ensure_ascii=False))
    elif args.csv == STANDARD_OUTPUT:
        print(table.csv(), end="")
    elif text is None or text:
        print(table if text is None else text)


def prints_text(args: argparse.Namespace) -> bool:
    """Whether the terminal gets the table for people."""
    return not args.json and args.csv != STANDARD_OUTPUT


def per_electronvolt(unit: str) -> float:
    """Number of units of energy in 1 eV."""
    from molcalc.properties import ENERGY

    return 1.0 / ENERGY.factors[unit]


def _energy_unit(text: str) -> str:
    from molcalc.errors import suggest
    from molcalc.properties import ENERGY

    if text not in ENERGY.factors:
        near = suggest(text, ENERGY.factors)
        raise argparse.ArgumentTypeError(f"{text!r}{near} is no unit of energy; {', '.join(ENERGY.factors)} are")
    return text
