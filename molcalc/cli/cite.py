"""``molcalc cite``: papers to cite, as BibTeX: of everything, or of what a model is made of."""

from __future__ import annotations

from molcalc.cli.options import Arguments, Subparsers

_EPILOG = """\
examples:
  molcalc cite > molcalc.bib
  molcalc cite runs/water
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("cite", help="papers to cite", description=__doc__, epilog=_EPILOG)
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="published name or model directory (none: everything)"
    )
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Run the command."""
    from molcalc.citations import OF_DISPERSION, OF_KINDS, bibliography

    if args.model is None:
        print(bibliography(), end="")
        return 0
    from molcalc.pretrained.sources import read_model

    config = read_model(args.model).config
    kinds = [str(each.dispersion).partition(":")[0] for each in config.fidelities if each.dispersion is not None]
    keys = [*OF_KINDS[config.kind], *(key for kind in kinds for key in OF_DISPERSION[kind]), "ase"]
    print(bibliography(dict.fromkeys(keys)), end="")
    return 0
