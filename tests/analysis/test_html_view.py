"""Pages on which molecules are turned."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from molcalc.analysis import html_view
from molcalc.analysis.html_view import View, conformer_views, mode_views, potential_view, trajectory_view, write_html
from molcalc.analysis.molecular_potential import MolecularPotential
from molcalc.calculators import AIMNet2, PhysNetDCM
from molcalc.calculators.normal_modes import AMPLITUDE, NormalModes
from molcalc.errors import ConfigError, InputError
from tests.helpers.networks import tiny_checkpoint, tiny_dcm
from tests.helpers.pages import BROWSER, data_of, photographed

HOSTILE = "</script></title><script>document.title='bad'</script><img src=x onerror=\"document.title='bad'\">\x1b[2J"


def numbers(text: str, kind: str = "<f4") -> np.ndarray:
    """An array as it is in a page."""
    return np.frombuffer(base64.b64decode(text), kind)


def modes() -> NormalModes:
    """Two modes of water, one of which is imaginary."""
    moves = np.zeros((2, 3, 3))
    moves[0, 1, 0], moves[1, 2, 1] = 2.0, 0.5
    return NormalModes(molecule("H2O"), np.array([-120.0, 3800.5]), moves, np.array([1.0, 60.25]), "nonlinear")


def test_the_page_has_the_structures_and_their_colors(tmp_path: Path) -> None:
    potential = MolecularPotential.of(molecule("CO2"), PhysNetDCM(tiny_dcm("physnet-dcm")))
    write_html(tmp_path / "a.html", [potential_view(potential, "CO2")], "potentials")
    (view,) = data_of(tmp_path / "a.html")["views"]
    assert view["symbols"] == ["C", "O", "O"]
    assert numbers(view["positions"]).reshape(3, 3) == pytest.approx(molecule("CO2").positions, abs=1e-6)
    assert numbers(view["bonds"][0], "<i4").tolist() == [0, 1, 0, 2]
    vertices = numbers(view["surface"]["vertices"]).reshape(-1, 3)
    values = potential.at(vertices.astype(np.float64))
    colors = numbers(view["surface"]["colors"], "u1").reshape(-1, 3).astype(int)
    assert (np.sign(colors[:, 0] - colors[:, 2])[np.abs(values) > 0.05 * np.abs(values).max()] == np.sign(values)[
        np.abs(values) > 0.05 * np.abs(values).max()
    ]).all()  # fmt: skip
    assert view["surface"]["scale"]["ticks"][2] == "0"
    assert len(view["sites"]["texts"]) == len(potential.sites.charges)


def test_texts_of_others_stay_texts(tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    views = [View(title=HOSTILE, frames=[molecule("H2O")], facts={HOSTILE: HOSTILE}, captions=[HOSTILE])]
    write_html(page, views, HOSTILE)
    text = page.read_text()
    assert "<script>document" not in text
    assert "<img" not in text
    assert "\x1b" not in text
    assert data_of(page)["views"][0]["title"].startswith("</script>")


def test_only_the_two_programs_may_run_and_nothing_is_fetched(tmp_path: Path) -> None:
    write_html(tmp_path / "a.html", [trajectory_view([molecule("H2O")], "water")], "water")
    text = (tmp_path / "a.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline'; img" in policy[1]
    assert "connect-src" not in policy[1]
    assert not re.search(r'(src|href)="http', text)


def test_modes_swing_by_a_set_amplitude_and_imaginary_ones_are_marked(tmp_path: Path) -> None:
    views = mode_views(modes(), "water")
    assert [view.title for view in views] == ["water mode 0", "water mode 1"]
    assert views[0].facts == {"cm⁻¹": "120.0i", "km/mol": "1.00"}
    for view in views:
        assert view.motion is not None
        assert np.linalg.norm(view.motion, axis=1).max() == pytest.approx(AMPLITUDE)


def test_charges_of_atoms_are_those_of_their_sites(tmp_path: Path) -> None:
    calc, atoms = PhysNetDCM(tiny_dcm("physnet-dcm")), molecule("H2O")
    views = [potential_view(MolecularPotential.of(atoms, calc), "water"), mode_views(modes(), "water")[0]]
    write_html(tmp_path / "a.html", views, "water")
    first, second = data_of(tmp_path / "a.html")["views"]
    assert first["charges"] == [f"{charge:+.3f}" for charge in calc.get_charges(atoms)]
    assert second["charges"] == []
    assert (first["swing"], second["swing"]) == (0.0, pytest.approx(AMPLITUDE))


def test_bonds_follow_the_frames_and_cells_are_drawn(tmp_path: Path) -> None:
    frames = [Atoms("H2", [[0, 0, 0], [0, 0, x]]) for x in (0.74, 0.75, 5.0)]
    write_html(tmp_path / "a.html", [trajectory_view(frames, "H2")], "H2")
    (view,) = data_of(tmp_path / "a.html")["views"]
    assert view["bonds_of_frame"] == [0, 0, 1]
    assert view["cells"] is None
    write_html(tmp_path / "b.html", [trajectory_view([bulk("Si")], "Si")], "Si")
    assert numbers(data_of(tmp_path / "b.html")["views"][0]["cells"]).reshape(3, 3) == pytest.approx(
        bulk("Si").cell.array, rel=1e-6
    )


def test_of_long_trajectories_evenly_chosen_frames_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_view, "MAX_FRAMES", 4)
    view = trajectory_view([molecule("H2O")] * 10, "water")
    assert len(view.frames) == 4
    assert view.captions[1] == "structure 3 (every 3. of 10 is shown)"


def test_conformers_are_listed_with_what_is_known_of_them() -> None:
    atoms = molecule("H2O")
    atoms.info = {"molecule": "water", "rank": 1, "relative_kcal_mol": 0.0, "weight": 1.0}
    first, second = conformer_views([atoms, molecule("H2O")])
    assert (first.title, first.facts) == ("water 1", {"kcal/mol": "0.00", "weight": "1.0000"})
    assert (second.title, second.facts) == ("H2O 2", {})


@pytest.mark.parametrize(
    ("views", "error", "words"),
    [
        ([], InputError, "no structure"),
        ([View(title="none", frames=[Atoms()])], InputError, "no atoms"),
        ([View(title="large", frames=[Atoms("H1000")] * 3)], ConfigError, "9,000 coordinates.*FILE@::10"),
    ],
    ids=["no view", "no atoms", "too large"],
)
def test_what_cannot_be_shown_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, views: list[View], error: type[Exception], words: str
) -> None:
    monkeypatch.setattr(html_view, "MAX_COORDINATES", 8000)
    with pytest.raises(error, match=words):
        write_html(tmp_path / "a.html", views, "none")
    assert not list(tmp_path.glob("a.html"))


def test_frames_of_other_atoms_are_no_trajectory() -> None:
    with pytest.raises(InputError, match="frame 1 is CO2, frame 0 H2O"):
        trajectory_view([molecule("H2O"), molecule("CO2")], "mixed")
    with pytest.raises(InputError, match="no frames"):
        trajectory_view([], "empty")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium")
def test_a_browser_shows_everything_without_network_and_complaints(tmp_path: Path) -> None:
    page = tmp_path / "all.html"
    of_sites = potential_view(MolecularPotential.of(molecule("CO2"), PhysNetDCM(tiny_dcm("physnet-dcm"))), HOSTILE)
    surface = potential_view(MolecularPotential.of(molecule("C6H6"), AIMNet2(tiny_checkpoint())), "benzene")
    views = [of_sites, surface, mode_views(modes(), "water")[1], trajectory_view([bulk("Si")] * 2, "Si")]
    write_html(page, views, HOSTILE)
    stages = []
    for k in range(len(views)):
        picture, said = photographed(page, k)
        assert not said
        stage = picture[60:-80, 450:-150]
        colored = (np.ptp(stage.astype(int), axis=2) > 25).sum() if k < 2 else (stage.min(axis=2) < 200).sum()
        assert colored > 300, views[k].title
        stages.append(stage)
    assert all((stages[k] != stages[0]).any() for k in range(1, len(stages)))


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium")
def test_a_large_surface_comes_in_parts_and_is_whole(tmp_path: Path) -> None:
    chain = Atoms("C120", [[1.5 * k, 0.0, 0.0] for k in range(120)])
    potential = MolecularPotential.of(molecule("H2O"), AIMNet2(tiny_checkpoint()))
    view = potential_view(type(potential)(chain, potential.sites), "chain")
    assert view.surface is not None
    assert len(view.surface.mesh.faces) > 40000
    write_html(tmp_path / "a.html", [view], "chain")
    picture, said = photographed(tmp_path / "a.html")
    assert not said
    dark = (picture[60:-80, 50:-200].min(axis=2) < 250).any(axis=0)
    assert dark.sum() > 300  # from one end to the other
