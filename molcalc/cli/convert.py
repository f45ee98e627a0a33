"""``molcalc convert``: model files into model directories, and files of structures into each other."""

from __future__ import annotations

from pathlib import Path

from molcalc.cli.options import (
    Arguments,
    Subparsers,
    add_labels,
    add_trusted,
    add_units,
    input_paths,
    parse_labels,
    parse_units,
)

_EPILOG = """\
A TARGET that ends in .db, .json, .aselmdb, .xyz, .traj, .h5 or .npz takes structures with their results from one or
several files of these kinds; any other TARGET is a model directory.

A .pt file may hold several fidelities that share one network. Its energies are usually relative to self-atomic ones,
which --sae adds.

examples:
  molcalc convert wb97m-d3 models/wb97m
  molcalc convert my_model.jpt models/mine --trusted
  molcalc convert two.pt models/two --fidelity pbe0 --fidelity gfn2 --sae pbe0=sae0.yaml --sae gfn2=sae1.yaml
  molcalc convert co2_efd.npz co2_esp.npz co2.db
  molcalc convert co2_efd.npz co2_esp.npz co2.db --charges q_esp
  molcalc convert multi_high.h5 high.db
  molcalc convert old.extxyz new.db --units energy=Hartree --units forces=Hartree/Bohr
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "convert", help="convert a model, or files of structures", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="published name, .jpt or .pt file, model directory, or data files"
    )
    parser.add_argument("target", metavar="TARGET", help="model directory or data file to write")
    parser.add_argument("--force", action="store_true", help="replace what is there")
    add_units(parser)
    add_labels(parser)
    parser.add_argument(
        "--charges", metavar="NAME", help="array of npz archives taken for charges (q_hirshfeld, q_esp, q_lowdin)"
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave out structures that cannot be used")
    add_trusted(parser)
    parser.add_argument(
        "--fidelity", action="append", default=[], metavar="NAME", dest="fidelities",
        help="name of a fidelity of a .pt file of weights, in the order of the file (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--sae", action="append", default=[], metavar="NAME=FILE",
        help="YAML file of self-atomic energies, added to those of a fidelity of a .pt file of weights (repeatable)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Convert one model, or files of structures."""
    from molcalc.errors import InputError
    from molcalc.io import checkpoint
    from molcalc.io.files import COMPRESSED
    from molcalc.io.targets import check_not_input, reserved_folder
    from molcalc.train.data.formats import FORMATS

    target = Path(args.target)
    if target.suffix.lower() in FORMATS:
        if args.fidelities or args.sae:
            raise InputError(f"--fidelity and --sae are for files of weights; {target} is a file of structures")
        return convert_data(args, target)
    if target.suffix.lower() in COMPRESSED:
        raise InputError(f"{target}: files are not written compressed; leave out {target.suffix}")
    if len(args.sources) > 1:
        raise InputError(f"a model is converted from one source; {len(args.sources)} are given")
    if args.units or args.labels or args.skip_bad or args.charges:
        raise InputError(
            f"--units, --label, --charges and --skip-bad are for structures; {target} is a model directory"
        )
    check_not_input(target, input_paths(args.sources))
    with reserved_folder(target, force=args.force, kind="a model directory", owns=checkpoint.belongs):
        return convert_model(args, args.sources[0], target)


def convert_data(args: Arguments, target: Path) -> int:
    """Convert files of structures."""
    from molcalc.io.targets import check_file
    from molcalc.train.data.convert import convert

    check_file(target, force=args.force, inputs=input_paths(args.sources))
    count = convert(
        args.sources, target, units=parse_units(args.units), labels=parse_labels(args.labels), charges=args.charges,
        skip_bad=args.skip_bad, force=args.force,
    )  # fmt: skip
    print(f"{target}: {count} structures from {', '.join(args.sources)}")
    return 0


def convert_model(args: Arguments, source: str, target: Path) -> int:
    """Read a model in any form and write a model directory."""
    from molcalc.io import checkpoint
    from molcalc.pretrained.foreign.artifacts import read_weights
    from molcalc.pretrained.sources import read_model
    from molcalc.registry import build_members

    if args.fidelities or args.sae:
        model = read_weights(source, names=args.fidelities or None, sae=parse_sae(args.sae))
    else:
        model = read_model(source, trusted=args.trusted)
    build_members(model)  # refuses weights that do not fit before anything is written
    checkpoint.save(target, model)
    print(f"{target}: {model.config.kind}, {model.config.n_members} network(s), hash {model.hash}")
    return 0


def parse_sae(texts: list[str]) -> dict[str, dict[int, float]]:
    """Self-atomic energies by fidelity from ``NAME=FILE``.

    Returns
    -------
    energies in eV of free atoms, by name of the fidelity and atomic number

    Raises
    ------
    ConfigError
    """
    from molcalc.errors import ConfigError
    from molcalc.train.start.reference_energies import read_yaml

    found: dict[str, dict[int, float]] = {}
    for text in texts:
        name, sign, file = text.partition("=")
        if not (name and sign and file) or name in found:
            raise ConfigError(f"--sae {text}: expected NAME=FILE, once for a fidelity")
        found[name] = read_yaml(file, name)
    return found
