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
    from molcalc.citations import bibliography

    if args.model is None:
        print(bibliography(), end="")
        return 0
    print(bibliography(_papers(args.model)), end="")
    return 0


def _papers(model: str) -> tuple[str, ...]:
    """Keys of the papers of a potential, or of a generator of conformers."""
    from molcalc.citations import OF_DISPERSION, OF_KINDS
    from molcalc.cli.info import describe_generator
    from molcalc.pretrained.sources import read_model

    if (generator := describe_generator(model)) is not None:
        return (*OF_KINDS[generator["kind"]], "ase")
    config = read_model(model).config
    kinds = [str(each.dispersion).partition(":")[0] for each in config.fidelities if each.dispersion is not None]
    return (*OF_KINDS[config.kind], *(key for kind in kinds for key in OF_DISPERSION[kind]), "ase")
