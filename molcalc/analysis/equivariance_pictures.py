"""Picture of models that are asked about a molecule as it is, turned, and moved: what follows, and what does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float64

from molcalc.analysis.motions import Motion
from molcalc.analysis.pictures import add_molecule, add_sites, draw_arrow
from molcalc.analysis.rendering import Camera, Rendering
from molcalc.calculators.base import MolCalculator
from molcalc.errors import InputError
from molcalc.properties import PROPERTIES
from molcalc.train.report.display import three_digits
from molcalc.train.report.figures import BLUE, RED, new_figure, style

AS_IT_IS = "as it is"
LONGEST_ARROW = 1.6
"""Å in the picture that the longest dipole has."""
ROOM = 0.6
"""Å around the outermost atoms and arrows."""
AXES_LENGTH = 0.45
"""Å in the picture of the axes in its corner."""
PANEL_PIXELS = 300


def draw_equivariance(
    atoms: Atoms, calculators: Mapping[str, MolCalculator], rotation: Motion, translation: Motion
) -> Any:
    """Molecule, its distributed charges and its dipole, as it is, turned and moved; one line of pictures for a model.

    Predicted dipoles are drawn beside what the dipole of the first picture should have become; each picture looks at
    the middle of its molecule from the same side, and says where that is. Of a model with distributed charges the
    dipole is that of these.

    Parameters
    ----------
    atoms : a molecule.
    calculators : of models with charges, by the names that the picture has for them.
    rotation, translation : what the second and third picture show.

    Returns
    -------
    figure of matplotlib

    Raises
    ------
    InputError
        For a periodic structure, or no model.
    MissingPropertyError
        When a model predicts no charges.
    """
    if atoms.pbc.any() or not len(atoms):
        raise InputError("a molecule is needed for this picture: switch off pbc, and give atoms")
    if not calculators:
        raise InputError("no model to draw the predictions of")
    motions = (Motion("none", AS_IT_IS), rotation, translation)
    camera = Camera(pixels=PANEL_PIXELS)
    found = {
        name: [_Predicted.of(calc, motion.of_atoms(atoms)) for motion in motions] for name, calc in calculators.items()
    }
    longest = max(float(np.linalg.norm(one.dipole)) for row in found.values() for one in row) or 1.0
    with style():
        figure, axes = new_figure(len(found), 3, 8.4, 0.6 + 2.9 * len(found))
        for line, (name, row) in zip(axes, found.items()):
            for axis, motion, predicted in zip(line, motions, row):
                expected = motion.of_values(PROPERTIES["dipole"], row[0].dipole, atoms)
                _draw(axis, predicted, expected, camera, longest)
                size = row[0].dipole if motion.kind == "none" else predicted.dipole - expected
                sign = "|μ|" if motion.kind == "none" else "|Δμ|"
                axis.set_xlabel(f"{sign} {three_digits(float(np.linalg.norm(size)))} e·Å", fontsize=9)
            line[0].set_ylabel(f"{name}\n{row[0].title}", fontsize=9)
        for axis, motion, predicted in zip(axes[0], motions, next(iter(found.values()))):
            middle = ", ".join(f"{value:.1f}" for value in predicted.atoms.positions.mean(axis=0).round(1) + 0.0)
            axis.set_title(f"{motion.name}\nmiddle at ({middle}) Å", fontsize=9)
        figure.legend(*_legend(longest), loc="outside lower center", ncols=2, fontsize=8)
        return figure


@dataclass(frozen=True)
class _Predicted:
    """Dipole that a model predicts for a molecule in one place, and the charges that it is made of.

    Attributes
    ----------
    dipole : (3,) e·Å.
    sites, charges : (n_sites, 3) Å, and (n_sites,) e.
    title : which charges they are.
    """

    atoms: Atoms
    dipole: Float64[np.ndarray, " 3"]
    sites: Float64[np.ndarray, "n_sites 3"]
    charges: Float64[np.ndarray, " n_sites"]
    title: str

    @classmethod
    def of(cls, calculator: MolCalculator, atoms: Atoms) -> _Predicted:
        if "dcm_charges" in calculator.extra_properties:
            names = ("dcm_dipole", "dcm_positions", "dcm_charges")
            (values,) = calculator.predictor.evaluate([atoms], names)
            sites, charges = values["dcm_positions"].reshape(-1, 3), values["dcm_charges"].reshape(-1)
            return cls(atoms, values["dcm_dipole"], sites, charges, "distributed charges")
        (values,) = calculator.predictor.evaluate([atoms], ("dipole", "charges"))
        return cls(atoms, values["dipole"], atoms.positions, values["charges"], "charges of atoms")


def _draw(
    axis: Any, predicted: _Predicted, expected: Float64[np.ndarray, " 3"], camera: Camera, longest: float
) -> None:
    """One molecule with its charges and arrows."""
    atoms = predicted.atoms
    start = atoms.get_center_of_mass()
    extent = float(np.linalg.norm(atoms.positions - start, axis=1).max())
    image = Rendering.around(camera, start[None], np.array([max(extent, LONGEST_ARROW) + ROOM]))
    add_molecule(image, atoms, 0.55)
    add_sites(image, predicted.sites, predicted.charges)
    axis.imshow(image.rgb, extent=image.extent, interpolation="bilinear")
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    axis.spines[:].set_visible(True)
    axis.spines[:].set_color("#BBBBBB")
    origin = image.seen(start[None])[0, :2]
    for dipole, color, width in ((expected, BLUE, 5.0), (predicted.dipole, RED, 1.6)):
        draw_arrow(axis, origin, camera.frame[:2] @ dipole * LONGEST_ARROW / longest, color, width)
    corner = 0.72 * np.array([image.extent[0], image.extent[2]])
    for name, direction in zip("xyz", camera.frame[:2].T):
        draw_arrow(axis, corner, AXES_LENGTH * direction, "#505050", 1.0)
        axis.text(
            *(corner + 1.45 * AXES_LENGTH * direction), name, ha="center", va="center", fontsize=8, color="#505050"
        )


def _legend(longest: float) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=RED, linewidth=1.6), Line2D([], [], color=BLUE, linewidth=5.0, alpha=0.5)]
    return handles, [
        f"dipole predicted (longest arrow {longest:.3g} e·Å)",
        "dipole that follows from the first picture",
    ]
