"""``molcalc formula``: sum formulas of structures, with their numbers of atoms and electrons, and masses.

In the package this is ``cli/formula.py``, and its name is in ``COMMANDS`` of ``cli/__init__.py``.
"""

from __future__ import annotations

from molcalc.cli.options import Arguments, Subparsers

_EPILOG = """\
Electrons are those of the charge that a file states. Masses are in u.

examples:
  molcalc formula water.xyz
  molcalc formula frames.traj@::10 other.db
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "formula", help="sum formulas and masses of structures", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="structures, all frames (FILE@INDEX selects; - = stdin)"
    )
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Print one line per structure."""
    from molcalc.cli.input_structures import read_frames
    from molcalc.cli.table import text_table
    from molcalc.prediction.batching import initial_charge
    from molcalc.state import resolve_charge

    rows = []
    for frame in (frame for name in args.files for frame in read_frames(name)):
        atoms, protons = frame.atoms, int(frame.atoms.numbers.sum())
        charge = resolve_charge(atoms.info, n_atoms=len(atoms), protons=protons, initial_charge=initial_charge(atoms))
        formula, mass = atoms.get_chemical_formula(mode="hill"), float(atoms.get_masses().sum())
        rows.append((frame.label, formula, str(len(atoms)), str(protons - (charge or 0)), f"{mass:.3f}"))
    print(text_table(("structure", "formula", "atoms", "electrons", "mass/u"), rows))
    return 0
