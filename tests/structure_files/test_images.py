"""Structures of files, whose numbers are what they seem."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import molecule
from ase.db import connect
from ase.io import ulm

from molcalc.cli.input_structures import read_frames
from molcalc.errors import DatasetError, InputError
from molcalc.train.data import open_dataset

WATER = molecule("H2O")
ODD = {"a fraction": [7.9999998, 1, 1], "too large": [2**32 + 8, 1, 1], "complex": [8j, 1, 1], "text": ["8", "1", "1"]}


def npz(folder: Path, numbers: Any) -> Path:
    units = json.dumps({"R": "Å", "E": "eV"})
    np.savez(folder / "x.npz", R=[WATER.positions] * 2, Z=np.array([numbers] * 2), E=np.zeros(2), units=units)
    return folder / "x.npz"


def trajectory(folder: Path, numbers: Any) -> Path:
    with ulm.open(folder / "x.traj", "w", tag="ASE-Trajectory") as out:
        out.write(
            version=1, ase_version="3", pbc=[False] * 3, numbers=np.array(numbers), positions=WATER.positions,
            cell=np.zeros((3, 3)),
        )  # fmt: skip
        out.sync()
    return folder / "x.traj"


def database(folder: Path, numbers: Any) -> Path:
    with connect(folder / "x.json") as target:
        target.write(WATER)
    rows = json.loads((folder / "x.json").read_text())
    listed = [[z.real, z.imag] for z in numbers] if any(isinstance(z, complex) for z in numbers) else numbers
    rows["1"]["numbers"] = {"__ndarray__": [[3], np.array(numbers).dtype.name, listed]}
    (folder / "x.json").write_text(json.dumps(rows))
    return folder / "x.json"


def columns(folder: Path, numbers: Any) -> Path:
    atoms = "".join(f"{z} {k} 0 0\n" for k, z in enumerate(numbers))
    (folder / "x.xyz").write_text(f"3\nProperties=Z:R:1:pos:R:3\n{atoms}")
    return folder / "x.xyz"


@pytest.mark.parametrize("numbers", ODD.values(), ids=ODD)
@pytest.mark.parametrize("written", [npz, trajectory, database, columns])
def test_atomic_numbers_that_are_none_are_refused_in_every_format(
    written: Callable[[Path, Any], Path], numbers: Any, tmp_path: Path
) -> None:
    """Also by what reads structures alone, which archives of numpy are not."""
    file = written(tmp_path, numbers)
    with pytest.raises(DatasetError, match=r"x\.\w+"):
        open_dataset(file)
    if written is not npz:
        with pytest.raises(InputError, match=r"x\.\w+"):
            read_frames(str(file))


@pytest.mark.parametrize("number", [-1, 119, 300, 2**32 + 8, 2**70])
def test_numbers_without_an_element_are_refused(number: int, tmp_path: Path) -> None:
    file = tmp_path / "x.xyz"
    file.write_text(f"1\nProperties=Z:I:1:pos:R:3\n{number} 0 0 0\n")
    with pytest.raises(InputError, match=r"x\.xyz"):
        read_frames(str(file))


def test_columns_that_an_atom_does_not_have_take_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "x.xyz"
    for spelled in ("Properties=%s", 'Properties = "%s"', "Properties={%s}"):
        file.write_text(f"1\n{spelled % 'species:S:1:pos:R:3:foo:R:99999999'}\nH 0 0 0\n")
        with pytest.raises(InputError, match=r"x\.xyz, line 2: .* are 100000003 columns; the first atom has 4"):
            read_frames(str(file))
