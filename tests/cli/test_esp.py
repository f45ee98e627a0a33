"""``molcalc esp``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import molecule
from ase.db import connect
from ase.io import write
from ase.io.cube import read_cube

from molcalc.analysis import esp_surface, povray
from molcalc.calculators import AIMNet2, PhysNetDCM
from molcalc.errors import ResourceError
from molcalc.io import checkpoint
from molcalc.units import KCAL_PER_MOL
from tests.helpers.networks import tiny_dcm
from tests.helpers.pages import data_of


@pytest.fixture
def water(tmp_path: Path) -> Path:
    """A molecule."""
    write(tmp_path / "water.xyz", molecule("H2O"))
    return tmp_path / "water.xyz"


def test_the_numbers_are_those_of_the_library(run: Any, models: Path, water: Path) -> None:
    result = run("esp", water, "--model", models / "single", "--json", "--unit", "kcal/mol")
    assert result.status == 0, result.err
    document = json.loads(result.out)
    assert document["units"]["v_max"] == "kcal/mol/e"
    (found,) = document["structures"]
    expected = esp_surface(molecule("H2O"), AIMNet2(models / "single"))
    assert found["v_max"] == pytest.approx(expected.descriptors.v_max / KCAL_PER_MOL, rel=1e-4)
    assert found["variance_positive"] == pytest.approx(
        expected.descriptors.variance_positive / KCAL_PER_MOL**2, rel=1e-4
    )
    assert len(found["maxima"]) == len(expected.maxima)


def test_everything_asked_for_is_written(run: Any, models: Path, water: Path) -> None:
    np.save(water.parent / "points.npy", 3.0 * np.eye(3))
    result = run(
        "esp", water, "--model", models / "single", "--cube", 0.8, "--plot", "--points", "points.npy", "-o", "out",
        "--html", "a.html", "--pixels", 200, "--camera", 10, 20, 30,
    )  # fmt: skip
    assert result.status == 0, result.err
    assert "written: out.cube, out-esp.png, out-points.csv, out-surface.csv" in result.out
    calc = AIMNet2(models / "single")
    lines = (water.parent / "out-points.csv").read_text().splitlines()
    values = [float(line.split(",")[3]) for line in lines[1:]]
    assert values == pytest.approx(calc.get_esp(3.0 * np.eye(3), molecule("H2O")), rel=1e-4)
    with (water.parent / "out.cube").open() as file:
        assert read_cube(file)["data"].min() < 0
    assert (water.parent / "out-esp.png").read_bytes().startswith(b"\x89PNG")
    (view,) = data_of(water.parent / "a.html")["views"]
    assert view["title"] == f"{water}, frame 0"
    again = run("esp", water, "--model", models / "single", "--html", "a.html")
    assert (again.status, "a.html exists" in again.err) == (2, True)
    again = run("esp", water, "--model", models / "single", "--plot", "-o", "out")
    assert again.status == 2
    assert "out-esp.png exists" in again.err


def test_errors_against_a_database_are_listed(run: Any, models: Path, water: Path) -> None:
    points = np.array([[0, 0, 4.0], [0, 4.0, 0], [3.5, 0, 0]])
    exact = AIMNet2(models / "single").get_esp(points, molecule("H2O"))
    with connect(water.parent / "esp.db") as database:
        database.write(molecule("H2O"), data={"esp": (exact + 0.1).tolist(), "esp_points": points.tolist()})
    result = run("esp", water, "--model", models / "single", "--compare", "esp.db", "--json")
    assert result.status == 0, result.err
    errors = json.loads(result.out)["structures"][0]["errors"]
    assert errors[0]["points"] == "all"
    assert errors[0]["mean"] == pytest.approx(-0.1, abs=1e-4)
    other = run("esp", water, "--model", models / "single", "--compare", water)
    assert other.status == 3


def test_charges_are_compared_side_by_side_and_molecules_together(run: Any, tmp_path: Path) -> None:
    calc = PhysNetDCM(tiny_dcm("physnet-dcm"))
    checkpoint.save(tmp_path / "dcm", tiny_dcm("physnet-dcm"))
    points = np.array([[0, 0, 4.0], [0, 4.0, 0], [3.5, 0, 0]])
    names = ("H2O", "CO2")
    with connect(tmp_path / "esp.db") as database:
        for name in names:
            exact = calc.get_esp(points, molecule(name))
            database.write(molecule(name), data={"esp": exact.tolist(), "esp_points": points.tolist()})
    result = run("esp", "esp.db", "--model", "dcm", "--compare", "esp.db", "--unit", "kcal/mol")
    assert result.status == 0, result.err
    assert "rmse distributed  rmse of atoms" in result.out
    assert "errors over all points in kcal/mol/e, 2 molecules" in result.out
    total = next(line for line in result.out.splitlines() if line.startswith("all molecules"))
    number, distributed, atoms = total.split()[2:5]
    gaps = [calc.get_esp(points, molecule(name), "charges") - calc.get_esp(points, molecule(name)) for name in names]
    assert int(number) == 6
    assert float(distributed) == pytest.approx(0.0, abs=1e-3)
    assert float(atoms) == pytest.approx(np.sqrt(np.mean(np.square(gaps))) / KCAL_PER_MOL, abs=1e-3)
    document = json.loads(
        run("esp", "esp.db", "--model", "dcm", "--compare", "esp.db", "--unit", "kcal/mol", "--json").out
    )
    assert document["units"]["errors"] == "kcal/mol/e"
    assert next(e["rmse"] for e in document["errors"] if e["charges"] == "charges") == pytest.approx(
        float(atoms), abs=1e-3
    )


def test_one_bad_molecule_does_not_end_the_others(run: Any, models: Path, tmp_path: Path) -> None:
    crystal = molecule("NH3")
    crystal.set_cell([9, 9, 9])
    crystal.pbc = True
    write(tmp_path / "frames.xyz", [molecule("H2O"), crystal, molecule("CO2")])
    result = run("esp", "frames.xyz", "--model", models / "single", "-o", "out")
    assert result.status == 2
    assert "frames.xyz, frame 1" in result.err
    assert [name.name for name in sorted(tmp_path.glob("out*"))] == ["out-0-surface.csv", "out-2-surface.csv"]


def test_files_are_none_where_the_page_behind_them_fails(
    run: Any, models: Path, water: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ResourceError("cannot write a.html: No space left on device")

    monkeypatch.setattr("molcalc.analysis.html_view.write_page", fail)
    result = run("esp", water, "--model", models / "single", "-o", "out", "--html", "a.html")
    assert result.status == 6
    assert [file.name for file in water.parent.iterdir() if file.is_file()] == ["water.xyz"]


def test_a_cube_that_is_too_large_leaves_nothing_behind(run: Any, models: Path, water: Path) -> None:
    result = run("esp", water, "--model", models / "single", "--cube", "0.0005", "-o", "out")
    assert result.status == 6
    assert "take a larger spacing" in result.err
    assert [path.name for path in water.parent.iterdir()] == ["water.xyz"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--cube", "0"), "is not a number > 0"),
        (("--points", "none.csv"), "no file none.csv"),
        (("--points-unit", "nm", "--points", "water.xyz"), "unit of length"),
        (("--points", "water.xyz"), "closer to a nucleus"),
        (("--surface", "-1"), "is not a number > 0"),
        (("-o", "", "--cube", "1"), "argument -o is empty"),
        (("-o", "sub/", "--cube", "1"), "no beginning of names"),
        (("-o", "./"), "no beginning of names"),
        (("--margin", "3"), "--margin is of what --cube writes"),
        (("--pixels", "300", "--cube", "1"), "--pixels is of what --plot or --pov writes"),
        (("--camera", "0", "0", "0"), "--camera is of what --plot or --pov writes"),
    ],
)
def test_wrong_options_are_refused(run: Any, models: Path, water: Path, options: tuple[str, ...], words: str) -> None:
    result = run("esp", water, "--model", models / "single", *options)
    assert result.status == 2
    assert words in result.err
    assert [path.name for path in water.parent.iterdir()] == ["water.xyz"]


def test_a_scene_is_written_also_without_the_program_that_renders_it(
    run: Any, models: Path, water: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(povray, "PROGRAM", "no-such-ray-tracer")
    result = run("esp", water, "--model", models / "single", "--pov", "-o", "out")
    assert result.status == 0, result.err
    assert "out-scene.pov is not rendered: POV-Ray is not installed" in result.err
    assert "written: out-scene.pov, out-scene.ini, out-surface.csv" in result.out
