"""Scenes for POV-Ray."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from molcalc.analysis import povray
from molcalc.analysis.molecular_potential import MolecularPotential
from molcalc.analysis.povray import can_render, render_pov, write_pov
from molcalc.analysis.rendering import Camera
from molcalc.calculators import PhysNetDCM
from molcalc.errors import ConfigError, InputError, ResourceError
from tests.helpers.networks import tiny_dcm


@pytest.fixture(scope="module")
def potential() -> MolecularPotential:
    """Of CO2 with distributed charges."""
    return MolecularPotential.of(molecule("CO2"), PhysNetDCM(tiny_dcm("physnet-dcm")))


def vectors(text: str, name: str) -> np.ndarray:
    """A list of a mesh."""
    found = re.search(rf"{name} {{(\d+),\n(.*?)}}\n", text, re.DOTALL)
    assert found
    values = np.array([[float(x) for x in line.split(",")] for line in re.findall(r"<([^>]*)>", found[2])])
    assert len(values) == int(found[1])
    return values


def test_the_scene_has_the_surface_the_charges_and_both_bars(tmp_path: Path, potential: MolecularPotential) -> None:
    # Seen from +x: y is right, z is up, and the molecule lies along z.
    settings = write_pov(tmp_path / "co2.pov", potential, camera=Camera(0.0, 0.0, pixels=100), sites=True)
    text = (tmp_path / "co2.pov").read_text()
    corners, normals = vectors(text, "vertex_vectors"), vectors(text, "normal_vectors")
    assert np.ptp(corners[:, 1]) > 1.3 * np.ptp(corners[:, 0])
    assert ((corners - corners.mean(axis=0)) * normals).sum(axis=1).min() > 0
    assert vectors(text, "face_indices").max() == len(corners) - 1
    spheres = re.findall(r"^sphere", text, re.MULTILINE)
    assert len(spheres) == len(potential.sites.charges)
    assert text.count("gradient y") == 2
    assert '"potential (V)"' in text
    assert 'Input_File_Name="co2.pov"' in settings.read_text()
    width, height = (int(re.search(rf"^{side}=(\d+)", settings.read_text(), re.M)[1]) for side in ("Width", "Height"))  # type: ignore[index]
    assert height == pytest.approx(100, abs=2)
    assert width > 100


def test_colors_follow_the_potential(tmp_path: Path, potential: MolecularPotential) -> None:
    write_pov(tmp_path / "co2.pov", potential, camera=Camera(0.0, 0.0, pixels=100))
    text = (tmp_path / "co2.pov").read_text()
    faces = re.search(r"face_indices {\d+,\n(.*?)}\n", text, re.DOTALL)
    assert faces
    color = {}
    for a, b, c, *which in re.findall(r"<(\d+), (\d+), (\d+)>, (\d+), (\d+), (\d+)", faces[1]):
        color.update(zip((int(a), int(b), int(c)), map(int, which)))
    # The scene only moves what the camera sees: right is y, up is z.
    corners = vectors(text, "vertex_vectors")
    corners -= 0.5 * (corners.min(axis=0) + corners.max(axis=0))
    places = np.stack([corners[:, 2], corners[:, 0], corners[:, 1]], axis=1) + molecule("CO2").positions.mean(axis=0)
    values = potential.at(places)
    steps = np.array([color[k] for k in range(len(corners))])
    assert np.corrcoef(values, steps)[0, 1] > 0.999


@pytest.mark.parametrize("name", ["a.txt", "there.pov", "settings.pov"])
def test_other_endings_and_files_that_are_there_are_refused(
    tmp_path: Path, potential: MolecularPotential, name: str
) -> None:
    (tmp_path / "there.pov").touch()
    (tmp_path / "settings.ini").touch()
    with pytest.raises((ConfigError, InputError), match=r"end in \.pov|exists"):
        write_pov(tmp_path / name, potential)
    with pytest.raises(InputError, match="no atoms"):
        write_pov(tmp_path / "none.pov", MolecularPotential(Atoms(), potential.sites))


def test_without_the_program_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(povray, "PROGRAM", "no-such-ray-tracer")
    assert not can_render()
    with pytest.raises(ConfigError, match="apt-get install povray"):
        render_pov(tmp_path / "a.ini")


@pytest.mark.slow
@pytest.mark.skipif(not can_render(), reason=f"no POV-Ray here: {povray.INSTALL}")
def test_the_rendered_picture_has_the_colors_of_both_ends(tmp_path: Path, potential: MolecularPotential) -> None:
    from PIL import Image

    settings = write_pov(tmp_path / "a molecule.pov", potential, camera=Camera(0.0, 0.0, pixels=160), sites=True)
    picture = np.asarray(Image.open(render_pov(settings)).convert("RGB")).astype(int)
    molecule_part = picture[:, : picture.shape[1] // 2]
    assert (molecule_part[..., 0] - molecule_part[..., 2]).max() > 60
    assert (molecule_part[..., 2] - molecule_part[..., 0]).max() > 60
    (tmp_path / "a molecule.pov").write_text("sphere {")
    with pytest.raises(ResourceError, match="Parse Error"):
        render_pov(settings)
