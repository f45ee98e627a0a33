"""``molcalc md``: molecular dynamics at constant energy or temperature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molcalc.cli.agreement import last_agreement
from molcalc.cli.failures import Failures
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
from molcalc.simulate import ENSEMBLES
from molcalc.simulate.interrupts import Interrupted

if TYPE_CHECKING:
    from molcalc.analysis.html_view import View
    from molcalc.calculators.base import MolCalculator
    from molcalc.cli.input_structures import InputStructure
    from molcalc.errors import MolcalcError
    from molcalc.simulate.ensembles import DynamicsSettings
    from molcalc.simulate.recorder import Dynamics, DynamicsStep

_THERMOSTATS = tuple(name for name in ENSEMBLES if name != "nve")
_DECIDED = ("ensemble", "thermostat", "temperature", "timestep", "friction", "seed", "interval")
"""Options that decide a trajectory, under the names that it records them."""
_EPILOG = """\
--steps counts the whole run. A run that was interrupted goes on from its last frame with --restart, with the settings
and the random numbers it was begun with, and ends with the frames that it would have had in one piece. Frames carry
momenta, and their step and time in info["step"] and info["time_fs"]. Several structures take their steps together in
one batch, with random numbers of their own; one that goes wrong is listed at the end, the others go on.

examples:
  molcalc md water.xyz --temperature 300 --steps 10000 --trajectory md.traj --log md.log
  molcalc md water.xyz --trajectory md.traj --log md.log --steps 20000 --restart
  molcalc md conformers.xyz@: replicas/*.xyz --steps 20000 --trajectory md.traj
  molcalc md water.xyz --trajectory md.traj --plot --html md.html
  molcalc md md.traj --keep-velocities --ensemble nve --trajectory nve.traj
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("md", help="molecular dynamics", description=__doc__, epilog=_EPILOG)
    positive = number(float, 0, open_end=True)
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="structures: the last frame of a file, all of a database; FILE@INDEX selects, FILE@: takes all; - = stdin",
    )
    parser.add_argument("--steps", type=number(int, 0), default=10000, metavar="N", help="default 10000")
    parser.add_argument("--ensemble", choices=("nve", "nvt"), help="constant energy or temperature (default nvt)")
    parser.add_argument("--thermostat", choices=_THERMOSTATS, help="for nvt (default langevin)")
    parser.add_argument("--temperature", type=number(float, 0), metavar="T", help="K (default 300)")
    parser.add_argument("--timestep", type=positive, metavar="DT", help="fs (default 0.5)")
    parser.add_argument(
        "--friction",
        type=positive,
        metavar="G",
        help="1/fs (default 0.01); of bussi and nose-hoover the inverse of the relaxation time",
    )
    parser.add_argument("--seed", type=number(int, 0), help="of velocities and noise (default: a new one, printed)")
    parser.add_argument("--interval", type=number(int, 1), metavar="N", help="steps between frames (default 10)")
    parser.add_argument("--keep-velocities", action="store_true", help="start with the velocities in FILE")
    parser.add_argument(
        "--trajectory",
        metavar="FILE",
        help="frames, .traj, .xyz or .extxyz (default: NAME-md.traj, here); FILE-0, FILE-1, … of several structures",
    )
    parser.add_argument(
        "--log",
        metavar="FILE",
        help="table of step, time, energies and temperature of every frame; FILE-0, … of several structures",
    )
    parser.add_argument(
        "--plot", action="store_true", help="picture of energies and temperature, beside the trajectory (NAME.png)"
    )
    add_html(parser, "the trajectory as a movie")
    parser.add_argument("--restart", action="store_true", help="continue --trajectory (.traj), if it exists")
    parser.add_argument("--force", action="store_true", help="replace existing files")
    add_executor_options(parser)
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Run molecular dynamics of structures, side by side."""
    from molcalc.cli.input_structures import read_all, sources_of
    from molcalc.cli.patience import tell_of_triples
    from molcalc.errors import InputError, MolcalcError
    from molcalc.io.targets import check_not_input, reserved
    from molcalc.simulate.dynamics import recorded_settings
    from molcalc.simulate.trajectory import check_trajectories, file_of_each

    failures = Failures(args.words, args.debug)
    starts = read_all(args.files, failures, latest=True)
    if not starts:
        return failures.report(0)
    frames = args.trajectory or f"{starts[0].stem}-md.traj"
    paths = file_of_each(frames, len(starts), "--trajectory")
    logs = file_of_each(args.log, len(starts), "--log")
    check_trajectories(paths)
    inputs = input_paths(sources_of(args.files), *(args.model or []))
    for start, path, log in zip(starts, paths, logs):
        if path is not None and args.restart and path.exists():
            continue
        for target in (path, log):
            if target is not None:
                check_not_input(target, inputs)
        if args.keep_velocities and not start.atoms.has("momenta"):
            raise InputError(f"--keep-velocities: {start.source} has no velocities")
    pictures = _Pictures(args, paths, inputs)
    if len(starts) > 1:  # of two runs of the same list each would get some of the trajectories, and neither all
        args.held.enter_context(reserved(Path(frames), force=True))
    recorded = recorded_settings(paths) if args.restart else None
    settings = _new_settings(args) if recorded is None else _as_begun(recorded, args, paths)
    calculator = make_calculator(args)
    tell_of_triples(calculator, [start.atoms for start in starts])
    outcomes = _moved(starts, calculator, settings, paths, logs, args)
    done = [outcome for outcome in outcomes if not isinstance(outcome, MolcalcError)]
    for start, path, outcome in zip(starts, paths, outcomes):
        label = "" if len(starts) == 1 else f"{start.label}: "
        if isinstance(outcome, MolcalcError):
            if len(starts) == 1:
                raise outcome
            failures.add(type(outcome)(f"{label}{outcome}"))
            continue
        pictures.add(start.label, path, outcome)
        print(f"{label}{_summary(outcome, args.steps)}{'' if len(starts) == 1 else f'; frames in {path}'}")
        if len(starts) == 1 and (agreement := last_agreement(outcome.extras, len(start.atoms))):
            print(agreement)
    pictures.write()
    return failures.report(len(done))


class _Pictures:
    """What is drawn of the trajectories of a run: a picture of each, and one page of all.

    Parameters
    ----------
    paths : of the trajectories.
    inputs : files that the command reads.

    Raises
    ------
    ConfigError, InputError
        When a picture cannot be drawn or would replace something; those of the run that goes on are drawn anew.
    """

    def __init__(self, args: Arguments, paths: Sequence[Path | None], inputs: Sequence[Path]) -> None:
        from molcalc.io.targets import check_distinct, check_file, reserved
        from molcalc.train.report.figures import PNG, style

        self._plotted = args.plot
        self._page = None if args.html is None else Path(args.html)
        self._views: list[View] = []
        force = args.force or args.restart
        pictures = [path.with_suffix(PNG) for path in paths if path is not None] if args.plot else []
        check_distinct([*pictures, self._page, *paths])
        for path in pictures:
            check_file(path, force=force, inputs=inputs)
        if pictures:
            with style():  # says that matplotlib is not there, before the work
                pass
        if self._page is not None:
            args.held.enter_context(reserved(self._page, force=force, inputs=inputs))

    def add(self, label: str, path: Path | None, outcome: Dynamics) -> None:
        """Draw a trajectory, all parts of the run."""
        from ase.io import read

        from molcalc.analysis.dynamics_plot import draw_dynamics
        from molcalc.analysis.html_view import trajectory_view
        from molcalc.cli.terminal import note
        from molcalc.simulate.ensembles import degrees_of_freedom
        from molcalc.train.report.figures import PNG, save_figure

        if path is None or not (self._plotted or self._page):
            return
        frames = read(path, ":")
        if self._plotted and len(frames) > 1:
            settings = outcome.settings
            kelvin = None if settings.thermostat is None else settings.temperature
            figure = draw_dynamics(frames, degrees_of_freedom(outcome.atoms, settings), kelvin)
            save_figure(figure, path.with_suffix(PNG))
        elif self._plotted:
            note(f"{path} has one frame only, of which there is no picture: take more --steps or a shorter --interval")
        if self._page is not None:
            self._views.append(trajectory_view(frames, label))

    def write(self) -> None:
        """Write the page."""
        from molcalc.analysis.html_view import write_page

        if self._page is not None and self._views:
            write_page(self._page, self._views, "Molecular dynamics")


def _moved(
    starts: Sequence[InputStructure],
    calculator: MolCalculator,
    settings: DynamicsSettings,
    paths: Sequence[Path | None],
    logs: Sequence[Path | None],
    args: Arguments,
) -> list[Dynamics | MolcalcError]:
    """How the run of each structure ended, while a bar shows all steps."""
    from molcalc.simulate.dynamics import md_all

    title = f"{starts[0].atoms.get_chemical_formula()}, {_words(settings)}; frames in {paths[0]}"
    if len(starts) > 1:
        title = f"{len(starts)} structures, {_words(settings)}; frames in {paths[0]}, …"
    with _Progress(title, args.steps, len(starts)) as progress, executor_of(args) as executor:
        try:
            return md_all(
                [start.atoms for start in starts], calculator, settings, steps=args.steps,
                keep_velocities=args.keep_velocities, trajectory=paths, log=logs, restart=args.restart,
                force=args.force, executor=executor, observer=progress, ended=progress.ended,
            )  # fmt: skip
        except Interrupted as stop:
            raise progress.interrupted(stop, paths) from stop


def _new_settings(args: Arguments) -> DynamicsSettings:
    """Settings of a new run: what was given, defaults for the rest."""
    import secrets

    from molcalc.errors import ConfigError
    from molcalc.simulate.ensembles import DynamicsSettings

    if args.ensemble == "nve":
        for name in ("thermostat", "friction"):
            if getattr(args, name) is not None:
                raise ConfigError(f"--{name} has no meaning with --ensemble nve: leave it out")
    given = {name: getattr(args, name) for name in ("temperature", "timestep", "friction", "seed", "interval")}
    return DynamicsSettings(
        ensemble="nve" if args.ensemble == "nve" else args.thermostat or "langevin",
        **{"seed": secrets.randbelow(2**32), **{name: value for name, value in given.items() if value is not None}},
    )


def _as_begun(recorded: DynamicsSettings, args: Arguments, paths: Sequence[Path | None]) -> DynamicsSettings:
    """Settings of the run to be continued; what is given must agree with them."""
    from molcalc.errors import ConfigError

    begun = recorded.description()
    for name in _DECIDED:
        value = getattr(args, name)
        if value is not None and value != begun[name]:
            path = next(path for path in paths if path is not None and path.exists())
            raise ConfigError(
                f"--{name} {value}: {path} was made with {begun[name]}; a restart continues the same run: leave "
                "the option out, or begin a new run with --keep-velocities"
            )
    return recorded


class _Progress:
    """Prints what is run, and shows a bar of the steps.

    Parameters
    ----------
    title : printed before the first step.
    n_steps : of the whole run, of each structure.
    """

    def __init__(self, title: str, n_steps: int, n_systems: int) -> None:
        self._title, self._n_steps, self._n_systems = title, n_steps, n_systems
        self._bar: Any = None
        self._seen: dict[int, int] = {}
        self._last: DynamicsStep | None = None

    def __call__(self, step: DynamicsStep) -> None:
        self._last = step
        self._show(step.system, step.step)

    def ended(self, system: int, outcome: Dynamics | MolcalcError) -> None:
        """Count all steps of one of several structures, which has ended here or in another process."""
        if self._n_systems > 1:
            self._show(system, self._n_steps)

    def _show(self, system: int, step: int) -> None:
        from molcalc.progress import progress_bar

        if self._bar is None:
            print(self._title, flush=True)
            total = self._n_systems * max(self._n_steps, step)
            self._bar = progress_bar(in_files=True, total=total, initial=step, unit="step", desc="md")
            self._seen[system] = step
        self._bar.update(max(step - self._seen.get(system, 0), 0))
        self._seen[system] = step

    def interrupted(self, stop: Interrupted, paths: Sequence[Path | None]) -> Interrupted:
        """Interruption that says what a signal stopped and how to go on."""
        if self._last is None:
            return stop
        at = f"stopped at step {self._last.step} of {self._n_steps}"
        if len(paths) == 1:
            kept = f"{self._last.n_frames} frames are in {paths[0]}: --restart continues"
        else:
            at += f" of structure {self._last.system}"
            kept = "the trajectories have all frames so far: --restart continues"
        return Interrupted(stop.signal_number, f"{at}; {kept}")

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()


def _words(settings: DynamicsSettings) -> str:
    """Settings in one line for people."""
    if settings.thermostat is None:
        return f"nve, time step {settings.timestep:g} fs, seed {settings.seed}"
    ensemble = f"nvt ({settings.thermostat}) at {settings.temperature:g} K"
    return f"{ensemble}, time step {settings.timestep:g} fs, seed {settings.seed}"


def _summary(done: Dynamics, steps: int) -> str:
    """Mean temperature, and how constant a constant energy was, over the frames of this run."""
    text = f"{steps} steps, {done.n_frames} frames"
    if not len(done.times):
        return text
    text += f"; mean temperature {done.temperatures.mean():.1f} K, last total energy {done.total_energies[-1]:.6f} eV"
    if done.settings.thermostat is None:
        text += f", fluctuation {done.fluctuation:.1e} eV/atom"
        if done.drift is not None:
            text += f", drift {done.drift:.1e} eV/atom/ps"
    return text
