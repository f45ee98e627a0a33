"""``molcalc energy``: energies, forces, charges and dipoles of structures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molcalc.cli.options import Arguments, Subparsers, add_model_options, make_calculator

if TYPE_CHECKING:
    from ase import Atoms

    from molcalc.calculators.base import MolCalculator
    from molcalc.cli.input_structures import InputStructure

FRAMES_AT_ONCE = 64
"""Structures evaluated between two lines of output."""
_PROPERTIES = ("energy", "free_energy", "energies", "forces", "charges", "dipole", "magmoms", "energy_std")
_EPILOG = """\
The columns are: file, frame, formula, total charge, energy, for an ensemble its standard deviation, largest force on an
atom, dipole moment.

examples:
  molcalc energy water.xyz
  molcalc energy frames.traj@::10 other.db --output results.db
  molcalc energy hydroxide.xyz --charge -1 --charges --forces
  molcalc energy water.xyz --model runs/both --fidelity pbe0
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "energy", help="energies, forces and charges of structures", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="structures, all frames (FILE@INDEX selects; - = stdin)"
    )
    parser.add_argument("--forces", action="store_true", help="print the force on every atom")
    parser.add_argument("--charges", action="store_true", help="print the charge of every atom")
    parser.add_argument("-o", "--output", metavar="FILE", help="write frames and results (.xyz, .db, .json, .traj)")
    parser.add_argument("--force", action="store_true", help="replace an existing output file")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Print one line per structure; write the results if asked to."""
    from molcalc.cli.input_structures import read_frames
    from molcalc.cli.output import output_format, write_frames
    from molcalc.io.targets import check_file
    from molcalc.simulate.provenance import with_results

    target = Path(args.output) if args.output else None
    if target is not None:
        check_file(target, force=args.force)
        output_format(target)
    frames = [frame for name in args.files for frame in read_frames(name)]
    calculator = make_calculator(args)
    table = EnergyTable(frames, calculator)
    finished: list[Atoms] = []
    for frame, results in evaluate_frames(calculator, frames):
        table.begin()
        print(table.row(frame, results), flush=True)
        if args.forces or args.charges:
            print(atom_table(frame, results, args.charges, args.forces))
        if target is not None:
            finished.append(with_results(frame.atoms, results, calculator))
    if target is not None:
        write_frames(target, finished)
    return 0


def evaluate_frames(
    calculator: MolCalculator, frames: list[InputStructure]
) -> Iterator[tuple[InputStructure, dict[str, Any]]]:
    """Results of every frame, in order; many frames at once.

    Yields
    ------
    frame, and its results and extras by name

    Raises
    ------
    MolcalcError
        The message begins with the file and the frame.
    """
    from molcalc.errors import MolcalcError

    for start in range(0, len(frames), FRAMES_AT_ONCE):
        part = frames[start : start + FRAMES_AT_ONCE]
        try:
            yield from zip(part, _results(calculator, part))
        except MolcalcError:
            # One of them is wrong: the others have results, and the message names it.
            for frame in part:
                try:
                    results = _results(calculator, [frame])
                except MolcalcError as cause:
                    raise type(cause)(f"{frame.label}: {cause}") from cause
                yield frame, results[0]


def _results(calculator: MolCalculator, frames: list[InputStructure]) -> list[dict[str, Any]]:
    if len(frames) > 1:
        known = (*calculator.implemented_properties, *calculator.extra_properties)
        names = [name for name in _PROPERTIES if name in known]
        return calculator.evaluate([frame.atoms for frame in frames], names)
    calculator.get_property("energy", frames[0].atoms)
    return [{**calculator.results, **calculator.extras}]


class EnergyTable:
    """Table of energies with columns wide enough for all frames."""

    def __init__(self, frames: list[InputStructure], calculator: MolCalculator) -> None:
        self._files = max(len("file"), *(len(frame.source) for frame in frames))
        self._formulas = max(len("formula"), *(len(frame.atoms.get_chemical_formula()) for frame in frames))
        self._begun = False
        self._resolve = calculator.resolve
        self._has_std = calculator.potential.n_members > 1
        self._has_dipole = "dipole" in calculator.implemented_properties

    def begin(self) -> None:
        """Print names and units of the columns, once."""
        if self._begun:
            return
        self._begun = True
        std = f"{'std/eV':>9}  " if self._has_std else ""
        dipole = f"{'dipole/D':>9}" if self._has_dipole else ""
        header = (
            f"{'file':{self._files}}  {'frame':>5}  {'formula':{self._formulas}}  {'charge':>6}  {'energy/eV':>16}  "
            f"{std}{'max force/(eV/Å)':>16}  {dipole}"
        )
        print(header.rstrip())

    def row(self, frame: InputStructure, results: dict[str, Any]) -> str:
        """One structure."""
        import numpy as np

        from molcalc.units import DEBYE

        atoms = frame.atoms
        force = np.linalg.norm(results["forces"], axis=1).max()
        std = f"{results['energy_std']:9.4f}  " if self._has_std else ""
        dipole = f"{np.linalg.norm(results['dipole']) / DEBYE:9.4f}" if self._has_dipole else ""
        return (
            f"{frame.source:{self._files}}  {frame.number:5d}  {atoms.get_chemical_formula():{self._formulas}}  "
            f"{self._resolve(atoms).charge:6d}  {results['energy']:16.6f}  {std}{force:16.6f}  {dipole}"
        ).rstrip()


def atom_table(frame: InputStructure, results: dict[str, Any], charges: bool, forces: bool) -> str:
    """Charge and force of every atom."""
    charges = charges and "charges" in results
    lines = ["  atom     " + ("   charge/e" if charges else "") + ("       force/(eV/Å)" if forces else "")]
    for k, symbol in enumerate(frame.atoms.get_chemical_symbols()):
        line = f"  {k:4d}  {symbol:3}"
        line += f"  {results['charges'][k]:9.5f}" if charges else ""
        line += "  " + " ".join(f"{component:11.6f}" for component in results["forces"][k]) if forces else ""
        lines.append(line)
    return "\n".join(lines)
