"""``molcalc equivariance``: what rotation, reflection, translation and another order of atoms do to results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molcalc.cli.failures import Failures
from molcalc.cli.options import (
    DEFAULT_PUBLISHED,
    Arguments,
    Subparsers,
    add_model_options,
    input_paths,
    make_calculator,
    number,
)
from molcalc.cli.table import Column, ShownTable, add_table_options, check_table_target, prints_text, show_table

if TYPE_CHECKING:
    from ase import Atoms

    from molcalc.analysis.equivariance import EquivarianceErrors
    from molcalc.analysis.motions import Motion
    from molcalc.calculators.base import MolCalculator
    from molcalc.cli.input_structures import InputStructure

DRAWN_ANGLE, DRAWN_SHIFT = 90.0, (5.0, 3.0, -2.0)
"""Degrees and Å of the motions that the picture shows."""
PACKED = (".h5", ".hdf5", ".npz")
"""Endings of files of training data that ASE does not read."""
PROMISE_BROKEN = 1
"""Exit status."""
_EPILOG = """\
Structures turn at random, are mirrored, moved, and renumbered; what is predicted afterwards is compared with what the
prediction before should have become: energies and charges stay, forces, dipoles and distributed charges turn along, and
the potential is asked at points that move along. Errors are the mean and standard deviation over all motions, and the
largest of any atom. --angle, --axis and --translation put one motion in the place of the random ones of its kind.

Every model says which of its predictions turn. The exit status is 1 if one of them does less than it says.

examples:
  molcalc equivariance --model runs/co2 --model runs/co2_plain --data co2.db
  molcalc equivariance --model runs/co2 --data co2.db@0 --angle 90 --axis z --translation 5 3 -2 --plot
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "equivariance", help="what rotations and other motions do to results", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="FILE",
        help="structures, or training data (FILE@INDEX selects; - = stdin)",
    )
    parser.add_argument("--structures", type=number(int, 1), default=20, metavar="N",
                        help="how many of them, evenly chosen (default 20)")  # fmt: skip
    parser.add_argument("--motions", type=number(int, 1), default=5, metavar="N",
                        help="random motions of each kind for every structure (default 5)")  # fmt: skip
    parser.add_argument("--seed", type=number(int, 0), default=0, help="of random motions (default 0)")
    group = parser.add_argument_group("one motion")
    group.add_argument("--angle", type=number(float), metavar="DEGREES", help="rotate by this angle")
    group.add_argument("--axis", nargs="+", metavar="AXIS",
                       help="x, y, z or three numbers, of rotation and mirror (default z)")  # fmt: skip
    group.add_argument("--translation", nargs=3, type=number(float), metavar=("X", "Y", "Z"), help="Å")
    parser.add_argument("--plot", action="store_true", help="picture of the structure with the largest dipole, as it "
                        "is, rotated and moved (90° about z and 5 3 -2 Å unless given)")  # fmt: skip
    parser.add_argument("-o", "--output", metavar="NAME",
                        help="beginning of the picture's name (default: equivariance.png)")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace existing files, but no input")
    add_table_options(parser)
    add_model_options(parser, several="for several models, each of its own")
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Move, compare, and say whether every model did what it declares."""
    from molcalc.analysis.equivariance import equivariance_errors
    from molcalc.cli.input_structures import sources_of
    from molcalc.errors import ConfigError
    from molcalc.io.files import together
    from molcalc.io.targets import reserved
    from molcalc.train.report.figures import style

    names = args.model or [DEFAULT_PUBLISHED]
    if len(set(names)) < len(names):
        raise ConfigError(f"--model {max(names, key=names.count)} is named twice")
    named = _named_motions(args)
    inputs = input_paths(sources_of(args.data), *names)
    if args.output is not None and not args.plot:
        raise ConfigError(f"--output {args.output} names the picture: give --plot as well")
    picture = Path(f"{(args.output or 'equivariance').removesuffix('.png')}.png") if args.plot else None
    check_table_target(args, inputs, [picture])
    if picture is not None:
        args.held.enter_context(reserved(picture, force=args.force, inputs=inputs))
        with style():  # says that matplotlib is not there, before the work
            pass
    failures = Failures(args.words, args.debug)
    frames = _read(args.data, failures)
    if not frames:
        return failures.report(0)
    calculators = {name: make_calculator(args, models=[name]) for name in names}
    chosen = [frame for frame in evenly(frames, args.structures) if _is_known(frame, calculators, failures)]
    if not chosen:
        return failures.report(0)
    images = [frame.atoms for frame in chosen]
    found = {
        name: equivariance_errors(images, calculator, motions=args.motions, named=named, seed=args.seed)
        for name, calculator in calculators.items()
    }
    said = [f"{len(chosen)} of {len(frames)} structures, evenly chosen" if len(chosen) < len(frames) else
            f"{len(frames)} structure{'s' * (len(frames) > 1)}"]  # fmt: skip
    said += [motion.name for motion in named]
    said += [f"{'other ' if named else ''}motions at random, {args.motions} of each kind, seed {args.seed}"]
    texts = [
        f"{', '.join(said)}\nerrors: mean ± standard deviation, largest",
        *(_text(name, errors) for name, errors in found.items()),
    ]
    with together():
        show_table(args, _table(found), _document(args, found, calculators, chosen, named), "\n\n".join(texts))
        if picture is not None:
            _draw(picture, images, calculators, named)
            if prints_text(args):
                print(f"\nwritten: {picture}")
    return failures.report(len(chosen)) or (0 if all(errors.kept for errors in found.values()) else PROMISE_BROKEN)


def _read(names: Sequence[str], failures: Failures) -> list[InputStructure]:
    """Structures of files, also of those that hold data for training and that ASE does not read."""
    from molcalc.analysis.model_comparison import structures_of
    from molcalc.cli.input_structures import InputStructure, read_all
    from molcalc.errors import MolcalcError
    from molcalc.train.data import open_dataset

    frames: list[InputStructure] = []
    for name in names:
        source = name if Path(name).exists() else name.rpartition("@")[0]
        if Path(source).suffix not in PACKED:
            frames += read_all([name], failures)
            continue
        try:
            data = open_dataset(name)
            found = structures_of(data, range(len(data)))
            frames += [InputStructure(atoms, source, k) for k, atoms in enumerate(found)]
        except (MolcalcError, OSError) as error:
            failures.add(error)
    return frames


def _is_known(frame: InputStructure, calculators: Mapping[str, MolCalculator], failures: Failures) -> bool:
    """Whether all models can compute a structure; what one of them refuses goes to ``failures``."""
    from molcalc.errors import MolcalcError

    try:
        for calculator in calculators.values():
            calculator.prepare(frame.atoms)
    except MolcalcError as error:
        failures.add(type(error)(f"{frame.label}: {error}"))
        return False
    return True


def evenly(frames: Sequence[InputStructure], number: int) -> list[InputStructure]:
    """So many of the structures, or all, from the first to the last."""
    if number >= len(frames):
        return list(frames)
    step = (len(frames) - 1) / max(1, number - 1)
    return [frames[round(k * step)] for k in range(number)]


def _named_motions(args: Arguments) -> list[Motion]:
    """Motions that the options name."""
    from molcalc.analysis.motions import Motion

    named = []
    if args.angle is not None or args.axis is not None:
        axis = _axis(args.axis)
        named.append(Motion.rotation(DRAWN_ANGLE if args.angle is None else args.angle, axis))
        named += [Motion.reflection(axis)] if args.axis is not None else []
    return named + ([] if args.translation is None else [Motion.translation(args.translation)])


def _axis(texts: Sequence[str] | None) -> str | list[float]:
    from molcalc.errors import ConfigError

    if texts is None:
        return "z"
    if len(texts) == 1:
        return texts[0]
    try:
        return [float(text) for text in texts]
    except ValueError as error:
        raise ConfigError(f"--axis {' '.join(texts)}: expected x, y, z or three numbers") from error


def _table(found: Mapping[str, EquivarianceErrors]) -> ShownTable:
    """Every error in a row, for files of values."""
    columns = [Column(name, text=True) for name in ("model", "motion", "property", "unit")]
    columns += [Column(name) for name in ("mean", "deviation", "largest", "allowed")]
    table = ShownTable([*columns, *(Column(name, text=True) for name in ("declared", "kept"))])
    for name, errors in found.items():
        for one in errors.errors:
            numbers = (one.mean, one.deviation, one.largest, one.allowed)
            words = ("yes" if each else "no" for each in (one.declared, one.kept))
            table.rows.append((name, one.motion, one.name, one.unit, *numbers, *words))
    return table


def _document(
    args: Arguments, found: Mapping[str, EquivarianceErrors], calculators: Mapping[str, MolCalculator],
    chosen: Sequence[InputStructure], named: Sequence[Motion],
) -> dict[str, Any]:  # fmt: skip
    """What JSON holds."""
    return {
        "structures": [{"file": frame.source, "frame": frame.number} for frame in chosen],
        "motions": {"random": args.motions, "seed": args.seed, "named": [motion.name for motion in named]},
        "models": [
            {
                "model": name, "model_hash": calculators[name].todict()["model_hash"], "dtype": errors.dtype,
                "kept": errors.kept,
                "fixed_in_space": list(calculators[name].potential.fixed_in_space),
                "errors": [{**asdict(one), "kept": one.kept} for one in errors.errors],
            }
            for name, errors in found.items()
        ],
    }  # fmt: skip


def _text(name: str, errors: EquivarianceErrors) -> str:
    """Errors of a model by property and motion, and what it makes of its word."""
    from molcalc.properties import PROPERTIES

    motions = list(dict.fromkeys(one.motion for one in errors.errors))
    columns = [Column("property", text=True), Column("unit", text=True)]
    table = ShownTable([*columns, *(Column(motion) for motion in motions)])
    for key in dict.fromkeys(one.name for one in errors.errors):
        cells = [errors.of(motion, key) for motion in motions]
        marks = ["" if one.declared else "* " for one in cells]
        numbers = [f"{_small(one.mean)} ± {_small(one.deviation)}, {_small(one.largest)}" for one in cells]
        shown = map("".join, zip(marks, numbers))
        table.rows.append([PROPERTIES[key].title, cells[0].unit, *shown])
    free = [PROPERTIES[one.name].title for one in errors.errors if not one.declared and one.motion == motions[0]]
    lines = [f"{name}, {errors.dtype}", str(table)]
    lines += [f"* declared not to turn: {', '.join(free)}"] if free else []
    for one in errors.broken:
        lines.append(
            f"BROKEN: {PROPERTIES[one.name].title} after {one.motion}, {_small(one.largest)} {one.unit} where rounding "
            f"explains {_small(one.allowed)}"
        )
    return "\n".join([*lines, f"keeps what it declares: {'yes' if errors.kept else 'no'}"])


def _small(value: float) -> str:
    return f"{value:.1e}" if value else "0"


def _draw(
    path: Path, images: Sequence[Atoms], calculators: Mapping[str, MolCalculator], named: Sequence[Motion]
) -> None:
    """The picture of the structure with the largest dipole."""
    import numpy as np

    from molcalc.analysis.equivariance_pictures import draw_equivariance
    from molcalc.analysis.motions import Motion
    from molcalc.train.report.figures import save_figure

    motions = {"rotation": Motion.rotation(DRAWN_ANGLE), "translation": Motion.translation(DRAWN_SHIFT)}
    motions |= {motion.kind: motion for motion in named}
    dipoles = next(iter(calculators.values())).evaluate(images, ("dipole",))
    largest = int(np.argmax([np.linalg.norm(found["dipole"]) for found in dipoles]))
    figure = draw_equivariance(images[largest], calculators, motions["rotation"], motions["translation"])
    save_figure(figure, path, colors=None)
