"""Structure files: names, frames, and one clear error for each kind of bad file."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import molecule
from ase.db import connect
from ase.io import write

from molcalc.cli.failures import Failures
from molcalc.cli.input_structures import read_all, read_frames, sources_of
from molcalc.errors import InputError

NAMES = [
    "a@1.xyz",
    "two words.xyz",
    "wasser–süß.xyz",
    "水@home.xyz",
    "mol@2",
    "postgres.xyz",
    "mysql_run.xyz",
    "-1.xyz",
]


def images(n: int) -> list[Atoms]:
    """Water molecules that can be told apart."""
    frames = []
    for k in range(n):
        atoms = molecule("H2O")
        atoms.positions[:, 0] += k
        frames.append(atoms)
    return frames


@pytest.mark.parametrize("name", NAMES)
def test_any_file_name_is_read_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write(tmp_path / name, images(2), format="extxyz")
    monkeypatch.chdir(tmp_path)
    for path in (str(tmp_path / name), name):
        frames = read_frames(path)
        assert [frame.number for frame in frames] == [0, 1]
        assert read_frames(f"{path}@1")[0].atoms.positions[0, 0] == 1.0


@pytest.mark.parametrize("suffix", [".xyz", ".traj", ".db", ".json", ".xyz.gz"])
@pytest.mark.parametrize(
    ("index", "expected"),
    [("0", [0]), ("-1", [4]), ("1:3", [1, 2]), ("::2", [0, 2, 4]), ("-2:", [3, 4])],
    ids=["first", "last", "range", "stride", "tail"],
)
def test_an_index_selects_frames_of_every_format(tmp_path: Path, suffix: str, index: str, expected: list[int]) -> None:
    path = tmp_path / f"five{suffix}"
    write(path, images(5))
    assert [frame.atoms.positions[0, 0] for frame in read_frames(f"{path}@{index}")] == expected


def test_a_format_of_one_structure_takes_an_index_too(tmp_path: Path) -> None:
    atoms = molecule("H2O")
    atoms.center(vacuum=3.0)
    write(tmp_path / "water.gen", atoms)
    for index in ("0", "-1", ":"):
        assert len(read_frames(f"{tmp_path}/water.gen@{index}")) == 1
    with pytest.raises(InputError, match=r"has no frame 1: its 1 frames are 0…0"):
        read_frames(f"{tmp_path}/water.gen@1")


def test_a_command_that_goes_on_takes_the_last_frame_and_all_rows_of_a_database(tmp_path: Path) -> None:
    for suffix, expected in {".traj": [4.0], ".db": [0.0, 1.0, 2.0, 3.0, 4.0]}.items():
        path = tmp_path / f"five{suffix}"
        write(path, images(5))
        assert [frame.atoms.positions[0, 0] for frame in read_frames(str(path), latest=True)] == expected
        assert [frame.atoms.positions[0, 0] for frame in read_frames(f"{path}@1:3", latest=True)] == [1.0, 2.0]


def test_a_pattern_names_files_in_their_order(tmp_path: Path) -> None:
    for name in ("b.xyz", "a.xyz", "c[1].xyz"):
        write(tmp_path / name, images(2))
    failures = Failures(str, debug=False)
    frames = read_all([f"{tmp_path}/?.xyz@1", f"{tmp_path}/c[1].xyz@0"], failures)
    found = [(Path(frame.source).name, frame.number) for frame in frames]
    assert found == [("a.xyz", 1), ("b.xyz", 1), ("c[1].xyz", 0)]
    assert sources_of([f"{tmp_path}/?.xyz@1"]) == [f"{tmp_path}/a.xyz", f"{tmp_path}/b.xyz"]
    assert failures.report(0) == 0
    assert read_all([f"{tmp_path}/*.cif"], failures) == []
    assert failures.report(0) == 2


def test_standard_input_is_extended_xyz(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    write(text, images(2), format="extxyz")
    monkeypatch.setattr("sys.stdin", io.StringIO(text.getvalue()))
    frames = read_frames("-")
    assert [frame.label for frame in frames] == ["standard input, frame 0", "standard input, frame 1"]


def test_database_rows_bring_their_charge_and_multiplicity(tmp_path: Path) -> None:
    with connect(tmp_path / "ions.db") as database:
        database.write(molecule("OH"), total_charge=-1, multiplicity=1)
        database.write(molecule("H2O"))
    first, second = read_frames(str(tmp_path / "ions.db"))
    assert first.atoms.info == {"total_charge": -1, "multiplicity": 1}
    assert second.atoms.info == {}


WATER = "O 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n"
BAD_FILES = {
    "empty": ("a.xyz", "", "a.xyz is empty"),
    "unknown format": ("a.qqq", "hello\n", "ASE does not know this file format"),
    "no suffix": ("structure", "hello\n", "ASE does not know this file format"),
    "words": ("a.xyz", "hello\nworld\n", "frame 0 must begin with its number of atoms; found 'hello'"),
    "few lines": ("a.xyz", f"4\n\n{WATER}", "frame 0 claims 4 atoms, but 3 lines follow"),
    "second frame": ("a.xyz", f"3\n\n{WATER}3\n\nO 0 0 0\n", "frame 1 claims 3 atoms, but 1 lines follow"),
    "an underscore": ("a.xyz", f"0_1\n\n{WATER}", "frame 0 must begin with its number of atoms; found '0_1'"),
    "digits of another script": ("a.xyz", f"٣\n\n{WATER}", "frame 0 must begin with its number of atoms; found '٣'"),
    "many lines": ("a.xyz", f"2\n\n{WATER}", "frame 1 must begin with its number of atoms; found 'H 0 -0.763"),
    "negative count": ("a.xyz", f"-3\n\n{WATER}", "frame 0 claims -3 atoms"),
    "lines after a gap": ("a.xyz", f"3\n\n{WATER}\n3\n\n{WATER}", "frame 1 begins with an empty line"),
    "unknown element": ("a.xyz", "1\n\nQq 0 0 0\n", "a.xyz, line 3 (atom 0): 'Qq' is not an element"),
    "not a number": ("a.xyz", "1\n\nH 0 zero 0\n", "a.xyz cannot be read: could not convert string to float: 'zero'"),
    "binary": ("a.xyz", "3\n\n\x00\x01\n\n\n", "a.xyz cannot be read"),
    "not a trajectory": ("a.traj", "hello\n", "a.traj"),
    "no words of ASE": ("a.cif", "hello\n", "a.cif cannot be read: its content is not what this format asks for"),
    "not a database": ("a.db", "hello\n" * 100, "a.db cannot be read: file is not a database"),
    "not json": ("a.json", "{", "a.json cannot be read"),
    "only blank": ("a.xyz", "\n\n", "a.xyz holds no structure"),
}


@pytest.mark.parametrize(("name", "content", "text"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, name: str, content: str, text: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        read_frames(str(tmp_path / name))
    assert text in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_a_file_that_claims_a_billion_atoms_is_refused_at_once(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / ("bomb.xyz.gz" if compressed else "bomb.xyz")
    data = b"1000000000\n\nH 0 0 0\n"
    path.write_bytes(gzip.compress(data) if compressed else data)
    with pytest.raises(InputError, match="claims 1000000000 atoms, but 1 lines follow"):
        read_frames(str(path))


def test_vectors_after_the_atoms_are_not_taken_for_a_frame(tmp_path: Path) -> None:
    (tmp_path / "cell.xyz").write_text(f"3\n\n{WATER}VEC1 5 0 0\nVEC2 0 5 0\nVEC3 0 0 5\n")
    (frame,) = read_frames(str(tmp_path / "cell.xyz"))
    assert frame.atoms.pbc.all()


def test_a_missing_file_or_frame_is_named(tmp_path: Path) -> None:
    write(tmp_path / "two.xyz", images(2))
    with pytest.raises(FileNotFoundError, match="no file nothing.xyz"):
        read_frames("nothing.xyz")
    with pytest.raises(FileNotFoundError, match="no file nothing.xyz@0"):
        read_frames("nothing.xyz@0")
    with pytest.raises(InputError, match="is a folder"):
        read_frames(str(tmp_path))
    with pytest.raises(InputError, match=r"two.xyz has no frame 2: its 2 frames are 0…1"):
        read_frames(f"{tmp_path}/two.xyz@2")
    with pytest.raises(InputError, match="holds no structure"):
        read_frames(f"{tmp_path}/two.xyz@5:")
    for wrong in ("last", "1:x", "1:2:3:4", "::0"):
        with pytest.raises(InputError, match=f"two.xyz.*({wrong}' is not an index|slice step cannot be zero)"):
            read_frames(f"{tmp_path}/two.xyz@{wrong}")


def test_a_pipe_in_place_of_a_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.xyz")
    with pytest.raises(InputError, match="is a pipe, socket or device"):
        read_frames(str(tmp_path / "p.xyz"))
