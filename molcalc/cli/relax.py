"""``molcalc relax``: move the atoms (and the cell) of each structure to the nearest minimum of the energy."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molcalc.cli.agreement import last_agreement
from molcalc.cli.failures import NOT_CONVERGED, Failures
from molcalc.cli.options import (
    Arguments,
    Subparsers,
    add_executor_options,
    add_html,
    add_model_options,
    executor_of,
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
    from molcalc.analysis.html_view import View
    from molcalc.calculators.base import MolCalculator
    from molcalc.cli.input_structures import InputStructure
    from molcalc.errors import MolcalcError
    from molcalc.simulate.relaxation_run import Relaxation, RelaxationSettings, RelaxationStep

_EPILOG = """\
--steps counts the whole relaxation, including the part that --restart continues. The relaxed structure is written with
its energy, forces and charges also when the steps did not suffice; the exit status is 1 then. A structure that cannot
be relaxed is listed at the end, the others are relaxed. Several structures take their steps together in one batch. A
database (-o NAME.db) fills while they are relaxed, with the number of each in the key input_number; --restart leaves
out those that it has, unless they may take more --steps. With --trajectory, --restart goes on from its last step;
--force replaces the relaxed structures of the part before, and the trajectory stays.

examples:
  molcalc relax aspirin.xyz -o relaxed.xyz
  molcalc relax conformers.xyz -o minima.xyz --csv minima.csv --unit kcal/mol
  molcalc relax big.db -o minima.db --workers 4 --restart
  molcalc relax aspirin.xyz -o relaxed.xyz --trajectory steps.traj --fmax 0.001
  molcalc relax aspirin.xyz -o relaxed.xyz --trajectory steps.traj --fmax 0.001 --restart --force
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("relax", help="relax a structure", description=__doc__, epilog=_EPILOG)
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="structures, all frames (FILE@INDEX selects, FILE@-1 the last; - = stdin)",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="relaxed structures (default: NAME-relaxed.xyz, here)")
    parser.add_argument(
        "--fmax", type=number(float, 0, open_end=True), default=0.05, metavar="F", help="wanted, eV/Å (default 0.05)"
    )
    parser.add_argument("--steps", type=number(int, 0), default=500, metavar="N", help="at most (default 500)")
    parser.add_argument(
        "--optimizer",
        choices=GEOMETRY_OPTIMIZERS,
        default="auto",
        help="default auto, which begins with a model of the second derivatives; the others are ASE's",
    )
    parser.add_argument("--cell", action="store_true", help="relax the cell as well (periodic structures)")
    parser.add_argument(
        "--trajectory",
        metavar="FILE",
        help="write every step (.traj, .xyz, .extxyz); NAME-0, NAME-1, … of several structures",
    )
    add_html(parser, "relaxed structures; with --trajectory every step")
    parser.add_argument(
        "--restart", action="store_true", help="continue --trajectory (.traj) and -o NAME.db where they exist"
    )
    parser.add_argument("--force", action="store_true", help="replace existing files, but no input")
    add_executor_options(parser)
    add_table_options(parser, unit=True)
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Relax structures; write them, and the steps if asked to."""
    from molcalc.analysis.html_view import write_page
    from molcalc.cli.input_structures import read_all, sources_of
    from molcalc.cli.output import output_format, write_frames
    from molcalc.cli.patience import tell_of_triples
    from molcalc.errors import ConfigError, MolcalcError
    from molcalc.io.files import together
    from molcalc.io.targets import check_distinct, check_file, check_not_input, reserved
    from molcalc.simulate.relaxation_run import RelaxationSettings
    from molcalc.simulate.results_database import STREAMED
    from molcalc.simulate.trajectory import check_trajectories, file_of_each

    failures = Failures(args.words, args.debug)
    starts = read_all(args.files, failures)
    if not starts:
        return failures.report(0)
    output = Path(args.output or f"{starts[0].stem}-relaxed.xyz")
    grows = output.suffix.lower() == STREAMED
    if args.restart and args.trajectory is None and not grows:
        raise ConfigError("--restart continues a trajectory or a database: name one with --trajectory or -o NAME.db")
    trajectories = file_of_each(args.trajectory, len(starts), "--trajectory")
    inputs = input_paths(sources_of(args.files), *(args.model or []))
    output_format(output)
    page = None if args.html is None else Path(args.html)
    check_distinct([output, *trajectories, page])
    if not grows:
        args.held.enter_context(reserved(output, force=args.force, inputs=inputs))
    elif args.restart and output.exists():
        check_not_input(output, inputs)
    else:
        check_file(output, force=args.force, inputs=inputs)
    check_trajectories(trajectories)
    if page is not None:
        args.held.enter_context(reserved(page, force=args.force, inputs=inputs))
    check_table_target(args, inputs, [output, *trajectories, page])
    for trajectory in trajectories if not args.restart else []:
        if trajectory is not None:
            check_not_input(trajectory, inputs)
    settings = RelaxationSettings(fmax=args.fmax, steps=args.steps, optimizer=args.optimizer, cell=args.cell)
    calculator = make_calculator(args)
    tell_of_triples(calculator, [start.atoms for start in starts])
    outcomes, database = [], output if grows else None
    for start, outcome in zip(starts, _relaxed(starts, calculator, settings, trajectories, database, args)):
        if isinstance(outcome, MolcalcError):
            if len(starts) == 1:
                raise outcome
            failures.add(type(outcome)(f"{start.label}: {outcome}"))
        else:
            outcomes.append((start, outcome))
    if not outcomes:
        return failures.report(0)
    table = _table(outcomes, calculator, args.unit)
    document = {"units": table.units(), "output": str(output), "structures": table.records()}
    with together():
        if not grows:
            write_frames(output, [relaxed.atoms for _, relaxed in outcomes])
        if page is not None:
            of_start = dict(zip((start.label for start in starts), trajectories))
            views = [_view(start.label, relaxed, of_start[start.label]) for start, relaxed in outcomes]
            write_page(page, views, "Relaxed structures")
        show_table(args, table, document, text=f"\n{table}" if len(starts) > 1 else "")
    go_on = _how_to_go_on(output if grows else None, trajectories)
    status = [_summary(relaxed, settings.fmax, output, go_on, prints_text(args)) for _, relaxed in outcomes]
    return failures.report(len(outcomes)) or max(status)


def _relaxed(
    starts: Sequence[InputStructure],
    calculator: MolCalculator,
    settings: RelaxationSettings,
    trajectories: Sequence[Path | None],
    database: Path | None,
    args: Arguments,
) -> list[Relaxation | MolcalcError]:
    """How each structure was relaxed; of a single one every step is shown, of several how many have ended."""

    from molcalc.cli.terminal import log_shown_from
    from molcalc.errors import MolcalcError
    from molcalc.progress import progress_bar
    from molcalc.simulate.relaxation import relax_all

    images = [start.atoms for start in starts]
    alone = len(images) == 1
    printed = _StepTable(shown=alone and prints_text(args))
    bar = progress_bar(total=len(images), desc="relax", unit="structure", visible=not alone)
    with bar, executor_of(args) as executor, log_shown_from(logging.INFO):
        try:
            outcomes = relax_all(
                images, calculator, settings, trajectory=trajectories, database=database, restart=args.restart,
                force=args.force, executor=executor, observer=printed, ended=lambda *_: bar.update(),
            )  # fmt: skip
        except Interrupted as stop:
            raise printed.interrupted(stop, trajectories, database) from stop
    for outcome in outcomes if alone and prints_text(args) else []:
        if not isinstance(outcome, MolcalcError) and (words := last_agreement(outcome.extras, len(images[0]))):
            print(words)
    return outcomes


def _table(outcomes: Sequence[tuple[InputStructure, Relaxation]], calculator: MolCalculator, unit: str) -> ShownTable:
    """One relaxed structure in a row."""
    factor = per_electronvolt(unit)
    columns = [
        Column("file", text=True), Column("frame"), Column("formula", text=True), Column("charge"),
        Column("converged", text=True), Column("steps"), Column("energy", unit=unit, form=".6f"),
        Column("max_force", "max force", f"{unit}/Å", ".6f"),
    ]  # fmt: skip
    rows: list[Sequence[Any]] = [
        [
            start.source, start.number, start.atoms.get_chemical_formula(), calculator.resolve(relaxed.atoms).charge,
            "yes" if relaxed.converged else "no", relaxed.last.step, factor * relaxed.last.energy,
            factor * relaxed.last.fmax,
        ]
        for start, relaxed in outcomes
    ]  # fmt: skip
    return ShownTable(columns, rows)


def _view(label: str, relaxed: Relaxation, trajectory: Path | None) -> View:
    """What the page shows of one structure: the way there, where it was written down."""
    from ase.io import read

    from molcalc.analysis.html_view import trajectory_view

    frames = [relaxed.atoms] if trajectory is None else read(trajectory, ":")
    facts = {"eV": f"{relaxed.last.energy:.5f}", "eV/Å": f"{relaxed.last.fmax:.4f}"}
    return replace(trajectory_view(frames, label), facts=facts)


class _StepTable:
    """Prints a line for every step."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._last: RelaxationStep | None = None

    def __call__(self, step: RelaxationStep) -> None:
        if self._last is None and self._shown:
            print(f"{'step':>5}  {'energy/eV':>16}  {'fmax/(eV/Å)':>12}")
        self._last = step
        if self._shown:
            print(f"{step.step:5d}  {step.energy:16.6f}  {step.fmax:12.6f}", flush=True)

    def interrupted(self, stop: Interrupted, trajectories: Sequence[Path | None], database: Path | None) -> Interrupted:
        """Interruption that says what a signal stopped and how to go on."""
        if len(trajectories) > 1 and database is not None:
            kept = f"{database} has those that have ended: --restart continues"
            return Interrupted(stop.signal_number, f"stopped; {kept}")
        if self._last is None:
            return stop
        step = f"step {self._last.step}" + (f" of structure {self._last.system}" if len(trajectories) > 1 else "")
        kept = f"{trajectories[0]} has" if len(trajectories) == 1 else "the trajectories have"
        where = f"; {kept} every step: --restart continues" if trajectories[0] else ""
        return Interrupted(stop.signal_number, f"stopped after {step}{where}")


def _how_to_go_on(database: Path | None, trajectories: Sequence[Path | None]) -> str:
    """Advice for relaxations that did not converge."""
    from molcalc.simulate.trajectory import BINARY, trajectory_format

    if trajectories[0] is not None and trajectory_format(trajectories[0]) == BINARY:
        if database is not None:
            return "more --steps with --restart go on from here"
        return "more --steps with --restart --force go on from here; the trajectory stays"
    if database is not None:
        return "more --steps with --restart relax it again, and leave out those that are finished"
    return "give more --steps; with --trajectory NAME.traj a later call can go on"


def _summary(relaxed: Relaxation, fmax: float, output: Path, go_on: str, shown: bool) -> int:
    """Print how it ended; the exit status."""
    from molcalc.cli.terminal import note

    last = relaxed.last
    if relaxed.converged:
        if shown:
            print(f"converged after {last.step} steps: {last.energy:.6f} eV, written to {output}")
        return 0
    reason = "the line search found no lower energy (rounding: try --dtype float64)" if relaxed.stuck else go_on
    if shown:
        print(f"the last structure is in {output}")
    note(f"not converged after {last.step} steps: fmax {last.fmax:.4f} > {fmax:g} eV/Å; {reason}")
    return NOT_CONVERGED
