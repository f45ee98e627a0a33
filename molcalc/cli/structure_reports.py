"""What commands do that report on structures one by one, and write files of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from molcalc.cli.failures import Failures
from molcalc.cli.options import Arguments, input_paths, make_calculator
from molcalc.cli.table import reserve_files

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator
    from molcalc.cli.input_structures import InputStructure


class StructureReport(Protocol):
    """What a command says of several structures."""

    def add(self, frame: InputStructure, calculator: MolCalculator, targets: Mapping[str, Path]) -> None:
        """One structure, and the files that are written of it."""

    def publish(self, calculator: MolCalculator) -> None:
        """Give what was not given structure by structure."""


def report_each(
    args: Arguments, made: Callable[[], StructureReport], endings: Mapping[str, str], others: Iterable[str] = ()
) -> int:
    """Report on every structure that the command names; one that cannot be used does not end the others.

    The files of one structure take their names together, and so do those of all. Where there is one structure, they are
    one group.

    Parameters
    ----------
    made : gives the report, when all names of files are known to be good.
    endings : of the names of the files that are written of each structure, by what they hold.
    others : files that the command reads beside structures and models.

    Returns
    -------
    exit status
    """
    from molcalc.cli.input_structures import read_all, sources_of, stems_of
    from molcalc.errors import MolcalcError
    from molcalc.io.files import together
    from molcalc.train.report.figures import style

    failures = Failures(args.words, args.debug)
    frames = read_all(args.files, failures)
    if not frames:
        return failures.report(0)
    wanted = [{what: Path(stem + ending) for what, ending in endings.items()} for stem in stems_of(frames, args.output)]
    inputs = input_paths(sources_of(args.files), *(args.model or []), *others)
    page = [] if args.html is None else [Path(args.html)]
    reserve_files(args, inputs, [list(targets.values()) for targets in wanted], page)
    if args.plot:
        with style():  # says that matplotlib is not there, before the work
            pass
    report = made()
    calculator = make_calculator(args)
    n_done = 0
    with together() if len(frames) == 1 else nullcontext():
        for frame, targets in zip(frames, wanted):
            try:
                with together():
                    report.add(frame, calculator, targets)
                n_done += 1
            except MolcalcError as error:
                if len(frames) == 1:
                    raise
                failures.add(type(error)(f"{frame.label}: {error}"))
        if n_done:
            with together():
                report.publish(calculator)
    return failures.report(n_done)
