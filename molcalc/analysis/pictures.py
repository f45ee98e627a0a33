"""Pictures of molecules in space: balls and sticks, charges, and the potential on the surface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from molcalc.analysis.molecular_potential import MolecularPotential
from molcalc.analysis.rendering import Camera, Rendering
from molcalc.analysis.spectra import Spectrum
from molcalc.analysis.surface import SCALE
from molcalc.calculators.base import MolCalculator
from molcalc.errors import InputError
from molcalc.train.report.esp_plots import ATOM_COLORS, OTHER_COLOR
from molcalc.train.report.figures import CYCLE, DIVERGING, new_figure, style
from molcalc.units import COVALENT_RADII, VDW_RADII

BALL = 0.45
"""Radius of an atom in covalent radii."""
STICK = 0.10
"""Å, radius of a bond."""
BOND_REACH = 1.25
"""Two atoms closer than this many sums of covalent radii are drawn with a bond."""
STICK_COLOR = (0.62, 0.62, 0.62)
SURFACE_OPACITY = 0.72
SITE = 0.14
"""Å, radius of the ball of a distributed charge of 1 e or more; smaller ones have the same volume per charge."""


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
        image = _image(atoms, camera, _balls(atoms))
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
        image = _image(atoms, camera, 1.5 * _balls(atoms))
        _add_sticks(image, atoms)
        colors, colorbar = _scale(charges)
        image.add_spheres(atoms.positions, 1.5 * _balls(atoms), colors(charges))
        figure, axis = _canvas(image)
        _write(axis, image, atoms, [f"{symbol}\n{charge:+.2f}" for symbol, charge in zip(atoms.symbols, charges)])
        colorbar(figure, axis, "charge (e)")
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
        sites = MolecularPotential.of(atoms, calc, "distributed").sites
        charges, positions = sites.charges.numpy(), sites.positions.numpy()
        image = _image(atoms, camera, _balls(atoms) + 0.4)
        add_molecule(image, atoms, 0.55)
        colorbar = add_sites(image, positions, charges)
        figure, axis = _canvas(image)
        colorbar(figure, axis, "charge of a site (e)")
        return figure


def draw_esp_surface(
    atoms: Atoms, calc: MolCalculator | None = None, scale: float = SCALE, camera: Camera | None = None,
    source: str = "auto", reach: float | None = None,
) -> Any:  # fmt: skip
    """The van der Waals surface colored by the potential on it, with the molecule inside.

    Parameters
    ----------
    calc : any calculator of molcalc whose model has charges; None takes that of the atoms.
    scale : radius of the spheres in van der Waals radii.
    camera : where it is seen from; None looks at its broad side.
    source : "distributed" charges, atomic "charges", or "auto".
    reach : V at the ends of the color scale; None takes the largest absolute value in sight.

    Returns
    -------
    figure of matplotlib
    """
    with style():
        return draw_potential(MolecularPotential.of(atoms, calc, source), scale, camera, reach)


def draw_potential(
    potential: MolecularPotential, scale: float = SCALE, camera: Camera | None = None, reach: float | None = None
) -> Any:
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
        colors, colorbar = _scale(values, reach)
        index = nearest[hit]
        normals = (places - atoms.positions[index]) / radii[index, None]
        image.add(hit, depth[hit], normals, colors(values), SURFACE_OPACITY)
        figure, axis = _canvas(image)
        colorbar(figure, axis, "electrostatic potential (V)")
        axis.set_title(f"{atoms.get_chemical_formula()}, {scale:g} van der Waals radii")
        return figure


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
    if not len(atoms):
        raise InputError("the structure has no atoms, and nothing to draw")
    return Rendering.around(Camera.facing(atoms.positions) if camera is None else camera, atoms.positions, radii)


def _balls(atoms: Atoms) -> np.ndarray:
    return np.asarray(BALL * COVALENT_RADII[atoms.numbers])


def add_molecule(image: Rendering, atoms: Atoms, opacity: float = 1.0) -> None:
    """Balls and sticks of a molecule, which shines through by 1 − opacity; sticks do not."""
    from matplotlib.colors import to_rgb

    _add_sticks(image, atoms)
    colors = np.array([to_rgb(ATOM_COLORS.get(z, OTHER_COLOR)) for z in atoms.numbers.tolist()])
    image.add_spheres(atoms.positions, _balls(atoms), colors, opacity)


def add_sites(image: Rendering, positions: np.ndarray, charges: np.ndarray) -> Any:
    """Point charges as balls, in front of those of the atoms, which most of them are inside of.

    Parameters
    ----------
    positions : (n_sites, 3) Å.
    charges : (n_sites,) e.

    Returns
    -------
    function of figure, axis and label that adds the bar of their colors
    """
    colors, colorbar = _scale(charges)
    image.depth[:] = -np.inf
    image.add_spheres(positions, SITE * np.cbrt(np.clip(np.abs(charges), 0.05, 1.0)), colors(charges))
    return colorbar


def _add_sticks(image: Rendering, atoms: Atoms) -> None:
    radii = COVALENT_RADII[atoms.numbers]
    first, second = np.triu_indices(len(atoms), 1)
    lengths = np.linalg.norm(atoms.positions[first] - atoms.positions[second], axis=1)
    bonded = lengths < BOND_REACH * (radii[first] + radii[second])
    ends = atoms.positions[first[bonded]], atoms.positions[second[bonded]]
    image.add_sticks(*ends, STICK, np.tile(STICK_COLOR, (int(bonded.sum()), 1)))


def _canvas(image: Rendering) -> tuple[Any, Any]:
    """Figure of the image, 1 Å to the same length on both sides, with a bar of 1 Å."""
    height, width = image.depth.shape
    longest = max(height, width)
    figure, axes = new_figure(1, 1, 5.0 * width / longest + 1.0, 5.0 * height / longest + 0.5)
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
    """Texts on those atoms that are not behind others."""
    from matplotlib.patheffects import withStroke

    seen = image.seen(atoms.positions)
    _, nearest = image.spheres(atoms.positions, _balls(atoms))
    for k, text in enumerate(texts):
        if (nearest == k).any():
            outline = [withStroke(linewidth=2.0, foreground="white", alpha=0.85)]
            axis.annotate(text, seen[k, :2], ha="center", va="center", fontsize=8, path_effects=outline)


def _scale(values: np.ndarray, reach: float | None = None) -> tuple[Any, Any]:
    """Colors of values, zero in the middle, and what adds their bar to a figure."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    limit = reach or float(np.abs(values).max()) or 1.0
    mapping = ScalarMappable(Normalize(-limit, limit), DIVERGING)

    def colorbar(figure: Any, axis: Any, label: str) -> None:
        figure.colorbar(mapping, ax=axis, label=label, shrink=0.8)

    return lambda chosen: mapping.to_rgba(chosen)[:, :3], colorbar
