"""Scenes for the ray tracer POV-Ray, written by ASE: molecules, the potential on their surface, point charges."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from ase.data.colors import jmol_colors
from ase.io.pov import POVRAY

from molcalc.analysis.color_scale import RAMP, ColorScale, charge_scale, potential_scale
from molcalc.analysis.molecular_potential import MolecularPotential
from molcalc.analysis.picture_shapes import STICK, ball_radii, check_drawable, drawn_bonds, site_radii
from molcalc.analysis.rendering import Camera, Rendering
from molcalc.analysis.surface import SCALE
from molcalc.analysis.surface_mesh import SurfaceMesh
from molcalc.errors import ConfigError, ResourceError
from molcalc.io.files import place_of, write_atomic
from molcalc.io.targets import reserved
from molcalc.units import VDW_RADII

PROGRAM = "povray"
INSTALL = "on Debian: apt-get install povray povray-includes"
SPACING_OF_SCENES = 0.2
"""Å between the points of the grid that triangles are found on."""
CLEAR = 0.35
"""Share of the light that goes through the surface."""
N_COLORS = 128
"""Steps of the color scale between which a triangle changes smoothly."""
BAR_WIDTH = 0.34
"""Of the picture beside the molecule that each color bar takes, in heights of the picture."""
BAR_HEIGHT = 0.62
"""Of a bar, in heights of the picture."""
LAMP = (-40.0, 50.0, 90.0)
"""Å right, up and near of the molecule; without shadows, which fall on the far side of the surface and confuse."""
_SOFT = "finish {ambient 0.5 diffuse 0.5 phong 0.1 phong_size 30}"
_FLAT = "finish {ambient 1 diffuse 0}"
_FONT = "cyrvetic.ttf"
"""One of those that POV-Ray always has; ASCII."""


def write_pov(
    path: str | os.PathLike[str], potential: MolecularPotential, scale: float | None = SCALE,
    camera: Camera | None = None, reach: float | None = None, sites: bool = False, force: bool = False,
) -> Path:  # fmt: skip
    """Write a scene of a molecule for POV-Ray, and the settings to render it with.

    >>> render_pov(write_pov("water.pov", MolecularPotential.of(atoms, calc)))

    Parameters
    ----------
    path : ends in .pov; the settings get the same name with .ini.
    scale : radius of the spheres of the surface in van der Waals radii; None draws no surface.
    camera : where it is seen from, without perspective; None looks at its broad side.
    reach : V from the middle to the ends of the color scale; None takes what the values need.
    sites : draw the point charges, and the balls of atoms small.
    force : replace files that are there.

    Returns
    -------
    path of the settings, for ``povray`` or :func:`render_pov`

    Raises
    ------
    ConfigError
        For another ending, or a scale or reach that is not a positive number.
    InputError
        For files that are there, or without atoms.
    """
    target = Path(path)
    if target.suffix != ".pov":
        raise ConfigError(f"{target}: scenes of POV-Ray end in .pov")
    settings = target.with_suffix(".ini")
    with reserved(target, force=force), reserved(settings, force=force):
        return write_scene(target, potential, scale, camera, reach, sites)


def write_scene(
    path: Path, potential: MolecularPotential, scale: float | None = SCALE, camera: Camera | None = None,
    reach: float | None = None, sites: bool = False,
) -> Path:  # fmt: skip
    """Write a scene to names that are reserved; see :func:`write_pov`."""
    atoms = potential.atoms
    check_drawable(atoms)
    camera = Camera.facing(atoms.positions) if camera is None else camera
    radii = ball_radii(atoms) if scale is None else scale * VDW_RADII[atoms.numbers]
    view = Rendering.around(camera, atoms.positions, radii)
    width, height = 2.0 * view.half[0], 2.0 * view.half[1]
    bar, n_bars = BAR_WIDTH * height, (scale is not None) + sites
    whole = width + n_bars * bar
    # ASE puts the foremost atom to z = 0 and the middle of the whole picture to x = y = 0.
    move = np.array([-0.5 * n_bars * bar, 0.0, -view.seen(atoms.positions)[:, 2].max()])

    def placed(points: np.ndarray) -> np.ndarray:
        return view.seen(points) + move

    shapes: list[_Shape] = []
    scales: list[ColorScale] = []
    if scale is not None:
        mesh = SurfaceMesh.around(atoms, scale, SPACING_OF_SCENES)
        values = potential.at(mesh.vertices)
        scales.append(potential_scale(potential, values, reach))
        shapes.append(_Surface(placed(mesh.vertices), mesh.normals @ camera.frame.T, mesh.faces, values, scales[-1]))
    if sites:
        charges = potential.sites.charges.numpy()
        scales.append(charge_scale(charges, " of a site"))
        shapes.append(_Sites(placed(potential.sites.positions.numpy()), charges, scales[-1]))
    left, front = 0.5 * width + move[0], 1.0 + float(radii.max())
    shapes += [_Bar(of_bar, left + k * bar, BAR_HEIGHT * height, front) for k, of_bar in enumerate(scales)]
    seen = placed(atoms.positions)
    scene = POVRAY(
        cell=np.zeros((3, 3)), cell_vertices=None, positions=seen + [0.5 * whole, 0.5 * height, 0.0],
        diameters=2.0 * ball_radii(atoms) * (0.3 if sites else 1.0), colors=jmol_colors[atoms.numbers],
        image_width=whole, image_height=height, canvas_width=round(camera.pixels * whole / max(width, height)),
        camera_dist=50.0 + 2.0 * float(np.abs(seen).max() + radii.max()), transparent=False, pause=False,
        area_light=None, point_lights=[(LAMP, "White shadowless")],
        textures=["intermediate"] * len(atoms), bondlinewidth=STICK * (0.3 if sites else 1.0), isosurfaces=shapes,
        bondatoms=[(a, b, (0, 0, 0)) for a, b in drawn_bonds(atoms).tolist()],
    )  # fmt: skip
    settings = path.with_suffix(".ini")
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "scene.pov"
        scene.write(written)
        write_atomic(path, written.read_bytes())
        lines = (
            written.with_suffix(".ini").read_text(encoding="utf-8").replace("Input_File_Name=scene.pov", _named(path))
        )
        write_atomic(settings, lines.encode())
    return settings


def can_render() -> bool:
    """Whether POV-Ray is installed."""
    return shutil.which(PROGRAM) is not None


def render_pov(settings: str | os.PathLike[str]) -> Path:
    """Render a scene by POV-Ray.

    Parameters
    ----------
    settings : what :func:`write_pov` returned.

    Returns
    -------
    path of the picture, with the same name and .png

    Raises
    ------
    ConfigError
        When POV-Ray is not installed.
    ResourceError
        When it ends with an error.
    """
    path = Path(settings)
    program = shutil.which(PROGRAM)
    if program is None:
        raise ConfigError(f"rendering needs POV-Ray, which is not installed: {INSTALL}; then '{PROGRAM} {path}'")
    with tempfile.TemporaryDirectory() as folder:  # its command line takes plain names only
        scene = path.with_suffix(".pov")
        shutil.copyfile(place_of(scene), Path(folder) / "scene.pov")
        lines = place_of(path).read_text(encoding="utf-8").replace(_named(scene), _named(Path("scene.pov")))
        (Path(folder) / "scene.ini").write_text(lines, encoding="utf-8")
        done = subprocess.run([program, "scene.ini"], cwd=folder, capture_output=True, text=True, check=False)
        rendered = Path(folder) / "scene.png"
        if done.returncode or not rendered.is_file():
            said = [line for line in done.stderr.splitlines() if "Error: " in line] or ["no reason given"]
            raise ResourceError(f"{path}: POV-Ray ended with status {done.returncode}: {said[-1]} ({INSTALL})")
        write_atomic(path.with_suffix(".png"), rendered.read_bytes())
    return path.with_suffix(".png")


def _named(scene: Path) -> str:
    """The line of settings that names their scene."""
    return f'Input_File_Name="{scene.name}"'


class _Shape(Protocol):
    """Part of a scene as ASE's writer takes it; Å right, up and near, in the frame of the scene."""

    def format_mesh(self) -> str:
        """Text of the shape, under the name by which ASE's writer asks for it."""


@dataclass(frozen=True)
class _Surface:
    """Triangles colored at their corners."""

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    values: np.ndarray
    scale: ColorScale

    def format_mesh(self) -> str:
        low, high = self.scale.ends
        steps = self.scale.rgb(np.linspace(low, high, N_COLORS))
        which = np.round((np.clip(self.values, low, high) - low) / (high - low) * (N_COLORS - 1)).astype(int)
        textures = [f"texture {{pigment {{rgbt {_vector((*color, CLEAR))}}} {_SOFT}}}" for color in steps.tolist()]
        corners = [f"{_vector(face, '.0f')}, {', '.join(map(str, which[face]))}" for face in self.faces]
        return (
            "mesh2 {\n"
            + _listed("vertex_vectors", [_vector(place) for place in self.vertices])
            + _listed("normal_vectors", [_vector(normal) for normal in self.normals])
            + _listed("texture_list", textures)
            + _listed("face_indices", corners)
            + "}\n"
        )


@dataclass(frozen=True)
class _Sites:
    """Balls of point charges."""

    positions: np.ndarray
    charges: np.ndarray
    scale: ColorScale

    def format_mesh(self) -> str:
        colors = self.scale.rgb(self.charges)
        return "".join(
            f"sphere {{{_vector(place)}, {radius:.4f} pigment {{rgb {_vector(color)}}} {_SOFT}}}\n"
            for place, radius, color in zip(self.positions, site_radii(self.charges), colors)
        )


@dataclass(frozen=True)
class _Bar:
    """Color bar with five values and what it shows, at half the height of the picture and in front of everything."""

    scale: ColorScale
    left: float
    height: float
    front: float

    def format_mesh(self) -> str:
        left, bottom = self.left, -0.5 * self.height
        wide, letter = 0.07 * self.height, 0.075 * self.height
        steps = [f"[{k / (len(RAMP) - 1):.4f} rgb {_vector(color)}]" for k, color in enumerate(RAMP)]
        size, place = _vector((wide, self.height, 1.0)), _vector((left, bottom, self.front))
        text = (
            f"box {{<0, 0, 0>, <1, 1, 0.01> pigment {{gradient y color_map {{{' '.join(steps)}}} scale 1.0001}} "
            f"{_FLAT} scale {size} translate {place}}}\n"
        )
        for k, value in enumerate(self.scale.ticks):
            at = bottom + k / (len(self.scale.ticks) - 1) * self.height - 0.35 * letter
            text += self._written(value, left + 1.3 * wide, at, letter)
        for k, words in enumerate(reversed(_lines(self.scale.title))):
            text += self._written(words, left, bottom + self.height + (0.9 + 1.1 * k) * letter, letter)
        return text

    def _written(self, words: str, x: float, y: float, size: float) -> str:
        form, place = _vector((size, size, 1.0)), _vector((x, y, self.front))
        return f'text {{ttf "{_FONT}" "{words}" 0.01, 0 pigment {{rgb 0}} {_FLAT} scale {form} translate {place}}}\n'


def _lines(title: str) -> list[str]:
    """A title in short lines."""
    lines: list[str] = []
    for word in title.split():
        if lines and len(lines[-1]) + len(word) < 14:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _vector(values: Sequence[float] | np.ndarray, form: str = ".4f") -> str:
    return f"<{', '.join(format(value, form) for value in values)}>"


def _listed(name: str, entries: Sequence[str]) -> str:
    return f"{name} {{{len(entries)},\n" + ",\n".join(entries) + "}\n"
