"""Cube files of potentials."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io.cube import read_cube

from molcalc.analysis import write_cube
from molcalc.analysis.cube import CLEARANCE, CubeGrid
from molcalc.calculators import AIMNet2
from molcalc.errors import ConfigError, InputError, ResourceError
from molcalc.units import BOHR, HARTREE
from tests.helpers.networks import tiny_checkpoint


@pytest.fixture(scope="module")
def calc() -> AIMNet2:
    """A small model."""
    return AIMNet2(tiny_checkpoint())


def read_by_hand(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Origin and steps in Bohr, atoms, values: the format as its documentation has it."""
    lines = path.read_text().splitlines()
    head = [[float(text) for text in line.split()] for line in lines[2:6]]
    n_atoms, shape = int(head[0][0]), [int(line[0]) for line in head[1:]]
    atoms = np.array([[float(text) for text in line.split()] for line in lines[6 : 6 + n_atoms]])
    numbers = [float(text) for line in lines[6 + n_atoms :] for text in line.split()]
    return np.array(head[0][1:]), np.array(head[1:])[:, 1:], atoms, np.array(numbers).reshape(shape)


def test_a_cube_holds_the_potential_in_atomic_units(calc: AIMNet2, tmp_path: Path) -> None:
    atoms, path = molecule("CH3OH"), tmp_path / "methanol.cube"
    grid = write_cube(path, atoms, calc, spacing=0.7, margin=2.0)
    with path.open() as file:
        by_ase = read_cube(file)
    origin, steps, listed, values = read_by_hand(path)
    assert by_ase["atoms"].positions == pytest.approx(atoms.positions, abs=1e-6)
    assert np.array_equal(by_ase["data"], values)
    assert listed[:, 0].tolist() == listed[:, 1].tolist() == atoms.numbers.tolist()
    assert steps * BOHR == pytest.approx(0.7 * np.eye(3), abs=1e-6)
    assert values.shape == grid.shape
    for place in ((0, 0, 0), (1, 2, 3), (3, 1, 2), tuple(n - 1 for n in grid.shape)):
        point = origin * BOHR + np.array(place) * 0.7
        assert HARTREE * values[place] == pytest.approx(calc.get_esp(point[None], atoms)[0], rel=2e-5, abs=1e-5)


def test_the_grid_encloses_the_molecule_and_meets_no_charge() -> None:
    positions = np.array([[0.0, 0.0, 0.0], [0.4, 0.8, 1.2], [2.0, -1.0, 0.2]])
    grid = CubeGrid.around(positions, spacing=0.2, margin=2.0)
    last = grid.origin + 0.2 * (np.array(grid.shape) - 1)
    assert (grid.origin <= positions.min(axis=0) - 2.0 + 1e-9).all()
    assert (last >= positions.max(axis=0) + 2.0 - 1e-9).all()
    points = np.concatenate([plane.copy() for plane in grid.planes()])
    assert len(points) == grid.n_points
    nearest = np.linalg.norm(points[:, None] - positions, axis=2).min()
    assert nearest >= 0.2 * CLEARANCE


def test_a_file_that_would_not_fit_is_refused_before(
    calc: AIMNet2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6, 10**4))
    with pytest.raises(ResourceError, match="larger spacing"):
        write_cube(tmp_path / "water.cube", molecule("H2O"), calc)
    assert not list(tmp_path.iterdir())


def test_wrong_grids_and_targets_are_refused(calc: AIMNet2, tmp_path: Path) -> None:
    atoms, path = molecule("H2O"), tmp_path / "water.cube"
    for wrong in ({"spacing": 0.0}, {"spacing": float("inf")}, {"margin": -1.0}):
        with pytest.raises(ConfigError, match="positive, finite number"):
            write_cube(path, atoms, calc, **wrong)
    path.write_text("kept")
    with pytest.raises(InputError, match="exists"):
        write_cube(path, atoms, calc)
    assert path.read_text() == "kept"
    with pytest.raises(InputError, match="pbc"):
        write_cube(tmp_path / "crystal.cube", Atoms("O", cell=[5, 5, 5], pbc=True), calc)
