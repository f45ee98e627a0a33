"""``molcalc relax``: move the atoms (and the cell) to the nearest minimum of the energy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from molcalc.cli.failures import NOT_CONVERGED
from molcalc.cli.options import Arguments, Subparsers, add_model_options, make_calculator, number

if TYPE_CHECKING:
    from ase import Atoms

    from molcalc.calculators.base import MolCalculator
    from molcalc.cli.relaxation import Result
    from molcalc.cli.structures import Frame

OPTIMIZERS = ("BFGS", "LBFGS", "FIRE", "BFGSLineSearch")
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
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="BFGS", help="default BFGS")
    parser.add_argument("--cell", action="store_true", help="relax the cell as well (periodic structures)")
    parser.add_argument("--trajectory", metavar="FILE", help="write every step (.traj)")
    parser.add_argument("--restart", action="store_true", help="continue --trajectory, if it exists")
    parser.add_argument("--force", action="store_true", help="replace existing files")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Relax one structure; write it, and the steps if asked to."""
    from molcalc.cli.output import check_target, keep_state, output_format, with_results, write_frames
    from molcalc.cli.relaxation import relax
    from molcalc.cli.retrace import Recorded
    from molcalc.cli.structures import read_structure
    from molcalc.errors import ConfigError

    trajectory = Path(args.trajectory) if args.trajectory else None
    if args.restart and trajectory is None:
        raise ConfigError("--restart continues a trajectory: name it with --trajectory")
    start = read_structure(args.file)
    output = Path(args.output or f"{start.stem}-relaxed.xyz")
    check_target(output, args.force)
    output_format(output)
    if trajectory is not None and not args.restart:
        check_target(trajectory, args.force)
    calculator = make_calculator(args)
    _check_cell(args.cell, start, calculator)
    recorded = _recorded(args, trajectory, start.atoms, calculator)
    atoms = (recorded[0] if recorded else start.atoms).copy()
    keep_state(atoms, calculator)
    atoms.calc = Recorded(calculator, recorded) if recorded else calculator
    atoms.get_forces()
    result = relax(atoms, args, trajectory, recorded)
    calculator.get_property("energy", atoms)
    write_frames(output, [with_results(atoms, calculator.results, calculator)])
    return _summary(result, args.fmax, output)


def _check_cell(wanted: bool, start: Frame, calculator: MolCalculator) -> None:
    from molcalc.errors import InputError

    if wanted and not start.atoms.pbc.any():
        raise InputError(f"--cell: {start.label} is not periodic: there is no cell to relax")
    if wanted and "stress" not in calculator.implemented_properties:
        raise InputError(f"--cell: {calculator.model!r} as it is set up here has no stress")


def _recorded(args: Arguments, path: Path | None, atoms: Atoms, calculator: MolCalculator) -> list[Atoms]:
    """Steps of the trajectory to continue."""
    from molcalc.cli.relaxation import PROGRAM, description
    from molcalc.cli.trajectory import check_same_atoms, check_same_model, read_written
    from molcalc.errors import ConfigError

    if path is None or not args.restart or not path.exists():
        return []
    written = read_written(path, PROGRAM)
    check_same_atoms(atoms, written.frames[0], path)
    check_same_model(calculator, written.frames[-1], path)
    for name, value in description(args).items():
        if written.description.get(name) != value:
            raise ConfigError(
                f"{path} was made with {name}={written.description.get(name)}, this run has {name}={value}"
            )
    return written.frames


def _summary(result: Result, fmax: float, output: Path) -> int:
    """Print how it ended; the exit status."""
    from molcalc.cli.terminal import note

    if result.converged:
        print(f"converged after {result.step} steps: {result.energy:.6f} eV, written to {output}")
        return 0
    print(f"the last structure is in {output}")
    note(f"not converged after {result.step} steps: fmax {result.fmax:.4f} > {fmax:g} eV/Å; {result.reason}")
    return NOT_CONVERGED
