"""``molcalc relax``: move the atoms (and the cell) to the nearest minimum of the energy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from molcalc.cli.failures import NOT_CONVERGED
from molcalc.cli.options import Arguments, Subparsers, add_model_options, make_calculator, number
from molcalc.simulate import GEOMETRY_OPTIMIZERS
from molcalc.simulate.interrupts import Interrupted

if TYPE_CHECKING:
    from molcalc.simulate.relaxation import Relaxation, RelaxationStep

_EPILOG = """\
--steps counts the whole relaxation, including the part that --restart continues. The relaxed structure is written with
its energy, forces and charges also when the steps did not suffice; the exit status is 1 then.

examples:
  molcalc relax aspirin.xyz -o relaxed.xyz
  molcalc relax aspirin.xyz -o relaxed.xyz --trajectory steps.traj --fmax 0.001
  molcalc relax aspirin.xyz -o relaxed.xyz --trajectory steps.traj --fmax 0.001 --restart
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("relax", help="relax a structure", description=__doc__, epilog=_EPILOG)
    parser.add_argument("file", metavar="FILE", help="structure (the last frame; FILE@INDEX selects; - = stdin)")
    parser.add_argument("-o", "--output", metavar="FILE", help="relaxed structure (default: NAME-relaxed.xyz, here)")
    parser.add_argument(
        "--fmax", type=number(float, 0, open_end=True), default=0.05, metavar="F", help="wanted, eV/Å (default 0.05)"
    )
    parser.add_argument("--steps", type=number(int, 0), default=500, metavar="N", help="at most (default 500)")
    parser.add_argument("--optimizer", choices=GEOMETRY_OPTIMIZERS, default="BFGS", help="default BFGS")
    parser.add_argument("--cell", action="store_true", help="relax the cell as well (periodic structures)")
    parser.add_argument("--trajectory", metavar="FILE", help="write every step (.traj, .xyz, .extxyz)")
    parser.add_argument("--restart", action="store_true", help="continue --trajectory (.traj), if it exists")
    parser.add_argument("--force", action="store_true", help="replace existing files")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Relax one structure; write it, and the steps if asked to."""
    from molcalc.cli.input_structures import read_structure
    from molcalc.cli.output import output_format, write_frames
    from molcalc.errors import ConfigError, InputError
    from molcalc.io.targets import check_file, check_not_input
    from molcalc.simulate.relaxation import RelaxationSettings, check_cell, relax
    from molcalc.simulate.trajectory import check_distinct, check_trajectories

    trajectory = Path(args.trajectory) if args.trajectory else None
    if args.restart and trajectory is None:
        raise ConfigError("--restart continues a trajectory: name it with --trajectory")
    start = read_structure(args.file)
    output = Path(args.output or f"{start.stem}-relaxed.xyz")
    check_file(output, force=args.force)
    output_format(output)
    check_distinct([output, trajectory])
    check_trajectories([trajectory])
    if trajectory is not None and not args.restart:
        check_not_input(trajectory, [Path(start.source)])
    settings = RelaxationSettings(fmax=args.fmax, steps=args.steps, optimizer=args.optimizer, cell=args.cell)
    calculator = make_calculator(args)
    if settings.cell:
        try:
            check_cell(start.atoms, calculator, start.label)
        except InputError as error:
            raise InputError(f"--cell: {error}") from error
    printed = _StepTable()
    try:
        (relaxed,) = relax(
            start.atoms, calculator, settings,
            trajectory=trajectory, restart=args.restart, force=args.force, observer=printed,
        )  # fmt: skip
    except Interrupted as stop:
        raise printed.interrupted(stop, trajectory) from stop
    write_frames(output, [relaxed.atoms])
    return _summary(relaxed, settings.fmax, output)


class _StepTable:
    """Prints a line for every step."""

    def __init__(self) -> None:
        self._last: RelaxationStep | None = None

    def __call__(self, step: RelaxationStep) -> None:
        if self._last is None:
            print(f"{'step':>5}  {'energy/eV':>16}  {'fmax/(eV/Å)':>12}")
        self._last = step
        print(f"{step.step:5d}  {step.energy:16.6f}  {step.fmax:12.6f}", flush=True)

    def interrupted(self, stop: Interrupted, trajectory: Path | None) -> Interrupted:
        """Interruption that says what a signal stopped and how to go on."""
        if self._last is None:
            return stop
        where = f"; {trajectory} has every step: --restart continues" if trajectory else ""
        return Interrupted(stop.signal_number, f"stopped after step {self._last.step}{where}")


def _summary(relaxed: Relaxation, fmax: float, output: Path) -> int:
    """Print how it ended; the exit status."""
    from molcalc.cli.terminal import note

    last = relaxed.last
    if relaxed.converged:
        print(f"converged after {last.step} steps: {last.energy:.6f} eV, written to {output}")
        return 0
    reason = "more --steps, with --trajectory and --restart, go on from here"
    if relaxed.stuck:
        reason = "the line search found no lower energy (rounding: try --dtype float64)"
    print(f"the last structure is in {output}")
    note(f"not converged after {last.step} steps: fmax {last.fmax:.4f} > {fmax:g} eV/Å; {reason}")
    return NOT_CONVERGED
