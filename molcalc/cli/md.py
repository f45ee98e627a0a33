"""``molcalc md``: molecular dynamics at constant energy or temperature."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from molcalc.cli.options import Arguments, Subparsers, add_model_options, make_calculator, number

if TYPE_CHECKING:
    from ase import Atoms

    from molcalc.calculators.base import MolCalculator
    from molcalc.cli.dynamics import Begin
    from molcalc.cli.recorder import Recorder

PROGRAM = "molcalc md"
_GIVEN = ("ensemble", "thermostat", "temperature", "timestep", "friction", "seed", "interval")
_EPILOG = """\
--steps counts the whole run. A run that was interrupted goes on from its last frame with --restart, with the settings
and the random numbers it was begun with, and ends with the frames that it would have had in one piece. Frames carry
momenta, and their step and time in info["step"] and info["time_fs"].

examples:
  molcalc md water.xyz --temperature 300 --steps 10000 --trajectory md.traj --log md.log
  molcalc md water.xyz --trajectory md.traj --log md.log --steps 20000 --restart
  molcalc md md.traj --keep-velocities --ensemble nve --trajectory nve.traj
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("md", help="molecular dynamics", description=__doc__, epilog=_EPILOG)
    positive = number(float, 0, open_end=True)
    parser.add_argument("file", metavar="FILE", help="structure (the last frame; FILE@INDEX selects; - = stdin)")
    parser.add_argument("--steps", type=number(int, 0), default=10000, metavar="N", help="default 10000")
    parser.add_argument("--ensemble", choices=("nve", "nvt"), help="constant energy or temperature (default nvt)")
    parser.add_argument("--thermostat", choices=("langevin", "bussi"), help="for nvt (default langevin)")
    parser.add_argument("--temperature", type=number(float, 0), metavar="T", help="K (default 300)")
    parser.add_argument("--timestep", type=positive, metavar="DT", help="fs (default 0.5)")
    parser.add_argument(
        "--friction", type=positive, metavar="G", help="1/fs (default 0.01); bussi: inverse of the relaxation time"
    )
    parser.add_argument("--seed", type=number(int, 0), help="of velocities and noise (default: a new one, printed)")
    parser.add_argument("--interval", type=number(int, 1), metavar="N", help="steps between frames (default 10)")
    parser.add_argument("--keep-velocities", action="store_true", help="start with the velocities in FILE")
    parser.add_argument("--trajectory", metavar="FILE", help="frames (default: NAME-md.traj, here)")
    parser.add_argument("--log", metavar="FILE", help="table of step, time, energies and temperature of every frame")
    parser.add_argument("--restart", action="store_true", help="continue --trajectory, if it exists")
    parser.add_argument("--force", action="store_true", help="replace existing files")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Run molecular dynamics of one structure."""
    from molcalc.cli.dynamics import integrator
    from molcalc.cli.output import keep_state
    from molcalc.cli.recorder import Recorder
    from molcalc.cli.structures import read_structure
    from molcalc.cli.trajectory import TrajectoryWriter

    start = read_structure(args.file)
    path = Path(args.trajectory or f"{start.stem}-md.traj")
    log = Path(args.log) if args.log else None
    calculator = make_calculator(args)
    begin = _continued(args, start.atoms, path, calculator) or _new(args, start.atoms, path, log)
    keep_state(begin.atoms, calculator)
    begin.atoms.calc = calculator
    begin.atoms.get_forces()
    dynamics = integrator(begin.atoms, begin.settings, begin.n_freedom)
    dynamics.nsteps = max(begin.step, 0)
    print(f"{begin.atoms.get_chemical_formula()}, {begin.settings.text()}; frames in {path}", flush=True)
    writer = TrajectoryWriter(path, begin.description(), begin.n_frames)
    with writer, Recorder(begin, writer, log) as recorder:
        _propagate(dynamics, begin, recorder, args.steps, path)
    print(recorder.summary(args.steps))
    return 0


def _new(args: Arguments, atoms: Atoms, path: Path, log: Path | None) -> Begin:
    import secrets

    from molcalc.cli.dynamics import Begin, degrees_of_freedom, new_settings, set_velocities
    from molcalc.cli.output import check_target
    from molcalc.errors import InputError

    for target in (path, log):
        if target is not None:
            check_target(target, args.force)
    settings = new_settings({name: getattr(args, name) for name in _GIVEN}, seed=secrets.randbelow(2**32))
    if not args.keep_velocities:
        set_velocities(atoms, settings)
    elif not atoms.has("momenta"):
        raise InputError(f"--keep-velocities: {args.file} has no velocities")
    return Begin(atoms, settings, degrees_of_freedom(atoms, settings))


def _continued(args: Arguments, atoms: Atoms, path: Path, calculator: MolCalculator) -> Begin | None:
    from molcalc.cli.dynamics import Begin, recorded_settings
    from molcalc.cli.trajectory import check_same_atoms, check_same_model, read_written

    if not args.restart or not path.exists():
        return None
    written = read_written(path, PROGRAM, only_last=True)
    last = written.frames[-1]
    check_same_atoms(atoms, last, path)
    check_same_model(calculator, last, path)
    settings = recorded_settings(written.description, {name: getattr(args, name) for name in _GIVEN}, str(path))
    n_freedom = written.description["degrees_of_freedom"]
    return Begin(last.copy(), settings, n_freedom, step=int(last.info["step"]), n_frames=written.n_frames)


def _propagate(dynamics: Any, begin: Begin, recorder: Recorder, steps: int, path: Path) -> None:
    """Take steps with a progress bar, recording frames.

    Raises
    ------
    NonFiniteResultError, InputError
        When a result is not finite, or atoms collide; names the step.
    """
    import sys

    from tqdm import tqdm

    from molcalc.cli.dynamics import generator
    from molcalc.cli.interrupts import Interrupted
    from molcalc.errors import MolcalcError

    step, settings = dynamics.nsteps, begin.settings
    # A file, unlike a terminal, keeps every update of the bar.
    seconds = 0.5 if sys.stderr.isatty() else 10.0
    bar = tqdm(total=max(steps, step), initial=step, unit="step", mininterval=seconds, file=sys.stderr, desc="md")
    with bar:
        try:
            for _ in dynamics.irun(steps=max(steps - step, 0)):
                recorder.visit(dynamics.nsteps)
                step = dynamics.nsteps
                bar.update(step - bar.n)
                if settings.thermostat is not None:
                    dynamics.rng = generator(settings, step + 1)
        except Interrupted as stop:
            kept = f"{recorder.n_frames} frames are in {path}: --restart continues"
            raise Interrupted(stop.signal_number, f"stopped at step {dynamics.nsteps} of {steps}; {kept}") from stop
        except MolcalcError as error:
            raise type(error)(f"step {step + 1}: {error}") from error
