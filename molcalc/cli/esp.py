"""``molcalc esp``: electrostatic potential of molecules on their surface, at points, on a grid, against data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molcalc.cli.options import Arguments, Subparsers, add_html, add_model_options, add_units, number, parse_units
from molcalc.cli.structure_reports import report_each
from molcalc.cli.table import Column, ShownTable, add_table_options, per_electronvolt, prints_text, show_table

if TYPE_CHECKING:
    from molcalc.analysis.esp_errors import PotentialError
    from molcalc.analysis.html_view import View
    from molcalc.analysis.molecular_potential import MolecularPotential
    from molcalc.analysis.rendering import Camera
    from molcalc.analysis.surface import Extremum, SurfacePotential
    from molcalc.calculators.base import MolCalculator
    from molcalc.cli.input_structures import InputStructure

_EPILOG = """\
Without further options the potential on the surface at 1.4 van der Waals radii is described: highest and lowest value,
mean, means over its positive and negative part, their variances, and the balance of these (Politzer and Murray).
Files that are written begin with the name of the structure, or with --output: NAME.cube, NAME-esp.png,
NAME-scene.pov, NAME-surface.csv, NAME-points.csv. The potential is that of the charges of the model: inside of
molecules it means little.

examples:
  molcalc esp water.xyz
  molcalc esp water.xyz --cube 0.2 --plot
  molcalc esp water.xyz aspirin.xyz --html potentials.html
  molcalc esp co2.xyz --model runs/co2 --points grid.xyz --output co2
  molcalc esp co2.xyz --model runs/co2 --compare co2_esp.db
"""
_SHOWN = ("v_max", "v_min", "mean", "mean_positive", "mean_negative", "deviation")
_SQUARED = ("variance_positive", "variance_negative")
_TITLES = {"v_max": "V max", "v_min": "V min", "mean_positive": "mean +", "mean_negative": "mean -", "deviation": "Π",
           "variance_positive": "var +", "variance_negative": "var -"}  # fmt: skip

_MEASURES = ("rmse", "mae", "mean", "largest")
_OF_CHARGES = {"distributed": "distributed", "charges": "of atoms"}


CUBE_MARGIN = 4.0
"""Å around the molecule, unless given."""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "esp", help="electrostatic potential on surfaces, points and grids", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="molecules, all frames (FILE@INDEX selects; - = stdin)"
    )
    positive = number(float, 0, open_end=True)
    parser.add_argument(
        "--surface", type=positive, default=1.4, metavar="X", help="van der Waals radii of the surface (default 1.4)"
    )
    parser.add_argument(
        "--density", type=positive, default=10.0, metavar="N", help="points of the surface per Å² (default 10)"
    )
    parser.add_argument("--cube", type=positive, metavar="Å", help="write a Gaussian cube file with this spacing")
    parser.add_argument("--margin", type=positive, metavar="Å", help="of the cube around the molecule (default 4)")
    parser.add_argument("--points", metavar="FILE", help="write the potential at the points of FILE (.xyz, .npy, .csv)")
    parser.add_argument("--points-unit", default="Å", metavar="UNIT", help="of --points: Å or Bohr (default Å)")
    parser.add_argument(
        "--compare", metavar="DATA", help="errors against the potentials (esp, esp_points) of a file of data"
    )
    parser.add_argument("--plot", action="store_true", help="write a picture of the surface and distributed charges")
    parser.add_argument(
        "--pov", action="store_true", help="write a scene for POV-Ray, and render it where that is installed"
    )
    parser.add_argument(
        "--camera", nargs=3, type=number(float), metavar=("ELEVATION", "AZIMUTH", "ROLL"),
        help="degrees from which pictures are taken (default: the broad side)",
    )  # fmt: skip
    parser.add_argument("--pixels", type=number(int, 16), metavar="N", help="of their longer side (default 520)")
    add_html(parser, "surfaces and distributed charges")
    parser.add_argument(
        "--source", default="auto", choices=("auto", "distributed", "charges"),
        help="charges that make the potential (default auto: those of the dipole)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", metavar="NAME", help="beginning of the names of files; writes NAME-surface.csv as well"
    )
    parser.add_argument("--force", action="store_true", help="replace existing files, but no input")
    add_units(parser)
    add_table_options(parser, unit=True)
    add_model_options(parser)
    parser.set_defaults(run=run)


def _check_other_halves(args: Arguments) -> None:
    """Refuse what belongs to something that is not written."""
    from molcalc.errors import ConfigError

    pictures = args.plot or args.pov
    for option, given, written, other in (
        ("--margin", args.margin, args.cube is not None, "--cube"),
        ("--camera", args.camera, pictures, "--plot or --pov"),
        ("--pixels", args.pixels, pictures, "--plot or --pov"),
    ):
        if given is not None and not written:
            raise ConfigError(f"{option} is of what {other} writes: give that as well")


def run(args: Arguments) -> int:
    """Describe the potential of every molecule; write what is asked for."""
    _check_other_halves(args)
    endings = {
        "cube": ".cube" if args.cube is not None else None,
        "plot": "-esp.png" if args.plot else None,
        "scene": "-scene.pov" if args.pov else None,
        "settings": "-scene.ini" if args.pov else None,
        "rendered": "-scene.png" if args.pov else None,
        "points": "-points.csv" if args.points is not None else None,
        "surface": "-surface.csv" if args.output is not None else None,
    }
    asked_for = {what: ending for what, ending in endings.items() if ending is not None}
    return report_each(args, lambda: Descriptions(args), asked_for, filter(None, (args.points, args.compare)))


class Descriptions:
    """What is said of the potentials of several molecules."""

    def __init__(self, args: Arguments) -> None:
        from molcalc.analysis.point_files import read_points

        self._args = args
        self._points = None if args.points is None else read_points(args.points, args.points_unit)
        self._factor = per_electronvolt(args.unit)
        self._unit = "V" if args.unit == "eV" else f"{args.unit}/e"
        columns = [Column("file", text=True), Column("frame"), Column("formula", text=True), Column("charge")]
        columns += [Column(name, _TITLES.get(name, name), self._unit, ".4f") for name in _SHOWN]
        columns += [
            Column(name, _TITLES[name], "V²" if self._unit == "V" else f"({self._unit})²", ".4f") for name in _SQUARED
        ]
        columns += [Column("balance", form=".4f"), Column("area", unit="Å²", form=".1f")]
        self._table = ShownTable(columns)
        self._structures: list[dict[str, Any]] = []
        self._texts: list[str] = []
        self._compared: list[tuple[str, list[PotentialError]]] = []
        self._views: list[View] = []

    def add(self, frame: InputStructure, calculator: MolCalculator, targets: Mapping[str, Path]) -> None:
        """One molecule: evaluated once, asked for everything."""
        from molcalc.analysis.html_view import potential_view
        from molcalc.analysis.molecular_potential import MolecularPotential
        from molcalc.analysis.surface import SurfacePotential, VdwSurface

        args, atoms = self._args, frame.atoms
        surface = VdwSurface.around(atoms, args.surface, args.density)
        potential = MolecularPotential.of(atoms, calculator, args.source)
        found = SurfacePotential(potential.atoms, surface, potential.at(surface.points))
        described = found.descriptors
        row = [frame.source, frame.number, atoms.get_chemical_formula(), calculator.resolve(atoms).charge]
        row += [self._shown(getattr(described, name)) for name in _SHOWN]
        row += [self._factor * self._factor * getattr(described, name) for name in _SQUARED]
        row += [described.balance, described.area]
        self._table.rows.append(row)
        of_structure = {
            **dict(zip((column.name for column in self._table.columns), row)),
            "maxima": [self._extremum(extremum, atoms) for extremum in found.maxima],
            "minima": [self._extremum(extremum, atoms) for extremum in found.minima],
        }
        self._texts.append(_extrema_text(frame, of_structure, self._unit))
        if args.compare is not None:
            errors = self._errors(frame, calculator, potential)
            of_structure["errors"] = self._records(errors)
            self._compared.append((f"{frame.label}, {atoms.get_chemical_formula()}", errors))
            self._texts += [f"errors in {self._unit}", str(self._error_table(errors))]
        rendered = self._write(potential, found, targets)
        if args.html is not None:
            self._views.append(potential_view(potential, frame.label, args.surface))
        files = {what: str(path) for what, path in targets.items() if what != "rendered" or rendered}
        of_structure["files"] = files
        self._texts += [f"written: {', '.join(files.values())}"] if files else []
        self._structures.append(of_structure)

    def publish(self, calculator: MolCalculator) -> None:
        """Print everything."""
        from molcalc.analysis.html_view import write_page

        if self._args.html is not None:
            write_page(Path(self._args.html), self._views, "Electrostatic potential")
            self._texts.append(f"written: {self._args.html}")
        made_by = calculator.todict()
        document = {
            "model": made_by["model"], "model_hash": made_by["model_hash"],
            "units": {**self._table.units(), "errors": self._unit}, "structures": self._structures,
        }  # fmt: skip
        if len(self._compared) > 1:
            pooled = self._pooled()
            document["errors"] = self._records(pooled)
            whole = [error for error in pooled if error.points == "all"]
            by_molecule = [(name, [one for one in errors if one.points == "all"]) for name, errors in self._compared]
            self._texts += [
                f"\nerrors over all points in {self._unit}, {len(self._compared)} molecules",
                str(self._side_by_side("molecule", [*by_molecule, ("all molecules", whole)])),
                f"\nerrors over the points of all molecules in {self._unit}", str(self._error_table(pooled)),
            ]  # fmt: skip
        show_table(self._args, self._table, document)
        if prints_text(self._args):
            print("\n" + "\n".join(text for text in self._texts if text))

    def _shown(self, value: float) -> float | None:
        """A value in the unit that is asked for; None for one that there is not."""
        return None if value != value else self._factor * value

    def _extremum(self, extremum: Extremum, atoms: Any) -> dict[str, Any]:
        near = {"atom": extremum.atom, "symbol": str(atoms.symbols[extremum.atom])}
        return {"potential": self._factor * extremum.potential, "position": extremum.position.tolist(), **near}

    def _errors(
        self, frame: InputStructure, calculator: MolCalculator, potential: MolecularPotential
    ) -> list[PotentialError]:
        """Of the potential that is asked for, and of atomic charges where that is another one."""
        from molcalc.analysis.esp_errors import potential_errors
        from molcalc.analysis.molecular_potential import MolecularPotential
        from molcalc.analysis.point_files import read_reference

        reference = read_reference(self._args.compare, frame.atoms, parse_units(self._args.units))
        has_sites = potential.sites.centers is not None
        predictions = {"distributed": potential.at(reference.points)} if has_sites else {}
        atomic = MolecularPotential.of(frame.atoms, calculator, "charges") if has_sites else potential
        predictions["charges"] = atomic.at(reference.points)
        return potential_errors(frame.atoms, reference.points, reference.potential, predictions)

    def _records(self, errors: Sequence[PotentialError]) -> list[dict[str, Any]]:
        """Errors as JSON holds them, in the unit that is asked for."""
        return [
            {**asdict(error), **{name: self._factor * getattr(error, name) for name in _MEASURES}} for error in errors
        ]

    def _pooled(self) -> list[PotentialError]:
        from molcalc.analysis.esp_errors import pooled_errors

        return pooled_errors(error for _, errors in self._compared for error in errors)

    def _error_table(self, errors: Sequence[PotentialError]) -> ShownTable:
        """Errors by group of points."""
        groups: dict[str, list[PotentialError]] = {}
        for error in errors:
            groups.setdefault(error.points, []).append(error)
        return self._side_by_side("points", list(groups.items()))

    def _side_by_side(self, title: str, rows: Sequence[tuple[str, Sequence[PotentialError]]]) -> ShownTable:
        """Errors of distributed and of atomic charges beside each other, where there are both."""
        kinds = [error.charges for error in rows[0][1]]
        columns = [Column(title, text=True), Column("number")]
        columns += [
            Column(f"{name}_{kind}", f"{name} {_OF_CHARGES[kind]}", form=".4f") for name in _MEASURES for kind in kinds
        ]
        table = ShownTable(columns)
        for name, errors in rows:
            own = {error.charges: error for error in errors}
            values = [self._factor * getattr(own[kind], measure) for measure in _MEASURES for kind in kinds]
            table.rows.append([name, errors[0].n_points, *values])
        return table

    def _write(self, potential: MolecularPotential, found: SurfacePotential, targets: Mapping[str, Path]) -> bool:
        """Write what is asked for; whether a scene was rendered."""
        from molcalc.analysis.cube import write_potential_cube
        from molcalc.analysis.pictures import dots_per_inch, draw_potential
        from molcalc.analysis.point_files import check_unit, write_values
        from molcalc.analysis.povray import INSTALL, can_render, render_pov, write_scene
        from molcalc.cli.terminal import note
        from molcalc.train.report.figures import save_figure

        camera = self._camera(potential)
        if self._points is not None:
            check_unit(self._points, potential.atoms, self._args.points)
        if "cube" in targets:  # first, as it may be too large
            write_potential_cube(targets["cube"], potential, self._args.cube, self._args.margin or CUBE_MARGIN)
        if self._points is not None:
            write_values(targets["points"], self._points, self._factor * potential.at(self._points), self._unit)
        if "surface" in targets:
            write_values(targets["surface"], found.points, self._factor * found.potential, self._unit)
        if "plot" in targets:
            figure = draw_potential(potential, self._args.surface, camera, sites=potential.is_distributed)
            save_figure(figure, targets["plot"], colors=None, dots_per_inch=dots_per_inch(camera))
        if "scene" in targets:
            settings = write_scene(
                targets["scene"], potential, self._args.surface, camera, sites=potential.is_distributed
            )
            if can_render():
                render_pov(settings)
                return True
            note(f"{targets['scene']} is not rendered: POV-Ray is not installed ({INSTALL})")
        return False

    def _camera(self, potential: MolecularPotential) -> Camera:
        """From where pictures of the molecule are taken."""
        from molcalc.analysis.rendering import PIXELS, Camera

        if self._args.camera is None:
            return Camera.facing(potential.atoms.positions, self._args.pixels or PIXELS)
        elevation, azimuth, roll = self._args.camera
        return Camera(elevation, azimuth, roll, self._args.pixels or PIXELS)


def _extrema_text(frame: InputStructure, described: dict[str, Any], unit: str) -> str:
    """Line of the local extrema, the first three of each kind."""
    parts = []
    for kind in ("maxima", "minima"):
        found = described[kind]
        shown = ", ".join(f"{one['potential']:.4f} at {one['symbol']}{one['atom']}" for one in found[:3])
        parts.append(f"{len(found)} local {kind if len(found) != 1 else kind[:-1] + 'um'} ({shown})")
    return f"{frame.label}: {' and '.join(parts)}; {unit}"
