"""``molcalc energy``: energies, forces, charges and dipoles of structures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molcalc.cli.failures import Failures
from molcalc.cli.options import Arguments, Subparsers, add_model_options, input_paths, make_calculator
from molcalc.cli.table import (
    Column,
    ShownTable,
    add_table_options,
    check_table_target,
    per_electronvolt,
    prints_text,
    show_table,
)

if TYPE_CHECKING:
    from ase import Atoms

    from molcalc.calculators.base import MolCalculator
    from molcalc.cli.input_structures import InputStructure
    from molcalc.errors import MolcalcError

FRAMES_AT_ONCE = 64
"""Structures evaluated between two lines of output."""
_PROPERTIES = ("energy", "free_energy", "energies", "forces", "charges", "dipole", "magmoms", "energy_std")
_EPILOG = """\
The columns are: file, frame, formula, total charge, energy, for an ensemble its standard deviation and whether its
networks agree as they do on structures that they know (docs/limits.md), largest force on an atom, dipole moment.
A structure that cannot be computed is listed at the end, the others are computed; the exit status tells.

examples:
  molcalc energy water.xyz
  molcalc energy frames.traj@::10 other.db --output results.db
  molcalc energy hydroxide.xyz --charge -1 --charges --forces
  molcalc energy water.xyz --model runs/both --fidelity pbe0
  molcalc energy frames.xyz --unit kcal/mol --csv energies.csv
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
    parser.add_argument("--force", action="store_true", help="replace existing files, but no input")
    add_table_options(parser, unit=True)
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Print one line per structure; write the results if asked to."""
    from molcalc.cli.input_structures import read_all, sources_of
    from molcalc.cli.output import output_format, write_frames
    from molcalc.cli.patience import tell_of_triples
    from molcalc.errors import MolcalcError
    from molcalc.io.files import together
    from molcalc.io.targets import reserved
    from molcalc.simulate.provenance import with_results

    target = Path(args.output) if args.output else None
    inputs = input_paths(sources_of(args.files), *(args.model or []))
    if target is not None:
        output_format(target)
        args.held.enter_context(reserved(target, force=args.force, inputs=inputs))
    check_table_target(args, inputs, [target])
    failures = Failures(args.words, args.debug)
    frames = read_all(args.files, failures)
    if not frames:
        return failures.report(0)
    calculator = make_calculator(args)
    tell_of_triples(calculator, [frame.atoms for frame in frames])
    energies = EnergyTable(frames, calculator, args)
    finished: list[Atoms] = []
    n_done = 0
    for frame, results in evaluate_frames(calculator, frames):
        if isinstance(results, MolcalcError):
            failures.add(results)
            energies.add_failure(frame, results)
            continue
        n_done += 1
        energies.add(frame, results)
        if target is not None:
            finished.append(with_results(frame.atoms, results, calculator))
    with together():
        energies.publish()
        if finished and target is not None:
            write_frames(target, finished)
    return failures.report(n_done)


def evaluate_frames(
    calculator: MolCalculator, frames: Sequence[InputStructure]
) -> Iterator[tuple[InputStructure, dict[str, Any] | MolcalcError]]:
    """Results of every frame, in order; many frames at once.

    Yields
    ------
    frame, and its results and extras by name, or why there are none; the message begins with the file and the frame
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
                    yield frame, _results(calculator, [frame])[0]
                except MolcalcError as cause:
                    yield frame, type(cause)(f"{frame.label}: {cause}")


def _results(calculator: MolCalculator, frames: Sequence[InputStructure]) -> list[dict[str, Any]]:
    if len(frames) > 1:
        known = (*calculator.implemented_properties, *calculator.extra_properties)
        names = [name for name in _PROPERTIES if name in known]
        return calculator.evaluate([frame.atoms for frame in frames], names)
    calculator.get_property("energy", frames[0].atoms)
    return [{**calculator.results, **calculator.extras}]


class EnergyTable:
    """Table of energies, printed line by line while it grows, with columns wide enough for all frames."""

    def __init__(self, frames: Sequence[InputStructure], calculator: MolCalculator, args: Arguments) -> None:
        self._calculator, self._args = calculator, args
        self._factor = per_electronvolt(args.unit)
        self._has_std = calculator.potential.n_members > 1
        self._has_dipole = "dipole" in calculator.implemented_properties
        columns = [
            Column("file", text=True, width=max((len(frame.source) for frame in frames), default=0)),
            Column("frame", width=5),
            Column("formula", text=True, width=max((len(_formula(frame)) for frame in frames), default=0)),
            Column("charge", width=6),
            Column("energy", unit=args.unit, form=".6f", width=16),
        ]
        if self._has_std:
            columns += [Column("energy_std", "std", args.unit, ".4f", 9), Column("networks", width=8)]
        columns.append(Column("max_force", "max force", f"{args.unit}/Å", ".6f", 16))
        if self._has_dipole:
            columns.append(Column("dipole", unit="D", form=".4f", width=9))
        self._table = ShownTable(columns)
        self._structures: list[dict[str, Any]] = []

    def add(self, frame: InputStructure, results: dict[str, Any]) -> None:
        """One structure."""
        row = self._row(frame, results)
        if prints_text(self._args):
            if not self._table.rows:
                print(self._table.header())
            print(self._table.row_line(row), flush=True)
            if self._args.forces or self._args.charges:
                print(atom_table(frame, results, self._args.charges, self._args.forces, self._factor, self._args.unit))
        self._table.rows.append(row)
        atoms = {"symbols": frame.atoms.get_chemical_symbols()}
        if self._args.forces:
            atoms["forces"] = (self._factor * results["forces"]).tolist()
        if self._args.charges and "charges" in results:
            atoms["charges"] = results["charges"].tolist()
        self._structures.append({**dict(zip((column.name for column in self._table.columns), row)), **atoms})

    def add_failure(self, frame: InputStructure, error: Exception) -> None:
        """A structure without results, which JSON says in its place."""
        self._structures.append({"file": frame.source, "frame": frame.number, "error": str(error)})

    def publish(self) -> None:
        """Print and write what was not printed line by line."""
        made_by = self._calculator.todict()
        document = {
            "model": made_by["model"],
            "model_hash": made_by["model_hash"],
            "units": {**self._table.units(), "forces": f"{self._args.unit}/Å", "charges": "e"},
            "structures": self._structures,
        }
        show_table(self._args, self._table, document, text="")

    def _row(self, frame: InputStructure, results: dict[str, Any]) -> list[Any]:
        import numpy as np

        from molcalc.cli.agreement import judged
        from molcalc.units import DEBYE

        row = [frame.source, frame.number, _formula(frame), self._calculator.resolve(frame.atoms).charge]
        row.append(self._factor * results["energy"])
        if self._has_std:
            std = results["energy_std"]
            row += [self._factor * std, judged(std, len(frame.atoms))]
        row.append(self._factor * float(np.linalg.norm(results["forces"], axis=1).max()))
        if self._has_dipole:
            row.append(float(np.linalg.norm(results["dipole"]) / DEBYE) if "dipole" in results else None)
        return row


def _formula(frame: InputStructure) -> str:
    return str(frame.atoms.get_chemical_formula())


def atom_table(
    frame: InputStructure, results: dict[str, Any], charges: bool, forces: bool, factor: float = 1.0, unit: str = "eV"
) -> str:
    """Charge and force of every atom.

    Parameters
    ----------
    factor, unit : of forces, per eV/Å.

    Returns
    -------
    lines for the terminal
    """
    charges = charges and "charges" in results
    lines = ["  atom     " + ("   charge/e" if charges else "") + (f"       force/({unit}/Å)" if forces else "")]
    for k, symbol in enumerate(frame.atoms.get_chemical_symbols()):
        line = f"  {k:4d}  {symbol:3}"
        line += f"  {results['charges'][k]:9.5f}" if charges else ""
        force = factor * results["forces"][k]
        line += "  " + " ".join(f"{component:11.6f}" for component in force) if forces else ""
        lines.append(line)
    return "\n".join(lines)
