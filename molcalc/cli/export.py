"""``molcalc export``: one level of theory of a model as a file that works by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molcalc.cli.options import Arguments, Subparsers, add_trusted, number

if TYPE_CHECKING:
    from molcalc.assembly.terms import DispersionChoice

_EPILOG = """\
The ending of the output decides what is written: .jpt a TorchScript program, .pt2 a program of torch.export, and a name
without ending a model directory. Programs take coord (Å), numbers (0 where there is no atom), charge and, for open
shells, mult; they return energy (eV), forces (eV/Å) and charges (e), need nothing but torch, and get a description
beside them (NAME.jpt.json).

examples:
  molcalc export runs/x --fidelity pbe0 --dispersion d3bj:pbe0 --output model_pbe0.jpt
  molcalc export runs/x --fidelity pbe0 --output model_pbe0.pt2
  molcalc export runs/x --fidelity pbe0 --output model_pbe0
  molcalc export runs/x --s8 1.2177 --a1 0.4145 --a2 4.8593 --output model.jpt
  molcalc info model_pbe0.jpt
"""
_CONSTANTS = ("s6", "s8", "a1", "a2")


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "export", help="a model that works without molcalc", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument("model", metavar="MODEL", help="published name, run or model directory, .jpt or .pt file")
    parser.add_argument(
        "--output", "-o", required=True, metavar="PATH", help="NAME.jpt, NAME.pt2, or NAME for a folder"
    )
    parser.add_argument("--fidelity", metavar="NAME", help="level of theory of a model that has several")
    parser.add_argument(
        "--dispersion", metavar="D3", help="auto (as the model declares, the default), none, or d3bj:FUNCTIONAL"
    )
    for name, meaning in zip(_CONSTANTS, ("C6 (default 1)", "C8", "damping", "damping in Bohr")):
        parser.add_argument(f"--{name}", type=number(float), metavar="X", help=f"own constant of D3(BJ): {meaning}")
    parser.add_argument("--member", type=number(int, 0), metavar="K", help="one network of an ensemble, from 0")
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), help="arithmetic of the network in programs (default float64)"
    )
    parser.add_argument("--aot", action="store_true", help="compile a .pt2 for this machine (needs a C++ compiler)")
    parser.add_argument("--force", action="store_true", help="replace what is there")
    add_trusted(parser)
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Export, and say what was written."""
    from molcalc.export import export

    done = export(
        args.model,
        args.output,
        fidelity=args.fidelity,
        dispersion=_dispersion(args),
        member=args.member,
        dtype=args.dtype,
        aot=args.aot,
        force=args.force,
        trusted=args.trusted,
    )
    found = done.contents
    elements = " ".join(found.elements)
    print(
        f"{done.path}: {found.form}, fidelity {found.fidelity}, {found.members} network(s), {elements}, "
        f"dispersion {found.dispersion or 'none'}"
    )
    print(f"described in {done.sidecar}")
    return 0


def _dispersion(args: Arguments) -> DispersionChoice:
    """Dispersion that the options choose, by name or by constants."""
    from molcalc.dispersion.parameters import D3Parameters
    from molcalc.errors import ConfigError

    given = {name: getattr(args, name) for name in _CONSTANTS if getattr(args, name) is not None}
    if not given:
        return None if args.dispersion == "none" else args.dispersion or "auto"
    if args.dispersion is not None:
        raise ConfigError(f"--dispersion {args.dispersion} and --{next(iter(given))} exclude each other: give one")
    missing = [f"--{name}" for name in _CONSTANTS[1:] if name not in given]
    if missing:
        raise ConfigError(f"own constants of D3(BJ) need {', '.join(missing)} too")
    return D3Parameters(**{"s6": 1.0, **given})
