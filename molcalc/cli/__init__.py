"""The command ``molcalc``.

Every command is a module of this package (with _ for -), with ``add_parser(subparsers)`` and ``run(args) -> int``,
listed in :data:`COMMANDS`. It parses, calls the library and prints. Modules import torch and ase inside ``run``, so
that ``molcalc --help`` answers at once. What commands share: :mod:`options <molcalc.cli.options>`,
:mod:`structures <molcalc.cli.input_structures>` that they read, :mod:`output <molcalc.cli.output>` and
:mod:`tables <molcalc.cli.table>` that they write, :mod:`text on the terminal <molcalc.cli.terminal>` with its
:mod:`spelling <molcalc.cli.command_words>`, and :mod:`failures <molcalc.cli.failures>` that they show.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import re
import sys
from collections.abc import Sequence

from molcalc._version import __version__
from molcalc.cli.command_words import CommandWords
from molcalc.cli.failures import report_error
from molcalc.cli.options import Parser, refuse_unknown_options, refuse_unusable_words
from molcalc.cli.terminal import plain_terminal
from molcalc.simulate.interrupts import Interrupted, signals_raise

COMMANDS = (
    "energy",
    "compare",
    "compare-models",
    "relax",
    "conformers",
    "sample",
    "md",
    "esp",
    "vib",
    "equivariance",
    "info",
    "convert",
    "db",
    "train",
    "evaluate",
    "sae",
    "export",
    "cite",
    "examples",
    "completion",
)

_DESCRIPTION = "Neural-network potentials for molecules and materials: energies, relaxation, molecular dynamics."
_EPILOG = """\
A structure is any file that ASE reads. FILE@INDEX takes some of its frames (0, -1, 2:10, ::5), - reads extended XYZ
from standard input.

exit status: 0 done, 1 not converged, a symmetry broken or a bug, 2 wrong input or option, 3 unusable data,
4 unusable model, 5 a result that is not finite or dynamics that exploded, 6 out of memory or disk space,
130 interrupted, 143 terminated

example:
  molcalc energy water.xyz
"""


class _CommandList(argparse.RawDescriptionHelpFormatter):
    """Help with every command beside its words: argparse forgets the indentation of the longest one."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = max(map(len, COMMANDS)) + 2 * self._indent_increment


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(prog="molcalc", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=_CommandList)
    parser.add_argument("--version", action="version", version=f"molcalc {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    for name in COMMANDS:
        importlib.import_module(f"molcalc.cli.{name.replace('-', '_')}").add_parser(subparsers)
    for name, command in subparsers.choices.items():
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.set_defaults(usage=command.format_usage(), command=name)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; errors become one line on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    words = CommandWords()
    with plain_terminal(words), signals_raise():
        try:
            status = _run(arguments, words)
            sys.stdout.flush()
        except (Exception, Interrupted, KeyboardInterrupt) as error:
            status = report_error(error, debug="--debug" in arguments, words=words)
    return status


def _run(arguments: list[str], words: CommandWords) -> int:
    try:
        args, unknown = build_parser().parse_known_args(arguments)
    except SystemExit as finished:  # --help and --version
        return int(finished.code or 0)
    refuse_unknown_options(unknown, args)
    refuse_unusable_words(arguments, args.command)
    words.options = re.findall(r"--[\w-]+", args.usage)
    words.settings = args.names_of_settings() if "names_of_settings" in args else ()
    args.words = words
    _check_working_directory()
    with contextlib.ExitStack() as args.held:  # names of the files that the command is going to write
        return int(args.run(args))


def _check_working_directory() -> None:
    """Say that it is gone before a library of torch ends the process for it."""
    try:
        os.getcwd()
    except OSError as error:
        from molcalc.errors import MissingFileError  # brings ASE, which --help does without

        raise MissingFileError(
            f"the working directory cannot be read ({error.strerror}): cd into one that exists"
        ) from error
