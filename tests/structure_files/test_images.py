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


TEXTS = {
    "x.xyz": "3\n{title}\nO 0 0 0\nH 0 0 {z}\nH 0 0.9 0\n",
    "x.vasp": "{title}\n1.0\n9 0 0\n0 9 0\n0 0 9\nO H\n1 2\nCartesian\n0 0 0\n0 0 {z}\n0 0.9 0\n",
    "x.com": "# hf\n\n{title}\n\n0 1\nO 0. 0. 0.\nH 0. 0. {z}\nH 0. .9 0.\n\n",
    "x.mol": "{title}\n\n\n  3  0  0  0  0  0  0  0  0  0999 V2000\n"
    "    0.0    0.0    0.0 O\n    0.0    0.0    {z} H\n    0.0    0.9    0.0 H\nM  END\n",
    "x.mol2": "@<TRIPOS>MOLECULE\n{title}\n@<TRIPOS>ATOM\n1 O 0. 0. 0. O.3\n2 H 0. 0. {z} H\n3 H 0. .9 0. H\n",
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("z", ["1_0", "1_0.5", "١"])
def test_numbers_of_python_are_refused_as_coordinates_but_not_in_titles(name: str, z: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(TEXTS[name].format(title=z, z=0.96), encoding="utf-8")
    (frame,) = read_frames(tmp_path / name)
    assert frame.atoms.positions[1, 2] == pytest.approx(0.96)
    (tmp_path / name).write_text(TEXTS[name].format(title="1_0", z=z), encoding="utf-8")
    with pytest.raises(InputError, match=rf"line \d.*'?{z}.*not a number|{z}.*no coordinates"):
        read_frames(tmp_path / name)


def test_numbers_of_python_are_refused_in_training_data(tmp_path: Path) -> None:
    (tmp_path / "x.xyz").write_text("1\nenergy=-13 a_1=1\nH 0 0 0\n1\nenergy=-13\nH 0 0 1_0\n")
    with pytest.raises(DatasetError, match="line 6: '1_0' is not a number"):
        open_dataset(tmp_path / "x.xyz")


@pytest.mark.parametrize("line", ["-1,1", " -1, 1", "-1 ,1", "-1,1,-1,1,0,1"])
def test_charge_and_multiplicity_of_a_gaussian_input_may_have_commas(line: str, tmp_path: Path) -> None:
    (tmp_path / "x.com").write_text(f"# hf\n\ntitle 0,1\n\n{line}\nO,0.,0.,0.\nH,0.,0.,.96\n\n")
    (frame,) = read_frames(tmp_path / "x.com")
    assert (frame.atoms.info["charge"], frame.atoms.info["multiplicity"]) == (-1, 1)


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    text = "\ufeff1\nenergy=-13.5 charge=0\nH 0 0 0\n"
    (tmp_path / "x.xyz").write_text(text, encoding="utf-8")
    (frame,) = read_frames(tmp_path / "x.xyz")
    assert frame.atoms.get_chemical_formula() == "H"
    assert open_dataset(tmp_path / "x.xyz").labels["energy"].tolist() == [-13.5]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.gen", "3 C\nO\n1 1 0 0 0\n"),
        ("a.gro", "cut off\n    3\n    1WAT     O    1   0.000   0.000   0.000\n   1.0   1.0   1.0\n"),
    ],
    ids=["gen", "gromacs"],
)
def test_a_file_that_announces_more_atoms_than_it_has_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text.replace("3", "1", 1))
    assert len(read_frames(str(tmp_path / name))[0].atoms) == 1
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="announces 3 atoms and has 1"):
        read_frames(str(tmp_path / name))
