"""Points in space and reference potentials from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.db import connect

from molcalc.analysis.point_files import check_unit, read_points, read_reference, write_values
from molcalc.errors import ConfigError, DatasetError, InputError
from molcalc.units import BOHR

POINTS = np.array([[1.0, 2.0, 3.0], [0.5, -1.25, 4.0], [3.0, 0.0, -2.0]])


def written(path: Path) -> Path:
    """The points in the format that the name asks for."""
    rows = [f"{x} {y} {z}" for x, y, z in POINTS]
    match path.suffix:
        case ".npy":
            np.save(path, POINTS)
        case ".xyz":
            path.write_text("\n".join(["3", "points", *(f"X {row}" for row in rows), ""]))
        case ".csv":
            path.write_text("\n".join(["x,y,z", *(row.replace(" ", ",") for row in rows)]))
        case _:
            path.write_text("\n".join(["# in Å", *rows, ""]))
    return path


@pytest.mark.parametrize("ending", [".xyz", ".npy", ".csv", ".txt"])
def test_points_are_read_from_every_format(tmp_path: Path, ending: str) -> None:
    assert np.array_equal(read_points(written(tmp_path / f"points{ending}")), POINTS)


def test_points_in_bohr_are_converted(tmp_path: Path) -> None:
    path = written(tmp_path / "points.csv")
    assert np.array_equal(read_points(path, "Bohr"), BOHR * POINTS)
    with pytest.raises(ConfigError, match="unit of length"):
        read_points(path, "nm")


@pytest.mark.parametrize(
    "text", ["", "x,y,z\n", "1,2\n", "1,2,3\n1,2,nan\n", "1,2,3\n4,5,6,7\n", "1,2,3\na,b,c\n",
             "1,2,3\n1_0,2,3\n", "1,2,3\n1,2,٣\n"],
    ids=["empty", "names only", "two columns", "nan", "four columns", "words", "underscore", "other digits"],
)  # fmt: skip
def test_files_without_points_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(InputError, match="points"):
        read_points(path)


@pytest.mark.parametrize(
    "head", ["x (Bohr),y (Bohr),z (Bohr)\n", "# x [a0], y [a0], z [a0]\n"], ids=["names", "comment"]
)
def test_a_unit_in_the_names_of_columns_is_not_passed_over(tmp_path: Path, head: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(f"{head}3,0,0\n")
    with pytest.raises(InputError, match="columns are in Bohr, and Å is read: --points-unit Bohr"):
        read_points(path)
    assert read_points(path, "Bohr").tolist() == [[3 * BOHR, 0.0, 0.0]]
    path.write_text("x (nm),y (nm),z (nm)\n3,0,0\n")
    with pytest.raises(InputError, match="columns are in nm, and Å is read: convert them"):
        read_points(path)


def test_arrays_of_no_points_are_refused_with_their_file(tmp_path: Path) -> None:
    path = tmp_path / "points.npy"
    for array, said in ((np.full((2, 3), np.nan), "point 0 is"), (np.zeros((0, 3)), "shape"), (POINTS + 0j, "real")):
        np.save(path, array)
        with pytest.raises(InputError, match=f"points.npy does not hold points.*{said}"):
            read_points(path)


def test_a_file_of_fewer_points_than_it_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "points.xyz"
    path.write_text("3\ncomment\nX 0 0 1\nX 0 0 2\n")
    with pytest.raises(InputError, match="says 3 points"):
        read_points(path)


def test_points_of_another_unit_are_recognized() -> None:
    atoms = molecule("H2O")
    around = 3.0 * np.eye(3)
    check_unit(around, atoms, "points")
    for factor in (0.1, 10.0):
        with pytest.raises(InputError, match="in Å"):
            check_unit(factor * around, atoms, "points")


def reference(path: Path, images: list[Atoms]) -> Path:
    """Database with a potential for each structure: its number at two points."""
    with connect(path) as database:
        for k, atoms in enumerate(images):
            database.write(atoms, data={"esp": [k + 0.5, k + 0.25], "esp_points": [[0, 0, 4.0 + k], [0, 4.0, 0]]})
    return path


def test_the_reference_is_that_of_the_same_geometry(tmp_path: Path) -> None:
    water, stretched = molecule("H2O"), molecule("H2O")
    stretched.positions[1, 1] += 0.05
    path = reference(tmp_path / "esp.db", [molecule("CO2"), stretched, water])
    found = read_reference(path, water)
    assert found.potential.tolist() == [2.5, 2.25]
    assert found.points.tolist() == [[0, 0, 6.0], [0, 4.0, 0]]
    assert "row 3" in found.name
    with pytest.raises(DatasetError, match="no potential of H3N"):
        read_reference(path, molecule("NH3"))
    water.positions += 0.5
    with pytest.raises(DatasetError, match="0.500 Å away"):
        read_reference(path, water)


def test_values_are_written_with_all_digits(tmp_path: Path) -> None:
    write_values(tmp_path / "values.csv", POINTS, np.array([1 / 3, -2.0, 0.1]), "V")
    lines = (tmp_path / "values.csv").read_text().splitlines()
    assert lines[0] == "x (Å),y (Å),z (Å),potential (V)"
    assert [float(text) for text in lines[1].split(",")] == [*POINTS[0], 1 / 3]
