"""Pictures of molecules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from molcalc.analysis import draw_charges, draw_distributed_charges, draw_esp_surface, draw_mode, draw_molecule
from molcalc.analysis.rendering import Camera
from molcalc.calculators import AIMNet2, PhysNetDCM
from molcalc.calculators.normal_modes import NormalModes
from molcalc.errors import ConfigError, InputError
from tests.helpers.networks import tiny_checkpoint, tiny_dcm

SMALL = Camera(elevation=0.0, azimuth=0.0, pixels=90)


def image_of(figure: Any) -> np.ndarray:
    """(height, width, 3) of the molecule in the figure."""
    return np.asarray(figure.axes[0].images[0].get_array())


def test_the_surface_is_red_where_the_potential_is_positive() -> None:
    calc, atoms = AIMNet2(tiny_checkpoint()), molecule("H2O")
    figure = draw_esp_surface(atoms, calc, camera=SMALL)
    rgb = image_of(figure)
    charges = calc.get_property("charges", atoms)
    height = rgb.shape[0]
    upper, lower = rgb[height // 6, rgb.shape[1] // 2], rgb[-height // 6, rgb.shape[1] // 2]
    oxygen, hydrogen = (upper, lower) if atoms.positions[0, 2] > atoms.positions[1, 2] else (lower, upper)
    assert (oxygen[0] - oxygen[2] > hydrogen[0] - hydrogen[2]) == (charges[0] > charges[1])
    bar = figure.axes[1]
    assert bar.get_ylim()[0] == -bar.get_ylim()[1]
    assert "(V)" in bar.get_ylabel()


def test_titles_of_ions_have_their_charge() -> None:
    hydroxide = molecule("OH")
    hydroxide.info["charge"] = -1
    calc = AIMNet2(tiny_checkpoint())
    surface = draw_esp_surface(hydroxide, calc, camera=SMALL)
    assert surface.axes[0].get_title() == "HO (-1), 1.4 van der Waals radii"
    mode = draw_mode(NormalModes.of(calc.get_vibrations(hydroxide)), 0, camera=SMALL)
    assert mode.axes[0].get_title().startswith("HO (-1), mode 0: ")


def test_charges_are_written_on_the_atoms() -> None:
    calc, atoms = AIMNet2(tiny_checkpoint()), molecule("H2O")
    charges = calc.get_property("charges", atoms)
    texts = [text.get_text() for text in draw_charges(atoms, calc).axes[0].texts]
    assert f"O\n{charges[0]:+.2f}" in texts


def test_arrows_go_from_the_atoms_along_the_mode() -> None:
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 1.0]])
    moves = np.array([[[0.0, 0.0, 0.02], [0.0, 0.0, -1.0]]])
    modes = NormalModes(atoms, np.array([3700.0]), moves, np.array([12.0]), "linear")
    figure = draw_mode(modes, 0, camera=SMALL)
    assert figure.axes[0].get_title() == "HO, mode 0: 3700 cm⁻¹, 12.0 km/mol"
    (arrow,) = [text for text in figure.axes[0].texts if text.arrow_patch is not None]  # oxygen hardly moves
    assert np.array(arrow.xy) - np.array(arrow.xyann) == pytest.approx([0.0, 1.1])  # outwards
    with pytest.raises(InputError, match="mode=1: HO has 1 modes"):
        draw_mode(modes, 1)


def test_distributed_charges_need_a_model_that_has_them() -> None:
    atoms = molecule("CO2")
    figure = draw_distributed_charges(atoms, PhysNetDCM(tiny_dcm("physnet-dcm")), camera=SMALL)
    assert (image_of(figure) < 0.99).any()
    with pytest.raises(ConfigError, match="charges on atoms only"):
        draw_distributed_charges(atoms, AIMNet2(tiny_checkpoint()))


def test_symbols_are_written_unless_they_are_hidden_or_unwanted() -> None:
    benzene = molecule("C6H6")
    assert len(draw_molecule(benzene).axes[0].texts) == 12 + 1  # and the bar of 1 Å
    assert len(draw_molecule(benzene, labels=False).axes[0].texts) == 1
    with pytest.raises(InputError, match="no atoms"):
        draw_molecule(Atoms())


def test_files_have_the_pixels_that_the_camera_asks_for(tmp_path: Path) -> None:
    from PIL import Image

    widths = {}
    for pixels in (100, 300):
        draw_molecule(molecule("H2O"), Camera(0.0, 0.0, pixels=pixels)).savefig(tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as picture:
            widths[pixels] = picture.width
    assert widths[300] == pytest.approx(3 * widths[100], abs=3)


def test_the_point_charges_are_drawn_into_the_surface_with_a_bar_of_their_own() -> None:
    calc, atoms = PhysNetDCM(tiny_dcm("physnet-dcm")), molecule("CO2")
    plain, both = (draw_esp_surface(atoms, calc, camera=SMALL, sites=sites) for sites in (False, True))
    assert [axis.get_ylabel() for axis in both.axes[1:]] == ["electrostatic potential (V)", "charge of a site (e)"]
    assert (image_of(plain) != image_of(both)).any()
