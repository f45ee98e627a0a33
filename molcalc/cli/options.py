"""Parsing of options: strict names, checked numbers, and the options and data files that several commands share.

A data file is FILE, or NAME=FILE for the level of theory that its labels are of.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from molcalc.io.plain_numbers import decimal, whole_number

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator

Arguments = argparse.Namespace
Subparsers = Any
"""What ``add_subparsers`` returns; argparse has no public name for it."""
DEFAULT_PUBLISHED = "wb97m-d3"
DATA_HELP = (
    "ASE database (.db, .json), .xyz, .traj, .h5 or a pair of .npz; FILE@ROWS takes some rows (run.traj@::10, "
    "'a.db@energy<0,converged'), '*.db' several files; NAME=FILE names the fidelity of its labels, for several levels "
    "of theory"
)
LARGEST_WHOLE = 2**63 - 1
"""That options take; files and arrays hold none beyond it."""
_NAMED = re.compile(r"([\w.+()-]+)=(.+)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """Parser without abbreviations, whose errors are exceptions and suggest the nearest name."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError."""
        from molcalc.errors import ConfigError, suggest

        choice = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if choice:
            message += suggest(choice[1], re.findall(r"[\w.-]+", choice[2]))
        raise ConfigError(f"{message}; see '{self.prog} --help'")


def refuse_unusable_words(words: Sequence[str], command: str) -> None:
    """Raise ConfigError for arguments that are empty, as variables of the shell that are not set, or no text.

    Results name the files that they come from, and are text themselves.
    """
    for before, word in zip(["", *words], words):
        is_text = all(not "\ud800" <= letter <= "\udfff" for letter in word)
        if word and is_text and not re.fullmatch(r"--[\w-]+=", word):
            continue
        from molcalc.errors import ConfigError, short

        if not is_text:
            raise ConfigError(f"{short(word)} is no text in UTF-8: rename the file, or cd into its folder")
        name = f"argument {word.rstrip('=') or before}" if (word or before).startswith("-") else "an argument"
        raise ConfigError(f"{name} is empty; see 'molcalc {command} --help'")


def refuse_unknown_options(unknown: list[str], args: Arguments) -> None:
    """Raise ConfigError for options that the command does not have."""
    if not unknown:
        return
    from molcalc.errors import ConfigError, suggest

    name = unknown[0].partition("=")[0]
    known = re.findall(r"--[\w-]+", args.usage)
    raise ConfigError(f"unknown argument {name!r}{suggest(name, known)}; see 'molcalc {args.command} --help'")


def number(kind: type, lowest: float = -math.inf, *, open_end: bool = False) -> Callable[[str], Any]:
    """Type of an option: a finite int or float, at least ``lowest`` (above it if ``open_end``)."""
    wanted, largest = ("a whole number", LARGEST_WHOLE) if kind is int else ("a number", sys.float_info.max)
    if lowest > -math.inf:
        wanted += f" {'>' if open_end else '≥'} {lowest:g}"

    def parse(text: str) -> Any:
        from molcalc.errors import short  # brings ASE, which --help does without

        try:
            value = whole_number(text) if kind is int else decimal(text)
        except ValueError:
            value = math.nan
        if largest < value < math.inf:
            raise argparse.ArgumentTypeError(f"{short(text)} is too large: at most {largest:g}")
        if not abs(value) <= largest or value < lowest or (open_end and value == lowest):
            raise argparse.ArgumentTypeError(f"{short(text)} is not {wanted}")
        return value

    return parse


def add_model_options(
    parser: argparse.ArgumentParser,
    *,
    flag: str = "--model",
    one_fidelity: bool = True,
    several: str = "for an ensemble of several runs",
    default: str = f"default {DEFAULT_PUBLISHED}",
) -> None:
    """Options that choose and set up the calculator.

    Parameters
    ----------
    flag : that names it.
    one_fidelity : whether the command is about one fidelity, and what completes it may be chosen.
    several : what the flag is repeated for.
    default : what happens without the flag.
    """
    group = parser.add_argument_group("model")
    group.add_argument(
        flag,
        action="append",
        dest="model",
        metavar="MODEL",
        help="published name, model directory, .jpt or .pt file ('molcalc info' lists names; "
        f"{default}); repeat it {several}",
    )
    if one_fidelity:
        group.add_argument("--fidelity", metavar="NAME", help="level of theory of a model that has several")
    group.add_argument("--member", type=number(int, 0), metavar="K", help="one network of an ensemble, from 0")
    group.add_argument(
        "--charge", type=number(int), metavar="Q", help="total charge (default: as the file says, else 0)"
    )
    group.add_argument(
        "--multiplicity",
        "--mult",
        "--spin",
        type=number(int, 1),
        metavar="M",
        help="2S+1 (default: as the file says, else the lowest)",
    )
    if one_fidelity:
        group.add_argument(
            "--dispersion",
            default="auto",
            metavar="D3",
            help="auto (as the model declares), none, d3bj:FUNCTIONAL such as d3bj:pbe0, or d4:FUNCTIONAL",
        )
    group.add_argument("--coulomb", default="auto", metavar="METHOD", help="long-range electrostatics (default auto)")
    group.add_argument(
        "--dtype", default="float32", choices=("float32", "float64"), help="arithmetic of the network (default float32)"
    )
    group.add_argument("--device", default="auto", help="auto, cpu or cuda")
    add_extrapolation(group)
    add_trusted(group)


def add_extrapolation(group: Any) -> None:
    """The option about structures that are unlike the training data."""
    group.add_argument(
        "--on-extrapolation", default="warn", choices=("warn", "raise", "ignore"),
        help="what to do about structures that are unlike the training data (default warn)",
    )  # fmt: skip


def add_html(parser: argparse.ArgumentParser, what: str) -> None:
    """The option that writes a page to look at."""
    parser.add_argument(
        "--html", metavar="FILE", help=f"write a page that shows {what}, to turn and look at, without a network"
    )


def add_trusted(group: Any) -> None:
    """The option that allows files which run code when they are read."""
    group.add_argument("--trusted", action="store_true", help="allow an unknown .jpt file; reading it runs its code")


def add_executor_options(parser: argparse.ArgumentParser) -> None:
    """Options about processes that share the structures of a command."""
    group = parser.add_argument_group("several processes")
    where = group.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", type=number(int, 1), metavar="N", help="processes on this machine that share the structures"
    )
    where.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="Dask cluster whose workers share the structures, such as tcp://node7:8786, or its scheduler file (extra "
        "cluster)",
    )


@contextmanager
def executor_of(args: Arguments) -> Iterator[Any]:
    """What the options say about processes, as ``executor=`` of a function takes it."""
    if args.scheduler is None:
        yield args.workers
        return
    from molcalc.simulate.dask_cluster import connected

    with connected(args.scheduler) as client:
        yield client


def make_calculator(
    args: Arguments, *, one_fidelity: bool = True, models: Sequence[str] | None = None
) -> MolCalculator:
    """The calculator that the model options describe, at the first fidelity when all of them are wanted.

    Parameters
    ----------
    models : in place of those of the options, which are one ensemble.

    Returns
    -------
    calculator
    """
    from molcalc.assembly.opening import open_model
    from molcalc.calculators.of_model import calculator_of

    models = models or args.model or [DEFAULT_PUBLISHED]
    model = open_model(models[0] if len(models) == 1 else models, trusted=args.trusted)
    if one_fidelity:
        dispersion = None if args.dispersion == "none" else args.dispersion
        choice = {"fidelity": args.fidelity, "dispersion": dispersion}
    else:
        choice = {"fidelity": model.config.fidelities[0].name}
    return calculator_of(
        model,
        member=args.member,
        charge=args.charge,
        multiplicity=args.multiplicity,
        coulomb=args.coulomb,
        dtype=args.dtype,
        device=args.device,
        on_extrapolation=args.on_extrapolation,
        **choice,
    )


def add_skip_bad(parser: argparse.ArgumentParser) -> None:
    """The option that leaves out rows which cannot be used."""
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out rows that cannot be used, with a warning that names them"
    )


def add_units(parser: argparse.ArgumentParser) -> None:
    """The option that declares the units of data files."""
    parser.add_argument(
        "--units",
        action="append",
        default=[],
        metavar="LABEL=UNIT",
        help="unit of a label in the files, such as energy=Hartree, where it is not eV, Å and e (repeatable)",
    )


def parse_units(texts: list[str]) -> dict[str, str]:
    """Units by label from LABEL=UNIT.

    Returns
    -------
    unit by name of the label

    Raises
    ------
    ConfigError
        For text of another form.
    """
    from molcalc.errors import ConfigError

    units = {}
    for text in texts:
        label, sign, unit = text.partition("=")
        if not sign or not label or not unit:
            raise ConfigError(f"--units {text!r} is not LABEL=UNIT, such as energy=Hartree")
        units[label.strip()] = unit.strip()
    return units


def add_labels(parser: argparse.ArgumentParser) -> None:
    """The option that says what labels are called in data files."""
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        dest="labels",
        metavar="LABEL=NAME",
        help="what a label is called in the files, such as energy=REF_energy; also esp_points, total_charge, "
        "multiplicity, fidelity (repeatable)",
    )


def parse_labels(texts: list[str]) -> dict[str, str]:
    """Names in the files by label from LABEL=NAME.

    Returns
    -------
    name by label

    Raises
    ------
    ConfigError
        For text of another form, or a label that is given twice.
    """
    from molcalc.errors import ConfigError

    labels: dict[str, str] = {}
    for text in texts:
        label, sign, name = text.partition("=")
        if not sign or not label or not name or label in labels:
            raise ConfigError(f"--label {text!r} is not LABEL=NAME, once for a label, such as energy=REF_energy")
        labels[label.strip()] = name.strip()
    return labels


def parse_data(texts: Sequence[str]) -> list[str] | dict[str, list[str]]:
    """Files, or files by fidelity. A file that exists under the whole text is meant, whatever is in its name.

    Returns
    -------
    files; or lists of them by name of the fidelity

    Raises
    ------
    ConfigError
        When some files have a fidelity and others have none.
    """
    from molcalc.errors import ConfigError

    files: dict[str, list[str]] = {}
    for text in texts:
        match = None if os.path.exists(text) else _NAMED.fullmatch(text)
        files.setdefault(match[1] if match else "", []).append(match[2] if match else text)
    if "" not in files:
        return files
    if len(files) > 1:
        raise ConfigError(
            f"{files[''][0]} has no fidelity, but other files have one: write NAME=FILE for every file, or for none"
        )
    return files[""]


def input_paths(files: Sequence[str] | Mapping[str, Sequence[str]], *models: str | None) -> list[Path]:
    """Files and folders that a command reads, which nothing that it writes may replace.

    Parameters
    ----------
    files : as :func:`parse_data` gives them.
    models : names of models; those that are no paths do no harm.

    Returns
    -------
    paths
    """
    data = files if not isinstance(files, Mapping) else [name for each in files.values() for name in each]
    return [Path(name) for name in (*data, *models) if name is not None]


def share_or_number(text: str) -> float | int:
    """Share of structures (a float), or how many (an int).

    Returns
    -------
    the number

    Raises
    ------
    ArgumentTypeError
    """
    return int(number(int)(text)) if text.isdigit() else float(number(float, 0)(text))


def parse_held_out(texts: Sequence[str] | None) -> float | list[str] | dict[str, list[str]] | None:
    """A share (< 1) or number of systems, or data files of their own.

    Returns
    -------
    share or number; files, or files by fidelity; None where nothing is said

    Raises
    ------
    ConfigError
    """
    if texts is None:
        return None
    if len(texts) == 1 and re.fullmatch(r"[-+.\d][\d.eE+-]*", texts[0]) and not os.path.exists(texts[0]):
        import argparse

        from molcalc.errors import ConfigError

        try:
            return share_or_number(texts[0])
        except argparse.ArgumentTypeError as error:
            raise ConfigError(
                f"held-out systems: {error}; give a share (0.1), a number of systems, or files"
            ) from error
    return parse_data(texts)
