"""``molcalc convert``: any model file into a model directory of this package."""

from __future__ import annotations

from pathlib import Path

from molcalc.cli.options import Arguments, Subparsers, add_trusted

_EPILOG = """\
examples:
  molcalc convert wb97m-d3 models/wb97m
  molcalc convert my_model.jpt models/mine --trusted
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "convert", help="convert a model into a model directory", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument("source", metavar="SOURCE", help="published name, .jpt or .pt file, or model directory")
    parser.add_argument("target", metavar="TARGET", help="model directory to write")
    parser.add_argument("--force", action="store_true", help="replace an existing model directory")
    add_trusted(parser)
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Convert one model."""
    target = Path(args.target)
    check_directory(target, args.force)
    return convert_model(args.source, target, args.trusted)


def convert_model(source: str, target: Path, trusted: bool) -> int:
    """Read a model in any form and write a model directory."""
    from molcalc import checkpoint
    from molcalc.pretrained.sources import open_model
    from molcalc.registry import build_members

    model = open_model(source, trusted=trusted)
    build_members(model)  # refuses weights that do not fit before anything is written
    checkpoint.save(target, model)
    print(f"{target}: {model.config.kind}, {model.config.n_members} network(s), hash {model.hash}")
    return 0


def check_directory(target: Path, force: bool) -> None:
    """Refuse to write a model over something else.

    Raises
    ------
    InputError
    """
    from molcalc import checkpoint
    from molcalc.errors import InputError

    if target.is_dir() and any(target.iterdir()):
        if not (target / checkpoint.CONFIG).is_file():
            raise InputError(f"{target} is a folder with other files, not a model directory: choose another name")
        if not force:
            raise InputError(f"{target} exists: give another name, or --force to replace it")
    elif target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file; a model is written as a folder: choose another name")
