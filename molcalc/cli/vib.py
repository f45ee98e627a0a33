"""``molcalc vib``: normal modes, infrared spectrum and thermochemistry of structures."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molcalc.cli.beside import models_beside, reference_name, write_beside
from molcalc.cli.dynamics_spectra import report_dynamics
from molcalc.cli.options import Arguments, Subparsers, add_html, add_model_options, number
from molcalc.cli.structure_reports import report_each
from molcalc.cli.table import Column, ShownTable, add_table_options, prints_text, show_table

if TYPE_CHECKING:
    from ase import Atoms

    from molcalc.analysis.html_view import View
    from molcalc.analysis.vpt2 import Level, PerturbedVibrations
    from molcalc.calculators.base import MolCalculator
    from molcalc.calculators.normal_modes import NormalModes
    from molcalc.cli.input_structures import InputStructure

UNOPPOSED = 1.0
"""cm⁻¹ below which nothing but rounding opposes a motion."""
STATIONARY = 0.01
"""eV/Å of the largest force from which a structure is no stationary point."""
RELAXED = 1e-3
"""eV/Å to which --relax goes."""
ANHARMONIC_RELAXED = 1e-4
"""eV/Å to which it goes for an anharmonic force field, whose cubic terms turn forces into changes of frequencies."""
SHOWN_LEVELS = 30
"""Overtones and combinations that the terminal shows."""
UNTRUSTED = 0.2
"""Share of its harmonic frequency by which perturbation theory may change a fundamental."""
LIGHTEST = 1e-3
"""u; the lightest atom there is, muonium, has 0.113."""
FRAMES_PER_MODE = 20
_EPILOG = """\
Second derivatives are in double precision; translations and rotations are projected out. Imaginary vibrations
are negative. Where atoms are fixed (FixAtoms, FixCartesian) only the others vibrate. There is no Raman spectrum: no
model here knows a polarizability.

examples:
  molcalc vib water.xyz --relax --ir
  molcalc vib water.xyz --relax --temperature 350 --masses H=2.014
  molcalc vib water.xyz --relax --ir --plot --modes -o water
  molcalc vib water.xyz --relax --ir --anharmonic --plot
  molcalc vib water.xyz --relax --ir --html water.html
  molcalc vib nve.traj --dynamics --fwhm 20 --plot
  molcalc vib water.xyz --model runs/pbe0 --beside runs/small --beside wb97m-d3
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "vib", help="vibrations, infrared spectra, Gibbs energies", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="structures, all frames (FILE@INDEX selects; - = stdin)"
    )
    positive = number(float, 0, open_end=True)
    parser.add_argument("--relax", action="store_true", help=f"move to the minimum first (fmax {RELAXED:g} eV/Å)")
    parser.add_argument("--ir", action="store_true", help="infrared intensities, km/mol")
    parser.add_argument(
        "--anharmonic",
        action="store_true",
        help="fundamentals, overtones and combinations by perturbation theory (VPT2), of molecules of up to 12 atoms",
    )
    parser.add_argument(
        "--temperature",
        type=positive,
        metavar="K",
        help="thermochemistry of the ideal gas at this temperature; with --dynamics that of the run (default: of the "
        "momenta)",
    )
    parser.add_argument("--pressure", type=positive, metavar="PA", help="of it (default 101325)")
    parser.add_argument("--symmetry", type=number(int, 1), metavar="N", help="rotations into itself (default: found)")
    parser.add_argument(
        "--masses", action="append", default=[], type=_mass, metavar="WHO=U",
        help="of an element or an atom, such as H=2.014 or 3=13.003 (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--fwhm", type=positive, default=10.0, metavar="CM", help="width of lines of the spectrum (default 10)"
    )
    parser.add_argument(
        "--plot", action="store_true", help="picture and values of the spectrum, NAME-ir.png, NAME-ir.csv"
    )
    add_html(parser, "every mode as it swings")
    parser.add_argument(
        "--dynamics", action="store_true",
        help="each FILE is a trajectory of 'molcalc md': infrared spectrum of its dipoles, bands as wide as --fwhm",
    )  # fmt: skip
    parser.add_argument(
        "--timestep",
        type=positive,
        metavar="FS",
        help="with --dynamics: from one frame to the next, if they do not say",
    )
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        metavar="MODEL",
        help="compare a model (MODEL@FIDELITY chooses a level) with that of --model on each molecule: geometry, "
        "vibrations, spectrum, dipole along a mode, relaxation and dynamics; NAME-beside.html, NAME-beside.png "
        "(repeatable)",
    )
    parser.add_argument("--modes", action="store_true", help="write every mode as a movie, NAME-modes.xyz")
    parser.add_argument(
        "-o", "--output", metavar="NAME", help="beginning of the names of files (default: of the input)"
    )
    parser.add_argument("--force", action="store_true", help="replace existing files, but no input")
    parser.add_argument("--raman", action="store_true", help=argparse.SUPPRESS)
    add_table_options(parser)
    add_model_options(parser)
    parser.set_defaults(run=run, dtype="float64")


def run(args: Arguments) -> int:
    """Vibrations of every structure."""
    from molcalc.analysis.spectra import check_width
    from molcalc.calculators.thermochemistry import PRESSURE, TEMPERATURE, check_conditions
    from molcalc.errors import ConfigError
    from molcalc.train.report.figures import style

    if args.raman:
        raise ConfigError(
            "no Raman spectrum: it needs derivatives of the polarizability, which none of the models here has; "
            "infrared intensities are --ir"
        )
    check_width(args.fwhm)
    if args.dynamics:
        return report_dynamics(args)
    if args.timestep is not None:
        raise ConfigError(f"--timestep {args.timestep:g} is of trajectories: add --dynamics")
    check_conditions(args.temperature or TEMPERATURE, args.pressure or PRESSURE)
    endings = {"plot": "-ir.png", "spectrum": "-ir.csv"} if args.plot else {}
    if args.plot and args.anharmonic:
        endings["anharmonic"] = "-anharmonic-ir.csv"
    if args.beside:
        with style():  # says that matplotlib is not there, before the work
            pass
        endings.update(page="-beside.html", page_plot="-beside.png")
    if args.modes:
        endings["modes"] = "-modes.xyz"
    return report_each(args, lambda: VibrationReport(args), endings)


def _mass(text: str) -> tuple[str, float]:
    """Who and its mass in u from WHO=U."""
    found = re.fullmatch(r"([A-Z][a-z]?|[0-9]+)=([0-9.]+)", text)
    try:
        value = float(found[2]) if found else 0.0
    except ValueError:
        value = 0.0
    if found is None or not LIGHTEST <= value < 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no mass such as H=2.014 or 3=13.003 (atoms count from 0)")
    return found[1], value


def with_masses(atoms: Atoms, masses: Sequence[tuple[str, float]]) -> Atoms:
    """A structure with masses of isotopes, later ones before earlier ones.

    Parameters
    ----------
    masses : symbol of an element or number of an atom, and u.

    Returns
    -------
    copy of the structure

    Raises
    ------
    ConfigError
        For an element or atom that it does not have.
    """
    from molcalc.errors import ConfigError

    changed, values = atoms.copy(), atoms.get_masses()
    for who, value in masses:
        chosen = [k for k in range(len(atoms)) if who in (str(k), atoms.symbols[k])]
        if not chosen:
            raise ConfigError(f"--masses {who}={value:g}: {atoms.get_chemical_formula()} has no atom {who}")
        values[chosen] = value
    changed.set_masses(values)
    return changed


class VibrationReport:
    """Modes, spectra and thermochemistry of several structures."""

    def __init__(self, args: Arguments) -> None:
        self._args = args
        self._beside = models_beside(args)
        columns = [Column("file", text=True), Column("frame"), Column("mode")]
        columns.append(Column("wavenumber", unit="cm⁻¹", form=".2f"))
        if args.ir:
            columns.append(Column("intensity", unit="km/mol", form=".3f"))
        if args.anharmonic:
            columns += self._anharmonic_columns()
        columns.append(Column("reduced_mass", "reduced mass", "u", ".3f"))
        self._table = ShownTable(columns)
        self._structures: list[dict[str, Any]] = []
        self._views: list[View] = []

    def add(self, frame: InputStructure, calculator: MolCalculator, targets: Mapping[str, Path]) -> None:
        """One structure."""
        from molcalc.analysis.html_view import mode_views
        from molcalc.calculators.normal_modes import NormalModes
        from molcalc.errors import MissingPropertyError
        from molcalc.simulate.relaxation import relax

        args, atoms = self._args, frame.atoms
        if args.relax:
            fmax = ANHARMONIC_RELAXED if args.anharmonic else RELAXED
            (atoms,) = relax([atoms], calculator, fmax=fmax, progress=False)
        atoms = with_masses(atoms, args.masses)
        energy = calculator.get_property("energy", atoms)
        fmax = remaining_force(atoms, calculator.get_property("forces", atoms))
        perturbed = None
        if args.anharmonic:
            modes, perturbed = _anharmonic(atoms, calculator)
        else:
            modes = NormalModes.of(calculator.get_vibrations(atoms))
        if args.ir and modes.intensities is None:
            raise MissingPropertyError("no infrared intensities: the model predicts no charges, or there is no dipole")
        rows = [
            [frame.source, frame.number, k, float(modes.wavenumbers[k])]
            + ([float(modes.intensities[k])] if args.ir and modes.intensities is not None else [])
            + ([] if perturbed is None else self._values(perturbed.level(k)))
            + [float(modes.reduced_masses[k])]
            for k in range(len(modes.wavenumbers))
        ]
        self._table.rows += rows
        found: dict[str, Any] = {
            "file": frame.source, "frame": frame.number, "formula": atoms.get_chemical_formula(),
            "charge": calculator.resolve(atoms).charge, "geometry": modes.geometry, "energy": energy, "max_force": fmax,
            "imaginary": modes.imaginary.tolist(), "wavenumbers": modes.wavenumbers.tolist(),
            "intensities": None if modes.intensities is None else modes.intensities.tolist(),
        }  # fmt: skip
        if perturbed is not None:
            found["anharmonic"] = {**asdict(perturbed), "constants": perturbed.constants.tolist()}
        self._structures.append(found)
        if prints_text(args):
            self._print(frame, rows, found)
            if perturbed is not None:
                self._print_levels(perturbed)
        self._warn(frame, found)
        if perturbed is not None:
            _warn_of_soft(frame, modes, perturbed)
        if args.temperature is not None:
            self._add_thermochemistry(frame, modes, found, calculator, atoms)
        self._write(modes, perturbed, targets)
        if args.html is not None:
            self._views += mode_views(modes, frame.label)
        if "page" in targets:
            calculators = [(reference_name(args), calculator), *self._beside]
            write_beside(
                frame, with_masses(frame.atoms, args.masses), calculators, targets, fmax=RELAXED, fwhm=args.fwhm
            )
        if targets and prints_text(args):
            print(f"written: {', '.join(str(path) for path in targets.values())}")

    def publish(self, calculator: MolCalculator) -> None:
        """What is not printed structure by structure."""
        from molcalc.analysis.html_view import write_page

        if self._args.html is not None:
            write_page(Path(self._args.html), self._views, "Vibrations")
            if prints_text(self._args):
                print(f"written: {self._args.html}")
        made_by = calculator.todict()
        document = {
            "model": made_by["model"], "model_hash": made_by["model_hash"],
            "units": {**self._table.units(), "energy": "eV", "max_force": "eV/Å", "entropy": "eV/K"},
            "structures": self._structures,
        }  # fmt: skip
        show_table(self._args, self._table, document, text="")

    def _print(self, frame: InputStructure, rows: list[list[Any]], found: Mapping[str, Any]) -> None:
        print(
            f"{frame.label}: {found['formula']}, charge {found['charge']}, {found['energy']:.6f} eV, "
            f"fmax {found['max_force']:.5f} eV/Å"
        )
        print(ShownTable(self._table.columns[2:], [row[2:] for row in rows]))

    def _values(self, level: Level) -> list[float | None]:
        """What rows have of a level."""
        return [level.wavenumber, level.intensity] if self._args.ir else [level.wavenumber]

    def _print_levels(self, perturbed: PerturbedVibrations) -> None:
        others = [one for one in perturbed.levels if len(one.state) > 1]
        shown = sorted(others, key=lambda one: one.intensity or 0.0, reverse=True)[:SHOWN_LEVELS]
        unmixed = Column("unmixed", "unmixed", "cm⁻¹", ".2f")
        columns = [Column("level", text=True), *self._anharmonic_columns(), unmixed, Column("share", form=".2f")]
        rows: list[Sequence[Any]] = [
            [level_name(one.state), *self._values(one), one.unmixed, one.weight] for one in others if one in shown
        ]
        print(f"zero-point energy {perturbed.zero_point:.2f} cm⁻¹")
        for one in perturbed.resonances:
            print(
                f"Fermi resonance of {level_name((one.upper,))} with {level_name(one.lower)}: "
                f"φ {one.constant:.1f} cm⁻¹, {one.gap:+.1f} cm⁻¹ apart"
            )
        if len(shown) < len(others):
            print(f"the strongest {len(shown)} of {len(others)} overtones and combinations (--json has all):")
        print(ShownTable(columns, rows))

    def _anharmonic_columns(self) -> list[Column]:
        columns = [Column("anharmonic", unit="cm⁻¹", form=".2f")]
        if self._args.ir:
            columns.append(Column("anharmonic_intensity", "anharmonic intensity", "km/mol", ".3f"))
        return columns

    def _warn(self, frame: InputStructure, found: Mapping[str, Any]) -> None:
        from molcalc.cli.terminal import note

        if found["max_force"] > STATIONARY:
            note(
                f"{frame.label}: fmax {found['max_force']:.3f} eV/Å: this is no stationary point, and its vibrations "
                "mean little; --relax moves it to the minimum first"
            )
        elif max(found["imaginary"], default=0.0) < UNOPPOSED:
            if any(abs(value) < UNOPPOSED for value in found["wavenumbers"]):
                note(
                    f"{frame.label}: vibrations of 0 cm⁻¹, which nothing opposes: parts that do not feel each other, "
                    "or that turn freely"
                )
        else:
            softest = ", ".join(f"{value:.0f}i" for value in found["imaginary"])
            note(f"{frame.label}: imaginary vibrations, {softest} cm⁻¹: a saddle point, not a minimum")

    def _add_thermochemistry(
        self, frame: InputStructure, modes: NormalModes, found: dict[str, Any], calculator: MolCalculator, atoms: Atoms
    ) -> None:
        from molcalc.calculators.thermochemistry import PRESSURE, thermochemistry

        args = self._args
        result = thermochemistry(
            modes,
            found["energy"],
            args.temperature,
            args.pressure or PRESSURE,
            calculator.resolve(atoms).multiplicity,
            args.symmetry,
        )
        found["thermochemistry"] = asdict(result)
        if prints_text(args):
            print(
                f"{result.temperature:g} K, {result.pressure:g} Pa, symmetry number {result.symmetry_number}, "
                f"multiplicity {result.multiplicity}:\n"
                f"  zero-point energy {result.zero_point_energy:12.6f} eV\n"
                f"  enthalpy H        {result.enthalpy:12.6f} eV\n"
                f"  entropy T·S       {result.temperature * result.entropy:12.6f} eV\n"
                f"  Gibbs energy G    {result.gibbs_energy:12.6f} eV"
            )

    def _write(self, modes: NormalModes, perturbed: PerturbedVibrations | None, targets: Mapping[str, Path]) -> None:
        from molcalc.analysis.pictures import draw_spectrum
        from molcalc.analysis.spectra import broadened, spectrum_of
        from molcalc.cli.output import write_frames
        from molcalc.io.files import write_atomic
        from molcalc.train.report.figures import save_figure

        if "plot" in targets:
            spectra = [spectrum_of(modes, self._args.fwhm)]
            write_atomic(targets["spectrum"], spectra[0].csv().encode())
            if perturbed is not None:
                title = f"{modes.formula}, anharmonic"
                spectra.append(broadened(perturbed.lines, self._args.fwhm, "lorentzian", title))
                write_atomic(targets["anharmonic"], spectra[1].csv().encode())
            save_figure(draw_spectrum(*spectra), targets["plot"])
        if "modes" in targets:
            write_frames(targets["modes"], modes.movie(FRAMES_PER_MODE))


def level_name(state: Sequence[int]) -> str:
    """Quanta of a level in words: ν2, 2ν2 or ν0+ν2, with the numbers of the modes in the table."""
    modes = dict.fromkeys(state)
    return "+".join(f"{state.count(k) if state.count(k) > 1 else ''}ν{k}" for k in modes)


def _anharmonic(atoms: Atoms, calculator: MolCalculator) -> tuple[NormalModes, PerturbedVibrations]:
    """Harmonic modes and what perturbation theory makes of them, while a bar shows how far the force field is."""
    from molcalc.analysis.quartic_field import quartic_field
    from molcalc.analysis.vpt2 import perturbed_vibrations
    from molcalc.progress import progress_bar

    bar = progress_bar(unit="hessian", desc="force field", leave=False)

    def progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    with bar:
        modes, field = quartic_field(atoms, calculator, progress)
    return modes, perturbed_vibrations(field)


def _warn_of_soft(frame: InputStructure, modes: NormalModes, perturbed: PerturbedVibrations) -> None:
    """Tell of fundamentals that perturbation theory changes too much to be believed."""
    from molcalc.cli.terminal import note

    far = [
        f"ν{k} from {omega:.0f} to {perturbed.level(k).unmixed:.0f} cm⁻¹"
        for k, omega in enumerate(modes.wavenumbers.tolist())
        if abs(perturbed.level(k).unmixed - omega) > UNTRUSTED * omega
    ]
    if far:
        note(
            f"{frame.label}: perturbation theory moves {', '.join(far)}: of motions as soft as these, and of what they "
            "couple to, it knows little"
        )


def remaining_force(atoms: Atoms, forces: Any) -> float:
    """eV/Å of the largest force on an atom, without what constraints take."""
    import numpy as np

    free = np.array(forces)
    for constraint in atoms.constraints:
        constraint.adjust_forces(atoms, free)
    return float(np.linalg.norm(free, axis=1).max())
