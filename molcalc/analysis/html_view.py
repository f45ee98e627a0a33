"""Pages on which molecules are turned, with surfaces, charges and motions; one HTML file that needs no network.

The page holds the program 3Dmol.js (Rego, Koes, Bioinformatics 31, 1322 (2015); license BSD-3-Clause, in the page and
beside the program in the folder ``page``), as it is in version 2.5.5 of the npm package 3dmol, ``build/3Dmol-min.js``:
the Python package py3Dmol has a link to it only.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from molcalc.analysis.color_scale import RAMP, ColorScale, charge_scale, potential_scale
from molcalc.analysis.molecular_potential import MolecularPotential
from molcalc.analysis.picture_shapes import MODE_ARROW, SMALLEST_MOVE, check_drawable, drawn_bonds, site_radii
from molcalc.analysis.rendering import Camera
from molcalc.analysis.surface import SCALE
from molcalc.analysis.surface_mesh import TRIANGLE_SPACING, SurfaceMesh
from molcalc.calculators.normal_modes import NormalModes
from molcalc.errors import ConfigError, InputError
from molcalc.io.escapes import visible
from molcalc.io.files import write_atomic
from molcalc.io.targets import reserved

MAX_FRAMES = 1000
"""Frames of a trajectory on a page; of longer ones evenly chosen ones are shown."""
MAX_COORDINATES = 6_000_000
"""Numbers of all structures of a page; 32 MB of it."""
COARSER_FROM = 400
"""Atoms from which on surfaces get coarser triangles, so that their number hardly grows."""


@dataclass(frozen=True)
class ColoredSurface:
    """Surface with a value at every vertex."""

    mesh: SurfaceMesh
    values: Float64[np.ndarray, " n_vertices"]
    scale: ColorScale


@dataclass(frozen=True)
class ColoredSites:
    """Point charges: (n_sites, 3) Å and (n_sites,) e."""

    positions: Float64[np.ndarray, "n_sites 3"]
    charges: Float64[np.ndarray, " n_sites"]
    scale: ColorScale


@dataclass(frozen=True, kw_only=True)
class View:
    """One entry of the list of a page, and what is seen when it is chosen.

    Attributes
    ----------
    title : in the list.
    frames : structures of the same atoms, one after the other.
    facts : further columns of the list, texts by their heads.
    captions : of the frames, or none.
    motion : (n_atoms, 3) Å, swing about the only frame; or None.
    surface, sites : what is drawn beside the atoms.
    charges : (n_atoms,) e of the atoms, or None.
    """

    title: str
    frames: Sequence[Atoms]
    facts: Mapping[str, str] = field(default_factory=dict)
    captions: Sequence[str] = ()
    motion: Float64[np.ndarray, "n_atoms 3"] | None = None
    surface: ColoredSurface | None = None
    sites: ColoredSites | None = None
    charges: Float64[np.ndarray, " n_atoms"] | None = None


def potential_view(potential: MolecularPotential, title: str, scale: float = SCALE) -> View:
    """A molecule within its van der Waals surface, which is colored by the potential.

    Parameters
    ----------
    scale : radius of the spheres in van der Waals radii.

    Returns
    -------
    view, with the point charges where there are more of them than atoms
    """
    atoms = potential.atoms
    spacing = TRIANGLE_SPACING * max(1.0, len(atoms) / COARSER_FROM) ** 0.5
    mesh = SurfaceMesh.around(atoms, scale, spacing)
    values = potential.at(mesh.vertices)
    colors = potential_scale(potential, values)
    facts = {"lowest (V)": f"{values.min():.3f}", "highest (V)": f"{values.max():.3f}"}
    sites, charges = None, potential.sites.charges.numpy()
    if potential.is_distributed:
        sites = ColoredSites(potential.sites.positions.numpy(), charges, charge_scale(charges, " of a site"))
    of_atoms = charges.reshape(len(atoms), -1).sum(axis=1)
    surface = ColoredSurface(mesh, values, colors)
    return View(title=title, frames=[atoms], facts=facts, surface=surface, sites=sites, charges=of_atoms)


def mode_views(modes: NormalModes, name: str = "") -> list[View]:
    """The normal modes of a structure, which swing.

    Parameters
    ----------
    name : of the structure, at the beginning of the titles.

    Returns
    -------
    one view for each mode, the softest first
    """
    views = []
    for k, (wavenumber, motion) in enumerate(zip(modes.wavenumbers.tolist(), modes.swings())):
        shown = f"{-wavenumber:.1f}i" if wavenumber < 0 else f"{wavenumber:.1f}"
        facts = {"cm⁻¹": shown}
        if modes.intensities is not None:
            facts["km/mol"] = f"{modes.intensities[k]:.2f}"
        views.append(
            View(
                title=f"{name} mode {k}".strip(),
                frames=[modes.atoms],
                facts=facts,
                captions=[f"{shown} cm⁻¹"],
                motion=motion,
            )
        )
    return views


def trajectory_view(frames: Sequence[Atoms], title: str) -> View:
    """Structures of the same atoms as a movie, with the energies that they have.

    Parameters
    ----------
    frames : at most :data:`MAX_FRAMES` of them are shown, evenly chosen, and the captions say which.

    Returns
    -------
    view

    Raises
    ------
    InputError
        Without frames, or when their atoms differ.
    """
    if not len(frames):
        raise InputError(f"{title}: no frames, and nothing to show")
    every = -(-len(frames) // min(MAX_FRAMES, max(1, MAX_COORDINATES // (6 * max(1, len(frames[0]))))))
    chosen = range(0, len(frames), every)
    for k in chosen:
        if not np.array_equal(frames[k].numbers, frames[0].numbers):
            formulas = f"frame {k} is {frames[k].get_chemical_formula()}, frame 0 {frames[0].get_chemical_formula()}"
            raise InputError(f"{title}: {formulas}, or their atoms come in another order: show them apart")
    left_out = f" (every {every}. of {len(frames)} is shown)" if every > 1 else ""
    captions = [_caption(frames[k], k) + left_out for k in chosen]
    return View(title=title, frames=[frames[k] for k in chosen], captions=captions)


def conformer_views(conformers: Sequence[Atoms]) -> list[View]:
    """Conformers as the function ``rank_conformers`` or its files give them, with rank, energy and weight.

    Parameters
    ----------
    conformers : with ``rank``, ``relative_kcal_mol`` and ``weight`` in ``info``, as far as they are known.

    Returns
    -------
    one view for each
    """
    shown = (("relative_kcal_mol", "kcal/mol", ".2f"), ("weight", "weight", ".4f"), ("found", "found", "g"))
    return [
        View(
            title=f"{atoms.info.get('molecule', atoms.get_chemical_formula())} {atoms.info.get('rank', k + 1)}",
            frames=[atoms],
            facts={head: format(atoms.info[key], form) for key, head, form in shown if key in atoms.info},
        )
        for k, atoms in enumerate(conformers)
    ]


def write_html(path: str | os.PathLike[str], views: Iterable[View], title: str, force: bool = False) -> None:
    """Write a page that shows views, one at a time, chosen from a list.

    >>> write_html("modes.html", mode_views(NormalModes.of(calc.get_vibrations(atoms))), "water")

    Parameters
    ----------
    title : of the page.
    force : replace a file that is there.

    Raises
    ------
    InputError
        For a file that is there; without views, or of a structure without atoms.
    ConfigError
        When the page would be too large for a browser.
    """
    with reserved(Path(path), force=force):
        write_page(Path(path), views, title)


def write_page(path: Path, views: Iterable[View], title: str) -> None:
    """Write a page to a name that is reserved; see :func:`write_html`."""
    shown = list(views)
    if not shown:
        raise InputError("no structure to show")
    for view in shown:
        check_drawable(view.frames[0])
    size = sum(3 * len(view.frames) * len(view.frames[0]) for view in shown)
    if size > MAX_COORDINATES:
        raise ConfigError(
            f"{path}: {size:,} coordinates are too many for a browser, at most {MAX_COORDINATES:,}: show fewer "
            "structures (FILE@::10 takes every tenth)"
        )
    write_atomic(path, page_of(shown, title).encode())


def page_of(views: Sequence[View], title: str) -> str:
    """The page as text.

    Texts of the caller come into it as JSON and are shown as texts: none of them is ever read as HTML or as a program.
    The page tells the browser to run the two programs inside and nothing else, and to fetch nothing.

    Returns
    -------
    HTML
    """
    parts = {
        name: _part(name) for name in ("page.html", "viewer.css", "viewer.js", "3Dmol-min.js", "3Dmol-LICENSE.txt")
    }
    colors = [f"rgb({', '.join(str(round(255 * channel)) for channel in color)})" for color in RAMP]
    arrow = {"longest": MODE_ARROW, "smallest_move": SMALLEST_MOVE}
    records = [_record(view) for view in views]
    document = json.dumps({"ramp": colors, "arrow": arrow, "views": records}, ensure_ascii=True)
    programs = [parts["3Dmol-min.js"], parts["viewer.js"]]
    digests = " ".join(f"'sha256-{_base64(hashlib.sha256(program.encode()).digest())}'" for program in programs)
    policy = f"default-src 'none'; script-src {digests}; style-src 'unsafe-inline'; img-src data: blob:"
    return string.Template(parts["page.html"]).substitute(
        policy=policy,
        title=html.escape(visible(title)),
        style=parts["viewer.css"],
        views=document.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"),
        license=parts["3Dmol-LICENSE.txt"],
        library=programs[0],
        viewer=programs[1],
    )


def _part(name: str) -> str:
    return (resources.files("molcalc.analysis") / "page" / name).read_text(encoding="utf-8")


def _record(view: View) -> dict[str, Any]:
    """A view as the program of the page reads it."""
    first = view.frames[0]
    bonds, of_frame = _distinct(drawn_bonds(atoms) for atoms in view.frames)
    cells = [atoms.cell.array for atoms in view.frames] if first.cell.rank else []
    return {
        "title": visible(view.title),
        "facts": {visible(head): visible(text) for head, text in view.facts.items()},
        "captions": [visible(text) for text in view.captions],
        "symbols": list(first.symbols),
        "positions": _floats(np.concatenate([atoms.positions for atoms in view.frames])),
        "cells": _floats(np.array(cells)) if cells else None,
        "bonds": [_packed(pairs, np.int32) for pairs in bonds],
        "bonds_of_frame": of_frame,
        "turn": Rotation.from_matrix(Camera.facing(first.positions).frame).as_quat().tolist(),
        "motion": None if view.motion is None else _floats(view.motion),
        "swing": 0.0 if view.motion is None else float(np.linalg.norm(view.motion, axis=1).max()),
        "charges": [] if view.charges is None else [f"{charge:+.3f}" for charge in view.charges.tolist()],
        "surface": None if view.surface is None else _surface_record(view.surface),
        "sites": None if view.sites is None else _sites_record(view.sites),
    }


def _distinct(bonds: Iterator[np.ndarray]) -> tuple[list[np.ndarray], list[int]]:
    """Arrays without repetitions, and which of them each frame has."""
    kept: dict[bytes, int] = {}
    found: list[np.ndarray] = []
    of_frame: list[int] = []
    for pairs in bonds:
        key = pairs.tobytes()
        if key not in kept:
            kept[key] = len(found)
            found.append(pairs)
        of_frame.append(kept[key])
    return found, of_frame


def _surface_record(surface: ColoredSurface) -> dict[str, Any]:
    return {
        "vertices": _floats(surface.mesh.vertices),
        "normals": _packed(np.round(127.0 * surface.mesh.normals), np.int8),
        "colors": _colors(surface.scale, surface.values),
        "faces": _packed(surface.mesh.faces, np.uint32),
        "scale": _scale_record(surface.scale),
    }


def _sites_record(sites: ColoredSites) -> dict[str, Any]:
    return {
        "positions": _floats(sites.positions),
        "radii": _floats(site_radii(sites.charges)),
        "colors": _colors(sites.scale, sites.charges),
        "texts": [f"{charge:+.3f} e" for charge in sites.charges.tolist()],
        "scale": _scale_record(sites.scale),
    }


def _scale_record(scale: ColorScale) -> dict[str, Any]:
    return {"title": scale.title, "ticks": scale.ticks[::-1]}


def _caption(atoms: Atoms, k: int) -> str:
    """Step and energy of a frame, as far as it knows them."""
    parts = []
    if "time_fs" in atoms.info:
        parts.append(f"{atoms.info['time_fs']:g} fs")
    elif "step" in atoms.info:
        parts.append(f"step {atoms.info['step']}")
    if atoms.calc is not None and "energy" in atoms.calc.results:
        parts.append(f"{atoms.calc.results['energy']:.5f} eV")
    return ", ".join(parts) or f"structure {k}"


def _colors(scale: ColorScale, values: np.ndarray) -> str:
    return _packed(np.round(255.0 * scale.rgb(values)), np.uint8)


def _floats(values: np.ndarray) -> str:
    return _packed(values, np.float32)


def _packed(values: np.ndarray, kind: type[np.generic]) -> str:
    return _base64(np.ascontiguousarray(values, dtype=np.dtype(kind).newbyteorder("<")).tobytes())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
