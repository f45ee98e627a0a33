"""``molcalc vib --dynamics``: infrared spectra of trajectories."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from molcalc.cli.failures import Failures
from molcalc.cli.options import Arguments, input_paths, make_calculator
from molcalc.cli.table import Column, ShownTable, prints_text, reserve_files, show_table

if TYPE_CHECKING:
    from molcalc.analysis.spectra import Spectrum

LOWEST_PEAK = 0.02
"""Share of the highest peak below which a peak is not listed."""
_COLUMNS = (
    Column("file", text=True),
    Column("wavenumber", unit="cm⁻¹", form=".1f"),
    Column("absorption", unit="km/mol per cm⁻¹", form=".4f"),
)
_OF_STRUCTURES = ("relax", "anharmonic", "modes", "beside", "masses", "html", "pressure", "symmetry")
"""Options that are about vibrations around one structure."""


def report_dynamics(args: Arguments) -> int:
    """Bands of each trajectory, and files of its spectrum.

    Returns
    -------
    exit status

    Raises
    ------
    ConfigError
        For options that need a structure at rest.
    InputError
        For frames that are no trajectory of one molecule, or a file that is named twice.
    """
    from molcalc.analysis.pictures import draw_spectrum
    from molcalc.analysis.spectra import md_infrared_spectrum
    from molcalc.cli.input_structures import read_all, sources_of, stems_of
    from molcalc.errors import ConfigError
    from molcalc.io.files import together, write_atomic
    from molcalc.train.report.figures import save_figure, style

    for name in _OF_STRUCTURES:
        if vars(args)[name]:
            raise ConfigError(f"--dynamics makes spectra of trajectories: leave out --{name}")
    _refuse_repeated(args.files)
    failures = Failures(args.words, args.debug)
    read = [read_all([name], failures) for name in args.files]  # of a pattern the frames of several files
    runs = [list(run) for frames in read for _, run in groupby(frames, key=lambda frame: frame.source)]
    if not runs:
        return failures.report(0)
    stems = stems_of([run[0] for run in runs], args.output)
    endings = ("-ir.csv", "-ir.png") if args.plot else ()
    wanted = [[Path(stem + ending) for ending in endings] for stem in stems]
    reserve_files(args, input_paths(sources_of(args.files), *(args.model or [])), wanted)
    if args.plot:
        with style():  # says that matplotlib is not there, before the work
            pass
    calculator = make_calculator(args)
    table = ShownTable(_COLUMNS)
    for run, targets in zip(runs, wanted):
        frames = [frame.atoms for frame in run]
        spectrum = md_infrared_spectrum(frames, args.timestep, calculator, args.temperature, args.fwhm)
        rows = [[run[0].source, *peak] for peak in peaks(spectrum)]
        table.rows += rows
        if prints_text(args):
            print(f"{run[0].source}: {run[0].atoms.get_chemical_formula()}, {len(run)} frames, {spectrum.title}")
            print(ShownTable(table.columns[1:], [row[1:] for row in rows]))
        if args.plot:
            with together():
                write_atomic(targets[0], spectrum.csv().encode())
                save_figure(draw_spectrum(spectrum), targets[1])
            if prints_text(args):
                print(f"written: {', '.join(str(path) for path in targets)}")
    document = {"units": table.units(), "peaks": table.records()}
    show_table(args, table, document, text="")
    return failures.report(len(runs))


def _refuse_repeated(names: Sequence[str]) -> None:
    """Refuse a file that is named twice, under whatever name and index: frames of one run are one argument."""
    from molcalc.cli.input_structures import sources_of
    from molcalc.errors import InputError

    seen: set[str] = set()
    for name in sources_of(names):
        file = os.path.realpath(name)
        if file in seen:
            raise InputError(f"{name} is named twice; with --dynamics a file is one trajectory: name it once")
        seen.add(file)


def peaks(spectrum: Spectrum) -> list[list[float]]:
    """Wavenumber and height of each peak that stands out.

    Returns
    -------
    cm⁻¹ and km/mol per cm⁻¹, ascending
    """
    from scipy.signal import find_peaks

    found, _ = find_peaks(spectrum.intensity, prominence=LOWEST_PEAK * float(spectrum.intensity.max()))
    return [[float(spectrum.wavenumbers[k]), float(spectrum.intensity[k])] for k in found]
