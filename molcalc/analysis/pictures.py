"""Pictures of molecules in space: balls and sticks, charges, and the potential on the surface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from molcalc.analysis.color_scale import RAMP, ColorScale, charge_scale, potential_scale
from molcalc.analysis.molecular_potential import MolecularPotential
from molcalc.analysis.picture_labels import boxes_apart
from molcalc.analysis.picture_shapes import (
    MODE_ARROW,
    SMALLEST_MOVE,
    STICK,
    ball_radii,
    check_drawable,
    drawn_bonds,
    site_radii,
)
from molcalc.analysis.rendering import PIXELS, Camera, Rendering
from molcalc.analysis.spectra import Spectrum
from molcalc.analysis.surface import SCALE
from molcalc.calculators.base import MolCalculator
from molcalc.calculators.normal_modes import NormalModes
from molcalc.errors import InputError
from molcalc.train.report.esp_plots import ATOM_COLORS, OTHER_COLOR
from molcalc.train.report.figures import CYCLE, RED, new_figure, style
from molcalc.units import VDW_RADII, charged_formula

STICK_COLOR = (0.62, 0.62, 0.62)
SURFACE_OPACITY = 0.72
INCHES = 4.0
"""Longer side of an image; the smaller, the larger is what is written beside it."""
TEXT_POINTS = 6.5
"""Height of texts on atoms."""
SITES_BESIDE = 0.4
"""Å beyond the balls of atoms that point charges may lie."""


def draw_molecule(atoms: Atoms, camera: Camera | None = None, labels: bool = True) -> Any:
    """Balls and sticks.

    Parameters
    ----------
    camera : where it is seen from; None looks at its broad side.
    labels : write the symbols of the elements.

    Returns
    -------
    figure of matplotlib
    """
    with style():
        image = _image(atoms, camera, ball_radii(atoms))
        add_molecule(image, atoms)
        figure, axis = _canvas(image)
        if labels:
            _write(axis, image, atoms, list(atoms.symbols))
        return figure


def draw_charges(atoms: Atoms, calc: MolCalculator | None = None, camera: Camera | None = None) -> Any:
    """Atoms colored by their charges, which are written on them.

    Parameters
    ----------
    calc : any calculator of molcalc whose model has charges; None takes that of the atoms.
    camera : where it is seen from; None looks at its broad side.

    Returns
    -------
    figure of matplotlib
    """
    with style():
        charges = MolecularPotential.of(atoms, calc, "charges").sites.charges.numpy()
        image = _image(atoms, camera, 1.5 * ball_radii(atoms))
        _add_sticks(image, atoms)
        scale = charge_scale(charges)
        image.add_spheres(atoms.positions, 1.5 * ball_radii(atoms), scale.rgb(charges))
        figure, axis = _canvas(image)
        _write(axis, image, atoms, [f"{symbol}\n{charge:+.2f}" for symbol, charge in zip(atoms.symbols, charges)])
        _add_bar(figure, axis, scale)
        return figure


def draw_mode(modes: NormalModes, mode: int, camera: Camera | None = None) -> Any:
    """A molecule with the directions in which its atoms move along a normal mode.

    Parameters
    ----------
    mode : number of the mode, from 0, the softest.
    camera : where it is seen from; None looks at its broad side.

    Returns
    -------
    figure of matplotlib

    Raises
    ------
    InputError
        For a mode that there is not.
    """
    n = len(modes.wavenumbers)
    if not 0 <= mode < n:
        raise InputError(f"mode={mode}: {modes.formula} has {n} modes, counted from 0")
    with style():
        atoms, moves = modes.atoms, modes.swings(MODE_ARROW)[mode]
        image = _image(atoms, camera, ball_radii(atoms) + 0.5 * MODE_ARROW)
        add_molecule(image, atoms, 0.75)
        figure, axis = _canvas(image)
        starts = image.seen(atoms.positions)[:, :2]
        for start, along in zip(starts, moves @ image.camera.frame[:2].T):
            if np.linalg.norm(along) > SMALLEST_MOVE * MODE_ARROW:
                draw_arrow(axis, start, along, RED, 1.4)
        wavenumber = float(modes.wavenumbers[mode])
        shown = f"{-wavenumber:.0f}i" if wavenumber < 0 else f"{wavenumber:.0f}"
        strength = "" if modes.intensities is None else f", {modes.intensities[mode]:.1f} km/mol"
        axis.set_title(f"{modes.formula}, mode {mode}: {shown} cm⁻¹{strength}")
        return figure


def draw_distributed_charges(atoms: Atoms, calc: MolCalculator | None = None, camera: Camera | None = None) -> Any:
    """Point charges around the atoms, colored by their charges, with volumes by their sizes.

    Parameters
    ----------
    calc : calculator of a model with distributed charges; None takes that of the atoms.
    camera : where it is seen from; None looks at its broad side.

    Returns
    -------
    figure of matplotlib
    """
    with style():
        potential = MolecularPotential.of(atoms, calc, "distributed")
        image = _image(atoms, camera, ball_radii(atoms) + SITES_BESIDE)
        add_molecule(image, atoms, 0.55)
        scale = add_sites(image, *_sites_of(potential))
        figure, axis = _canvas(image)
        _add_bar(figure, axis, scale)
        return figure


def draw_esp_surface(
    atoms: Atoms, calc: MolCalculator | None = None, scale: float = SCALE, camera: Camera | None = None,
    source: str = "auto", reach: float | None = None, sites: bool = False,
) -> Any:  # fmt: skip
    """The van der Waals surface colored by the potential on it, with the molecule inside.

    Parameters
    ----------
    calc : any calculator of molcalc whose model has charges; None takes that of the atoms.
    scale : radius of the spheres in van der Waals radii.
    camera : where it is seen from; None looks at its broad side.
    source : "distributed" charges, atomic "charges", or "auto".
    reach : V from the middle to the ends of the color scale; None takes what the values in sight need. The middle is
        zero, for an ion the mean, which the bar names.
    sites : draw the point charges as well.

    Returns
    -------
    figure of matplotlib
    """
    with style():
        return draw_potential(MolecularPotential.of(atoms, calc, source), scale, camera, reach, sites)


def draw_potential(
    potential: MolecularPotential, scale: float = SCALE, camera: Camera | None = None, reach: float | None = None,
    sites: bool = False,
) -> Any:  # fmt: skip
    """As :func:`draw_esp_surface`, of a potential that is known."""
    with style():
        atoms = potential.atoms
        radii = scale * VDW_RADII[atoms.numbers]
        image = _image(atoms, camera, radii)
        add_molecule(image, atoms)
        depth, nearest = image.spheres(atoms.positions, radii)
        hit = nearest >= 0
        places = image.places(depth[hit], hit)
        values = potential.at(places)
        colors = potential_scale(potential, values, reach)
        index = nearest[hit]
        normals = (places - atoms.positions[index]) / radii[index, None]
        image.add(hit, depth[hit], normals, colors.rgb(values), SURFACE_OPACITY)
        of_sites = add_sites(image, *_sites_of(potential)) if sites else None
        figure, axis = _canvas(image)
        _add_bar(figure, axis, colors)
        if of_sites is not None:
            _add_bar(figure, axis, of_sites)
        formula = charged_formula(atoms.numbers, potential.total_charge)
        axis.set_title(f"{formula}, {scale:g} van der Waals radii")
        return figure


def dots_per_inch(camera: Camera | None) -> float:
    """Resolution of a figure in which the pixels of the image are as large as those of the file."""
    return (PIXELS if camera is None else camera.pixels) / INCHES


def draw_spectrum(*spectra: Spectrum, labels: Sequence[str] = ()) -> Any:
    """Spectra in one picture, with the lines that they are made of.

    Parameters
    ----------
    labels : of the spectra; their titles unless given.

    Returns
    -------
    figure of matplotlib
    """
    if not spectra:
        raise InputError("no spectrum to draw")
    with style():
        figure, axes = new_figure(1, 1, 7.5, 3.6)
        axis = axes[0, 0]
        for spectrum, color, label in zip(spectra, CYCLE, labels or [spectrum.title for spectrum in spectra]):
            axis.plot(spectrum.wavenumbers, spectrum.intensity, color=color, label=label)
        top = max(float(spectrum.intensity.max()) for spectrum in spectra)
        axis.set(xlabel="wavenumber (cm⁻¹)", ylabel="absorption (km/mol per cm⁻¹)", ylim=(0.0, 1.05 * top or 1.0))
        axis.set_xlim(max(float(spectrum.wavenumbers[-1]) for spectrum in spectra), 0.0)  # as spectrometers show it
        if any(len(spectrum.lines) for spectrum in spectra):
            _draw_lines(axis, spectra)
        axis.legend()
        return figure


def _draw_lines(axis: Any, spectra: Sequence[Spectrum]) -> None:
    """Lines in a scale of their own."""
    own = axis.twinx()
    for spectrum, color in zip(spectra, CYCLE):
        if len(spectrum.lines):
            own.vlines(spectrum.lines[:, 0], 0.0, spectrum.lines[:, 1], color=color, linewidth=1.0, alpha=0.6)
    own.set(ylabel="intensity of lines (km/mol)", ylim=(0.0, 1.05 * own.get_ylim()[1]))
    own.grid(visible=False)
    own.spines["right"].set_visible(True)


def _image(atoms: Atoms, camera: Camera | None, radii: np.ndarray) -> Rendering:
    check_drawable(atoms)
    return Rendering.around(Camera.facing(atoms.positions) if camera is None else camera, atoms.positions, radii)


def add_molecule(image: Rendering, atoms: Atoms, opacity: float = 1.0) -> None:
    """Balls and sticks of a molecule, which shines through by 1 − opacity; sticks do not."""
    from matplotlib.colors import to_rgb

    _add_sticks(image, atoms)
    colors = np.array([to_rgb(ATOM_COLORS.get(z, OTHER_COLOR)) for z in atoms.numbers.tolist()])
    image.add_spheres(atoms.positions, ball_radii(atoms), colors, opacity)


def _add_sticks(image: Rendering, atoms: Atoms) -> None:
    first, second = drawn_bonds(atoms).T
    image.add_sticks(atoms.positions[first], atoms.positions[second], STICK, np.tile(STICK_COLOR, (len(first), 1)))


def add_sites(image: Rendering, positions: np.ndarray, charges: np.ndarray) -> ColorScale:
    """Point charges as balls, in front of those of the atoms, which most of them are inside of.

    Parameters
    ----------
    positions : (n_sites, 3) Å.
    charges : (n_sites,) e.

    Returns
    -------
    scale of their colors
    """
    scale = charge_scale(charges, " of a site")
    image.depth[:] = -np.inf
    image.add_spheres(positions, site_radii(charges), scale.rgb(charges))
    return scale


def _sites_of(potential: MolecularPotential) -> tuple[np.ndarray, np.ndarray]:
    return potential.sites.positions.numpy(), potential.sites.charges.numpy()


def _canvas(image: Rendering) -> tuple[Any, Any]:
    """Figure of the image, 1 Å to the same length on both sides, with a bar of 1 Å."""
    height, width = image.depth.shape
    longest = max(height, width)
    sides = INCHES * width / longest + 1.0, INCHES * height / longest + 0.4
    figure, axes = new_figure(1, 1, *sides, dots_per_inch=dots_per_inch(image.camera))
    axis = axes[0, 0]
    axis.imshow(image.rgb, extent=image.extent, interpolation="bilinear")
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    left, _, bottom, _ = image.extent
    axis.plot([left, left + 1.0], [bottom, bottom], color="black", linewidth=2, solid_capstyle="butt", clip_on=False)
    axis.annotate("1 Å", (left + 0.5, bottom), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8)
    return figure, axis


def _write(axis: Any, image: Rendering, atoms: Atoms, texts: list[str]) -> None:
    """Texts on those atoms that are not behind others, moved apart where they would touch."""
    from matplotlib.patheffects import withStroke

    _, nearest = image.spheres(atoms.positions, ball_radii(atoms))
    shown = [k for k in range(len(atoms)) if (nearest == k).any()]
    anchors = image.seen(atoms.positions)[shown, :2]
    of_point = 2.0 * max(image.half) / (72.0 * INCHES)  # Å
    lines = [texts[k].split("\n") for k in shown]
    sizes = TEXT_POINTS * of_point * np.array([[0.62 * max(map(len, each)), 1.25 * len(each)] for each in lines])
    outline = [withStroke(linewidth=2.0, foreground="white", alpha=0.85)]
    for k, place in zip(shown, boxes_apart(anchors, sizes)):
        axis.annotate(
            texts[k], place, ha="center", va="center", fontsize=TEXT_POINTS, path_effects=outline, annotation_clip=False
        )


def draw_arrow(axis: Any, start: np.ndarray, along: np.ndarray, color: str, width: float) -> None:
    """Arrow in a picture, in Å; wide ones are drawn pale.

    Parameters
    ----------
    start, along : (2,) Å to the right and up.
    width : points.
    """
    axis.annotate(
        "", start + along, start,
        arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": width, "shrinkA": 0, "shrinkB": 0,
                    "alpha": 0.5 if width > 2.0 else 1.0, "mutation_scale": 7 + 2 * width},
    )  # fmt: skip


def _add_bar(figure: Any, axis: Any, scale: ColorScale) -> None:
    """The colors of a scale and their values, beside a picture."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    mapping = ScalarMappable(Normalize(*scale.ends), LinearSegmentedColormap.from_list("values", RAMP))
    figure.colorbar(mapping, ax=axis, label=scale.title, shrink=0.8)
