"""``molcalc conformers``: conformers of molecules, relaxed, without duplicates, in the order of their energies."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molcalc.cli.failures import Failures
from molcalc.cli.options import (
    Arguments,
    Subparsers,
    add_html,
    add_model_options,
    input_paths,
    make_calculator,
    number,
)
from molcalc.cli.table import (
    Column,
    ShownTable,
    add_table_options,
    check_table_target,
    per_electronvolt,
    prints_text,
    show_table,
)
from molcalc.simulate import GEOMETRY_OPTIMIZERS
from molcalc.simulate.interrupts import Interrupted

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator
    from molcalc.conformers.molecules import Ensemble
    from molcalc.conformers.ranked import RankedMolecule
    from molcalc.conformers.settings import RankingSettings
    from molcalc.conformers.sources import SourceReader
    from molcalc.errors import MolcalcError

_EPILOG = """\
SOURCE is SMILES, a file of SMILES (.smi, one molecule in a line, with a name behind it), an SDF, or any file of
structures. Those of SMILES are made by RDKit (pip install 'molcalc[conformers]'); those of a file are taken as they
are. Different molecules are ranked apart; stereoisomers and ions are different molecules.

A structure whose bonds or stereochemistry change while it is relaxed is dropped; how many were dropped, and why, is
said for each molecule. Relaxed structures are kept in OUTPUT.relaxed.traj until the run has ended: --restart goes on
with them. docs/conformers.md says what counts as one conformer.

examples:
  molcalc conformers ibuprofen.smi -o ranked.sdf
  molcalc conformers 'CC(=O)N[C@@H](C)C(=O)NC' -o ranked.xyz --structures 200 --unit kcal/mol
  molcalc conformers drugs.smi -o ranked.db --gibbs --temperature 310
  molcalc conformers start.xyz more.db -o ranked.sdf --enantiomers merge
"""
_SDF = ".sdf"


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "conformers", help="rank the conformers of molecules", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="SMILES or files (FILE@INDEX selects; - = stdin)")
    parser.add_argument(
        "-o", "--output", metavar="FILE",
        help="conformers by rank: .sdf, .db, or what ASE writes (default: NAME-conformers.xyz, here)",
    )  # fmt: skip
    add_html(parser, "the ranked list with its structures")
    parser.add_argument("--restart", action="store_true", help="go on with the relaxed structures of an earlier run")
    parser.add_argument("--force", action="store_true", help="replace existing files, but no input")
    made = parser.add_argument_group("structures")
    made.add_argument(
        "--structures", type=number(int, 1), metavar="N", dest="n_structures",
        help="made of each SMILES (default 50 to 600, by the bonds that turn)",
    )  # fmt: skip
    made.add_argument("--seed", type=number(int, 0), default=1, metavar="K", help="of these (default 1)")
    add_ranking_options(parser)
    add_table_options(parser, unit=True, usual=None)
    add_model_options(parser)
    parser.set_defaults(run=run)


def add_ranking_options(parser: argparse.ArgumentParser) -> None:
    """Options of relaxation and ranks."""
    relaxed = parser.add_argument_group("relaxation")
    relaxed.add_argument(
        "--fmax", type=number(float, 0, open_end=True), default=0.002, metavar="F", help="wanted, eV/Å (default 0.002)"
    )
    relaxed.add_argument("--steps", type=number(int, 0), default=500, metavar="N", help="at most (default 500)")
    relaxed.add_argument(
        "--optimizer", choices=GEOMETRY_OPTIMIZERS, default="auto", help="as of 'molcalc relax' (default auto)"
    )
    ranks = parser.add_argument_group("ranks")
    positive = number(float, 0, open_end=True)
    ranks.add_argument(
        "--window", type=positive, default=0.26, metavar="E",
        help="eV above the lowest energy that are kept (default 0.26, which is 6 kcal/mol)",
    )  # fmt: skip
    ranks.add_argument(
        "--temperature", type=positive, default=298.15, metavar="T", help="of weights, K (default 298.15)"
    )
    ranks.add_argument(
        "--gibbs", action="store_true", help="rank by harmonic Gibbs energies (second derivatives of each conformer)"
    )
    ranks.add_argument("--pressure", type=positive, default=101325.0, metavar="P", help="of these, Pa (default 101325)")
    ranks.add_argument(
        "--enantiomers", choices=("apart", "merge"), default="apart",
        help="mirror images: each a conformer (default), or one with degeneracy 2",
    )  # fmt: skip
    ranks.add_argument(
        "--duplicate-energy", type=positive, default=0.005, metavar="E",
        help="eV within which two structures may be one conformer (default 0.005)",
    )  # fmt: skip
    ranks.add_argument(
        "--duplicate-rmsd", type=positive, default=0.125, metavar="D",
        help="Å within which they have to be, without hydrogen on carbon (default 0.125)",
    )  # fmt: skip


def run(args: Arguments) -> int:
    """Rank conformers, write them, and print a table of each molecule."""
    from molcalc.cli.input_structures import sources_of
    from molcalc.conformers.sources import is_file_name

    failures = Failures(args.words, args.debug)
    output = Path(args.output or f"{_stem(args.sources[0])}-conformers.xyz")
    inputs = input_paths([each for each in sources_of(args.sources) if is_file_name(each)], *(args.model or []))

    def ensembles(in_sdf: bool) -> list[Ensemble]:
        return _ensembles(read_sources(args.sources, failures).ensembles(), failures, in_sdf)

    return rank_and_write(args, output, inputs, ensembles, failures)


def rank_and_write(
    args: Arguments,
    output: Path,
    inputs: Sequence[Path],
    ensembles_of: Callable[[bool], list[Ensemble]],
    failures: Failures,
) -> int:
    """Rank molecules, write them, and print a table of each.

    Parameters
    ----------
    inputs : files that are read, and never replaced.
    ensembles_of : gives molecules and their structures once all targets can be written; is told whether bond orders are
        needed.

    Returns
    -------
    exit status
    """
    from molcalc.analysis.html_view import conformer_views, write_page
    from molcalc.cli.output import output_format, write_frames
    from molcalc.conformers.sdf import write_sdf
    from molcalc.conformers.settings import RankingSettings
    from molcalc.errors import InputError, MolcalcError
    from molcalc.io.files import together
    from molcalc.io.targets import check_distinct, check_file, reserved

    settings = RankingSettings(**{name: vars(args)[name] for name in RankingSettings.__dataclass_fields__})
    kept = output.with_name(f"{output.name}.relaxed.traj")
    check_file(output, force=args.force, inputs=inputs)
    in_sdf = output.suffix.lower() == _SDF
    if not in_sdf:
        output_format(output)
    page = None if args.html is None else Path(args.html)
    check_distinct([output, page])
    if page is not None:
        args.held.enter_context(reserved(page, force=args.force, inputs=inputs))
    check_table_target(args, inputs, [output, kept, page])
    if kept.exists() and not (args.restart or args.force):
        raise InputError(
            f"{kept} has the relaxed structures of a run that did not end: --restart goes on with them, --force begins "
            "anew"
        )
    ensembles = ensembles_of(in_sdf)
    if not ensembles:
        return failures.report(0)
    calculator = make_calculator(args)
    molecules = []
    for outcome in _ranked(ensembles, calculator, settings, kept, args):
        if isinstance(outcome, MolcalcError):
            failures.add(outcome)
        else:
            molecules.append(outcome)
    if not molecules:
        kept.unlink(missing_ok=True)
        return failures.report(0)
    frames = [each.atoms for molecule in molecules for each in molecule.conformers]
    with together():
        if in_sdf:
            write_sdf(output, molecules)
        else:
            write_frames(output, frames)
        if page is not None:
            names = ", ".join(each.molecule.name for each in molecules)
            write_page(page, conformer_views(frames), f"Conformers of {names}")
        _show(args, molecules, calculator, output)
    kept.unlink(missing_ok=True)
    return failures.report(len(molecules))


def read_sources(names: Sequence[str], failures: Failures) -> SourceReader:
    """Molecules and structures of what the command line names; what cannot be read goes to ``failures``.

    Returns
    -------
    reader with all of them
    """
    from molcalc.cli.input_structures import STANDARD_INPUT, read_all
    from molcalc.conformers.rdkit_molecules import SMILES_FILES
    from molcalc.conformers.sdf import SDF_FILES
    from molcalc.conformers.sources import SourceReader, is_file_name

    reader = SourceReader()
    for name in names:
        path = name if os.path.lexists(name) else name.rpartition("@")[0] or name
        structures = name == STANDARD_INPUT or (
            is_file_name(path) and (path != name or not path.lower().endswith((*SMILES_FILES, *SDF_FILES)))
        )
        if structures:
            for frame in read_all([name], failures):
                reader.add_structure(frame.atoms, frame.label)
        else:
            reader.add(name)
    for error in reader.failures:
        failures.add(error)
    return reader


def _ensembles(found_in_sources: Sequence[Ensemble], failures: Failures, in_sdf: bool) -> list[Ensemble]:
    """Molecules to rank, with bond orders where the output needs them."""
    from molcalc.conformers.sdf import with_bond_orders
    from molcalc.errors import MolcalcError

    found = []
    for ensemble in found_in_sources:
        try:
            found.append(with_bond_orders(ensemble) if in_sdf else ensemble)
        except MolcalcError as error:
            failures.add(error)
    return found


def _ranked(
    ensembles: Sequence[Ensemble], calculator: MolCalculator, settings: RankingSettings, kept: Path, args: Arguments
) -> list[RankedMolecule | MolcalcError]:
    """Each molecule with its conformers; on a terminal a bar shows how many structures are relaxed."""
    from molcalc.conformers.ranking import RankingObserver, rank_all
    from molcalc.progress import progress_bar

    with progress_bar(desc="relax", unit="structure") as bar:
        observer = RankingObserver(bar)
        try:
            return rank_all(
                ensembles, calculator, settings, kept=kept, restart=args.restart, force=args.force, observer=observer
            )
        except Interrupted as stop:
            if not kept.exists():
                raise
            text = (
                f"stopped after {observer.n_done} of {observer.n_structures} relaxations; {kept} has them: --restart "
            )
            raise Interrupted(stop.signal_number, f"{text}goes on") from stop


def _show(args: Arguments, molecules: Sequence[RankedMolecule], calculator: MolCalculator, output: Path) -> None:
    """Print the table, and for each molecule what was dropped."""
    unit, relative_unit = args.unit or "eV", args.unit or "kcal/mol"
    columns = [
        Column("molecule", text=True), Column("rank"), Column("energy", unit=unit, form=".6f"),
        Column("relative", unit=relative_unit, form=".3f"), Column("weight", form=".4f"), Column("degeneracy"),
        Column("found"),
    ]  # fmt: skip
    if args.gibbs:
        columns += [Column("gibbs", "Gibbs energy", unit, ".6f"), Column("symmetry_number", "symmetry")]
    factor, relative_factor = per_electronvolt(unit), per_electronvolt(relative_unit)
    rows: list[Sequence[Any]] = []
    for each in molecules:
        for found in each.conformers:
            row = [
                each.molecule.name, found.rank, factor * found.energy, relative_factor * found.relative, found.weight,
                found.degeneracy, found.found,
            ]  # fmt: skip
            if found.gibbs is not None:
                row += [factor * found.gibbs, found.symmetry_number]
            rows.append(row)
    table = ShownTable(columns, rows)
    made_by = calculator.todict()
    document = {
        "model": made_by["model"],
        "model_hash": made_by["model_hash"],
        "units": table.units(),
        "temperature": args.temperature,
        "output": str(output),
        "molecules": _records(molecules, table),
    }
    show_table(args, table, document)
    for each in molecules if prints_text(args) else []:
        print(_summary(each))
    if prints_text(args):
        print(f"written to {output}")


def _records(molecules: Sequence[RankedMolecule], table: ShownTable) -> list[dict[str, Any]]:
    rows = iter(table.records())
    return [
        {
            "name": each.molecule.name,
            "formula": each.molecule.formula,
            "charge": each.molecule.charge,
            "multiplicity": each.molecule.multiplicity,
            "smiles": each.molecule.smiles,
            "structures": each.n_structures,
            "dropped": each.dropped_by_reason,
            "conformers": [next(rows) for _ in each.conformers],
        }
        for each in molecules
    ]


def _summary(ranked: RankedMolecule) -> str:
    n = len(ranked.conformers)
    dropped = "".join(f", {number} {reason}" for reason, number in ranked.dropped_by_reason.items())
    return f"{ranked.molecule.name}: {n} conformer{'' if n == 1 else 's'} of {ranked.n_structures} structures{dropped}"


def _stem(source: str) -> str:
    """Beginning of the name of the output."""
    path = source if os.path.lexists(source) else source.rpartition("@")[0]
    return Path(path).stem if path and os.path.exists(path) else "molecule"
