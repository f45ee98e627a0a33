"""``molcalc examples``: scripts and options that come with the package, to read, copy and change."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from molcalc.cli.options import Arguments, Subparsers

CHECKOUT = Path(__file__).parents[2] / "examples"
INSTALLED = Path("share/molcalc/examples")
"""Below the folder of data of the environment, or of the user."""
MADE = {"__pycache__", "output", ".molcalc_cache"}
"""Folders that running the examples leaves in a checkout."""
_EPILOG = """\
examples:
  molcalc examples
  molcalc examples --copy my_examples
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("examples", help="examples to copy", description=__doc__, epilog=_EPILOG)
    parser.add_argument("--copy", metavar="FOLDER", help="copy all of them there, with their data; FOLDER is made")
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """List the examples, or copy them."""
    from molcalc.errors import InputError
    from molcalc.io.files import new_folder, write_flushed

    folder = examples_folder()
    files = sorted(example_files(folder))
    if args.copy is None:
        for file in files:
            print(f"{file.relative_to(folder)!s:42} {first_line(file)}".rstrip())
        return 0
    target = Path(args.copy)
    if target.exists() or target.is_symlink():
        raise InputError(f"{target} exists: give the name of a new folder")
    with new_folder(target) as filling:
        for file in files:
            copy = filling / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_flushed(copy, file.read_bytes())
    print(f"{len(files)} files in {target}")
    return 0


def examples_folder() -> Path:
    """The folder of the examples: of the checkout, or where they were installed.

    Returns
    -------
    path

    Raises
    ------
    MissingFileError
        When neither is there.
    """
    from molcalc.errors import MissingFileError

    schemes = (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
    places = [CHECKOUT, *(Path(sysconfig.get_path("data", scheme)) / INSTALLED for scheme in schemes)]
    for place in places:
        if (place / "relax_molecule.py").is_file():
            return place
    raise MissingFileError(f"the examples are not in {' or '.join(map(str, places[1:]))}: install molcalc again")


def example_files(folder: Path) -> Iterator[Path]:
    """Files of the examples, without what running them leaves."""
    for file in folder.rglob("*"):
        if file.is_file() and not MADE & set(file.relative_to(folder).parts):
            yield file


def first_line(file: Path) -> str:
    """What an example shows: the beginning of its docstring, or its first comment."""
    if file.suffix == ".py":
        return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    if file.suffix in {".yaml", ".sh"}:
        text = file.read_text(encoding="utf-8")
        line = next((line for line in text.splitlines() if not line.startswith("#!")), "")
        return line.removeprefix("#").strip() if line.startswith("#") else ""
    return ""
