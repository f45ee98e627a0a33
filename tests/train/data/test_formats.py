"""Readers of files: all agree, none believes a damaged or hostile file."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import unittest.mock
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.db import connect
from ase.io import write

from molcalc.errors import DatasetError, MissingPackageError, ResourceError
from molcalc.properties import LABELS
from molcalc.train.data import Dataset, open_dataset
from molcalc.train.data.block import Block
from molcalc.train.data.convert import convert
from molcalc.train.data.declaration import Declaration
from molcalc.train.data.formats import FORMATS, Format
from molcalc.train.data.formats.base import DataFile
from molcalc.train.data.formats.sqlite import SQLiteDatabase
from molcalc.train.data.problems import Problems
from tests.train.data.conftest import Make, labelled


def same_arrays(a: Dataset, b: Dataset) -> bool:
    return a.hash == b.hash and all(np.array_equal(a.labels[n], b.labels[n], equal_nan=True) for n in a.labels)


def water(**results: object) -> Atoms:
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def test_the_bulk_reader_gives_what_ase_gives(
    make_database: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = make_database(gaps=True)
    bulk = open_dataset(path, cache=tmp_path / "bulk")
    monkeypatch.setattr("molcalc.train.data.formats.sqlite.VERSIONS", ())
    assert not SQLiteDatabase(path, Declaration()).bulk
    assert same_arrays(bulk, open_dataset(path, cache=tmp_path / "ase"))


def test_rows_are_named_by_their_id_also_after_gaps(make_database: Make) -> None:
    dataset = open_dataset(make_database(gaps=True))
    assert [dataset.row_name(k) for k in (0, 1)] == ["set.db row 1", "set.db row 4"]


@pytest.mark.parametrize("suffix", [".json", ".xyz", ".traj", ".db"])
def test_forces_are_read_without_constraints(tmp_path: Path, suffix: str) -> None:
    forces = np.arange(9.0).reshape(3, 3) + 1
    atoms = water(energy=-1.0, forces=forces)
    atoms.set_constraint(FixAtoms([0, 1]))
    write(tmp_path / f"fixed{suffix}", atoms)
    found = open_dataset(tmp_path / f"fixed{suffix}").labels["forces"]
    assert np.array_equal(found, forces)


def test_nothing_named_in_a_row_is_made_into_an_object(make_database: Make) -> None:
    path = make_database(4)
    with sqlite3.connect(path) as connection:
        bad = json.dumps([{"name": "os.system", "kwargs": {"command": "touch canary"}}])
        connection.execute("UPDATE systems SET constraints=?, calculator='os.system'", (bad,))
        keys = json.dumps({"total_charge": 0, "x": {"__ase_objtype__": "atoms", "evil": 1}})
        connection.execute("UPDATE systems SET key_value_pairs=? WHERE id=1", (keys,))
    assert len(open_dataset(path)) == 4


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("UPDATE systems SET forces=zeroblob(36) WHERE id=2", "row 2: forces are float32 where ASE expects float64"),
        ("UPDATE systems SET forces=zeroblob(48) WHERE id=2", "row 2: forces have the wrong size"),
        ("UPDATE systems SET energy=9e999 WHERE id=3", "row 3: energy is not finite"),
        ("UPDATE systems SET energy='abc' WHERE id=3", "row 3: energy is not a number"),
        ("UPDATE systems SET numbers=zeroblob(12) WHERE id=1", "row 1: an atomic number is 0, expected 1–118"),
        ("UPDATE systems SET natoms=9e999 WHERE id=2", "row 2: the number of atoms is not a whole number"),
        ("UPDATE systems SET natoms=2.9 WHERE id=2", "row 2: the number of atoms is not a whole number"),
        ("UPDATE systems SET natoms='x' WHERE id=2", "row 2: the number of atoms is not a whole number"),
        ("UPDATE systems SET pbc=9e999 WHERE id=2", "row 2: pbc is not a sum of 1, 2 and 4"),
        ("UPDATE systems SET pbc=0.5 WHERE id=2", "row 2: pbc is not a sum of 1, 2 and 4"),
        ("UPDATE systems SET pbc=8 WHERE id=2", "row 2: pbc is not a sum of 1, 2 and 4"),
        ("UPDATE systems SET pbc=7 WHERE id=1", "row 1: a periodic direction has a zero cell vector"),
    ],
)  # fmt: skip
def test_unusable_rows_are_listed_and_left_out_on_request(tmp_path: Path, change: str, text: str) -> None:
    with connect(tmp_path / "set.db") as database:
        for _ in range(4):
            database.write(water(energy=-1.0, forces=np.ones((3, 3))))
    with sqlite3.connect(tmp_path / "set.db") as connection:
        connection.execute(change)
    with pytest.raises(DatasetError, match=f"set.db: {text}"):
        open_dataset(tmp_path / "set.db")
    dataset = open_dataset(tmp_path / "set.db", skip_bad=True)
    assert len(dataset) == 3
    assert list(dataset.skipped["set.db"].values()) == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [("natoms=NULL", "row 2 has no number of atoms"), ("pbc='x'", "row 2: pbc is 'x', no number")],
    ids=["no number of atoms", "text for pbc"],
)
def test_a_column_that_ase_never_writes_so_is_damage_and_not_left_out(
    change: str, message: str, tmp_path: Path
) -> None:
    with connect(tmp_path / "set.db") as database:
        for _ in range(2):
            database.write(water(energy=-1.0))
    with sqlite3.connect(tmp_path / "set.db") as connection:
        connection.execute(f"UPDATE systems SET {change} WHERE id=2")
    with pytest.raises(DatasetError, match=f"{message}: the file is damaged"):
        open_dataset(tmp_path / "set.db", skip_bad=True)


def test_fidelities_hidden_in_atomic_numbers_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "set.h5", "w") as file:
        file.attrs["units"] = json.dumps({"coord": "Angstrom"})
        group = file.create_group("002")
        group["numbers"], group["coord"] = [[201, 206]], np.ones((1, 2, 3))
    message = (
        r"group/row 002/0: an atomic number is 201, expected 1–118; it seems to be 1 of a fidelity numbered 1: "
        r"subtract 200, and name the fidelity as NAME=FILE .* or by a key 'fidelity'"
    )
    with pytest.raises(DatasetError, match=message):
        open_dataset(tmp_path / "set.h5")


def test_charges_come_from_keys_or_initial_charges_and_must_agree(tmp_path: Path) -> None:
    with connect(tmp_path / "set.db") as database:
        database.write(molecule("OH"), total_charge=-1)
        database.write(molecule("OH"), charge=1, multiplicity=3)
        database.write(Atoms("OH", [[0, 0, 0], [0, 0, 1]], charges=[-1.2, 0.2]), total_charge=-1)
    dataset = open_dataset(tmp_path / "set.db")
    assert dataset.total_charge.tolist() == [-1, 1, -1]
    assert dataset.multiplicity.tolist() == [1, 3, 1]
    with connect(tmp_path / "set.db") as database:
        database.write(Atoms("OH", [[0, 0, 0], [0, 0, 1]], charges=[-1.2, 0.2]), total_charge=0)
    with pytest.raises(
        DatasetError, match=r"row 4: contradictory total charges \(key total_charge = 0, sum of initial charges = -1\)"
    ):
        open_dataset(tmp_path / "set.db")


def test_a_charge_that_only_some_rows_record_is_an_error(tmp_path: Path) -> None:
    with connect(tmp_path / "set.db") as database:
        database.write(molecule("H2O"), total_charge=0)
        database.write(molecule("H2O"))
    with pytest.raises(DatasetError, match="row 2 has no total_charge, while others have: write it for every row"):
        open_dataset(tmp_path / "set.db")


def test_an_impossible_multiplicity_is_an_error(tmp_path: Path) -> None:
    with connect(tmp_path / "set.db") as database:
        database.write(molecule("H2O"), multiplicity=2)
    with pytest.raises(DatasetError, match="row 1: 10 electrons cannot have multiplicity 2"):
        open_dataset(tmp_path / "set.db")


def test_fidelities_come_from_names_or_keys(make_database: Make, tmp_path: Path) -> None:
    with connect(tmp_path / "mixed.db") as database:
        for name in ("pbe0", "xtb", "pbe0"):
            database.write(water(energy=-1.0), fidelity=name)
    mixed = open_dataset(tmp_path / "mixed.db")
    assert mixed.fidelities == ("pbe0", "xtb")
    assert mixed.fidelity.tolist() == [0, 1, 0]
    two = open_dataset({"low": make_database(3, name="a.db"), "high": make_database(2, name="b.db")})
    assert two.fidelities == ("low", "high")
    assert two.fidelity.tolist() == [0, 0, 0, 1, 1]
    assert two.row_name(3) == "b.db row 1"
    assert open_dataset(make_database(2, name="c.db")).fidelities == ("default",)
    with pytest.raises(DatasetError, match="given as fidelity 'low', but its rows are of several: pbe0, xtb"):
        open_dataset({"low": tmp_path / "mixed.db"})


def test_required_labels_must_be_there(make_database: Make, tmp_path: Path) -> None:
    path = make_database(6)
    with pytest.raises(DatasetError, match=r"no structure has stress; labels found: energy \(6\), forces \(6\)"):
        open_dataset(path, require=("energy", "stress"))
    with connect(tmp_path / "half.db") as database:
        database.write(water(energy=-1.0, forces=np.ones((3, 3))))
        database.write(water(energy=float("nan"), forces=np.ones((3, 3))))  # ASE stores NULL
    with pytest.raises(DatasetError, match=r"1 of 2 structures have energy \(missing: half.db row 2"):
        open_dataset(tmp_path / "half.db", require=("energy",))
    assert open_dataset(tmp_path / "half.db", require=("energy",), allow_missing=True).counts()["energy"] == 1


def test_nan_in_extended_xyz_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "set.xyz", [water(energy=-1.0), water(energy=float("nan"))])
    with pytest.raises(DatasetError, match="frame 1: energy is not finite"):
        open_dataset(tmp_path / "set.xyz")


def test_declared_units_are_converted(make_database: Make) -> None:
    plain = open_dataset(make_database(4))
    other = open_dataset(make_database(4, name="other.db"), units={"energy": "kcal/mol", "positions": "Bohr"})
    assert np.allclose(other.labels["energy"] * 23.060548, plain.labels["energy"])
    assert np.allclose(other.positions, plain.positions * 0.529177, atol=1e-5)
    with pytest.raises(DatasetError, match="unit 'parsec' of positions is not known; use one of Angstrom, Bohr"):
        open_dataset(make_database(4, name="third.db"), units={"positions": "parsec"})
    with pytest.raises(DatasetError, match="a unit is declared for 'energie'; valid names: energy"):
        open_dataset(make_database(4, name="fourth.db"), units={"energie": "eV"})


@pytest.mark.parametrize(
    ("label", "unit", "factor"),
    [
        ("energy", "kcal/mol", 0.0433641),
        ("energy", "Hartree", 27.2113862),
        ("forces", "Hartree/Bohr", 51.4220675),
        ("stress", "GPa", 0.00624151),
        ("dipole", "Debye", 0.20819434),
        ("dipole", "e*Bohr", 0.52917721),
        ("quadrupole", "Debye*Angstrom", 0.20819434),
        ("quadrupole", "e*Bohr^2", 0.28002852),
        ("esp", "Hartree/e", 27.2113862),
        ("esp", "mV", 0.001),
    ],
)  # fmt: skip
def test_units_are_those_of_codata(label: str, unit: str, factor: float) -> None:
    assert LABELS[label].quantity.factors[unit] == pytest.approx(factor, rel=2e-7)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".db", ".h5", ".npz", ".json", ".traj"])
def test_truncated_files_are_named(make_database: Make, tmp_path: Path, suffix: str, share: float) -> None:
    whole = make_database(40)
    path = tmp_path / f"cut{suffix}"
    if suffix == ".db":
        path.write_bytes(whole.read_bytes())
    else:
        convert(whole, path)
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(DatasetError, match=f"cut{suffix}"):
        open_dataset(path)


def test_files_that_are_something_else_are_refused(tmp_path: Path) -> None:
    for suffix in (".db", ".h5", ".npz", ".json", ".traj", ".xyz"):
        path = tmp_path / f"text{suffix}"
        path.write_text("hello, this is no data at all\n" * 100)
        with pytest.raises(DatasetError, match=f"text{suffix}"):
            open_dataset(path)
    bundle = tmp_path / "x.bundle"
    bundle.mkdir()
    (bundle / "metadata.json").write_text('{"format": "BundleTrajectory"}')
    (tmp_path / "a.foo").write_text("hello\n")
    for path in (Path(__file__), bundle, tmp_path / "a.foo"):
        with pytest.raises(DatasetError, match="not a file that ASE reads, nor one of .db"):
            open_dataset(path)
    with pytest.raises(DatasetError, match="there is no file"):
        open_dataset(tmp_path / "none.db")


def test_a_short_file_cannot_claim_much_memory(tmp_path: Path) -> None:
    (tmp_path / "claim.xyz").write_text("1000000000\n\nH 0 0 0\n")
    with h5py.File(tmp_path / "claim.h5", "w") as file:
        group = file.create_group("002")
        group.create_dataset("coord", shape=(10**11, 2, 3), chunks=(1, 2, 3), dtype="f4")
        group.create_dataset("numbers", shape=(10**11, 2), chunks=(1, 2), dtype="i4")
    header = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 3), }"
    import zipfile

    with zipfile.ZipFile(tmp_path / "claim.npz", "w") as archive:
        for name in ("E.npy", "R.npy", "Z.npy"):
            archive.writestr(name, header.ljust(127) + b"\n")
    for suffix in (".xyz", ".h5", ".npz"):
        with pytest.raises(DatasetError, match=f"claim{suffix}.* claim"):
            open_dataset(tmp_path / f"claim{suffix}", units={"positions": "Angstrom", "energy": "eV"})


def hdf5_file(path: Path) -> h5py.File:
    file = h5py.File(path, "w")
    file.attrs["units"] = json.dumps({"coord": "Angstrom", "energy": "eV"})
    group = file.create_group("002")
    group["coord"], group["numbers"], group["energy"] = np.ones((3, 2, 3)), np.ones((3, 2), dtype=int), np.ones(3)
    return file


def test_hdf5_links_to_elsewhere_are_not_followed(tmp_path: Path) -> None:
    hdf5_file(tmp_path / "other.h5").close()
    with hdf5_file(tmp_path / "set.h5") as file:
        del file["002/energy"]
        file["002/energy"] = h5py.ExternalLink("other.h5", "/002/energy")
    with pytest.raises(DatasetError, match="/002/energy is a link to elsewhere"):
        open_dataset(tmp_path / "set.h5")


@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        ("energy", np.ones(2), "002/energy has no or too few of 3 rows"),
        ("energy", np.ones((3, 1)), r"002/energy has shape \(3, 1\); expected \(3,\)"),
        ("charge", np.ones((3, 1)), r"002/charge has shape \(3, 1\); expected \(3,\)"),
        ("forces", np.ones((3, 6)), r"002/forces has shape \(3, 6\); expected \(3, 2, 3\) for 3 structures of 2 atoms"),
        ("forces", np.ones((3, 3, 3)), r"002/forces has shape \(3, 3, 3\); expected \(3, 2, 3\)"),
        ("charges", np.ones((3, 3)), r"002/charges has shape \(3, 3\); expected \(3, 2\)"),
        ("dipole", np.ones((3, 2)), r"002/dipole has shape \(3, 2\); expected \(3, 3\)"),
        ("coord", np.ones((3, 3, 3)), "do not fit 3 structures of 2 atoms"),
        ("coord", None, "group 002 has no data set 'coord'"),
        ("numbers", np.full((3, 2), 1.5), "002: numbers: 1.5 is not a whole number"),
        ("energy", np.array([b"a", b"b", b"c"]), "002/energy holds values of type"),
    ],
)  # fmt: skip
def test_hdf5_shapes_are_checked(tmp_path: Path, name: str, values: np.ndarray | None, text: str) -> None:
    with hdf5_file(tmp_path / "set.h5") as file:
        if name in file["002"]:
            del file[f"002/{name}"]
        if values is not None:
            file[f"002/{name}"] = values
    with pytest.raises(DatasetError, match=f"set.h5: .*{text}"):
        open_dataset(tmp_path / "set.h5")


@pytest.mark.parametrize("name", ["water", "0", "-2", "2.0", "²"])
def test_hdf5_groups_have_the_names_of_their_numbers_of_atoms(tmp_path: Path, name: str) -> None:
    with hdf5_file(tmp_path / "set.h5") as file:
        file.move("002", name)
    with pytest.raises(DatasetError, match=f"group '{name}' is not named after its number of atoms"):
        open_dataset(tmp_path / "set.h5")


def test_hdf5_arrays_outside_of_groups_are_named(tmp_path: Path) -> None:
    with hdf5_file(tmp_path / "set.h5") as file:
        file["energy"] = np.ones(3)
    with pytest.raises(DatasetError, match="'energy' is no group"):
        open_dataset(tmp_path / "set.h5")


def test_labels_that_only_some_hdf5_groups_have_are_reported_and_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with hdf5_file(tmp_path / "set.h5") as file:
        file.copy("002", "003")
        file["002/coord"][:, 0] = file["003/coord"][:, 0] = 0.0
        for key, shape in (("coord", (3, 3, 3)), ("numbers", (3, 3))):
            del file[f"003/{key}"]
            file[f"003/{key}"] = np.arange(np.prod(shape)).reshape(shape) % 7 + 1
        del file["003/energy"]
    dataset = open_dataset(tmp_path / "set.h5")
    assert "group 003 has no data set 'energy', while others have; this label is missing there" in caplog.text
    assert dataset.has("energy").tolist() == [True] * 3 + [False] * 3
    with h5py.File(tmp_path / "set.h5", "a") as file:
        file["002/charge"] = np.zeros(3)
    with pytest.raises(DatasetError, match="group/row 003/0, 003/1, 003/2 has no total_charge, while others"):
        open_dataset(tmp_path / "set.h5")


def test_rows_that_were_never_written_are_found(tmp_path: Path) -> None:
    """Space that a program set aside and did not fill holds zeros."""
    with hdf5_file(tmp_path / "set.h5") as file:
        file["002/coord"][:, 0] = 0.0
        file["002/coord"][2] = 0.0
        file["002/numbers"][1] = 0
    text = "002/1: there are no atoms.*002/2: all atoms are at the same place .was the file written to its end"
    with pytest.raises(DatasetError, match=text):
        open_dataset(tmp_path / "set.h5")
    assert len(open_dataset(tmp_path / "set.h5", skip_bad=True)) == 1


def test_flipped_bits_in_checksummed_hdf5_are_found(make_database: Make, tmp_path: Path) -> None:
    convert(make_database(40), tmp_path / "set.h5")
    with h5py.File(tmp_path / "set.h5") as file:
        place = file["003/forces"].id.get_chunk_info(0).byte_offset + 20
    data = bytearray((tmp_path / "set.h5").read_bytes())
    data[place] ^= 1
    (tmp_path / "set.h5").write_bytes(data)
    with pytest.raises(DatasetError, match="003/forces is damaged"):
        open_dataset(tmp_path / "set.h5")


def test_python_objects_in_npz_files_are_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", R=np.array([{"a": 1}], dtype=object), Z=np.ones((1, 1)), E=np.ones(1))
    with pytest.raises(DatasetError, match="holds Python objects"):
        open_dataset(tmp_path / "set.npz")


def test_lmdb_without_its_package_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "set.aselmdb").write_bytes(bytes(1))
    with (
        unittest.mock.patch.dict("sys.modules", {"lmdb": None}),
        pytest.raises(MissingPackageError, match=r"databases \.aselmdb need .*: pip install --upgrade ase-db-backends"),
    ):
        open_dataset(tmp_path / "set.aselmdb")


def test_lmdb_gives_the_same_arrays(make_database: Make, tmp_path: Path) -> None:
    pytest.importorskip("ase_db_backends")
    path = make_database(8)
    with connect(str(tmp_path / "set.aselmdb")) as target:
        for k in range(8):
            atoms, data = labelled(k)
            target.write(atoms, total_charge=0, run=k // 4, data=data)
    assert same_arrays(open_dataset(path), open_dataset(tmp_path / "set.aselmdb"))


@pytest.mark.parametrize("suffix", [".db", ".h5", ".npz", ".json", ".traj", ".xyz"])
def test_damage_never_ends_in_another_error(make_database: Make, tmp_path: Path, suffix: str) -> None:
    path = make_database(4)
    if suffix != ".db":
        convert(path, tmp_path / f"set{suffix}")
    whole = (tmp_path / f"set{suffix}").read_bytes()
    refused = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        damaged = np.frombuffer(whole, dtype=np.uint8).copy()
        places = rng.integers(0, len(damaged), 64)
        damaged[places] = rng.integers(0, 256, 64)
        (tmp_path / f"damaged{suffix}").write_bytes(damaged.tobytes())
        try:
            open_dataset(tmp_path / f"damaged{suffix}")
        except DatasetError:
            refused += 1
    assert refused > 0


class Coordinates(DataFile):
    """A kind of file with a number of atoms and their positions in each line."""

    def read(self, problems: Problems) -> Iterator[Block]:
        for row, line in enumerate(self.path.read_text().splitlines()):
            positions = np.array(line.split(), dtype=np.float64).reshape(-1, 3)
            n = len(positions)
            systems = {"n_atoms": np.array([n]), "row": np.array([row]), "cell": np.zeros((1, 3, 3)),
                       "pbc": np.zeros((1, 3), dtype=bool), "energy": np.array([-13.6 * n])}  # fmt: skip
            yield Block(systems, {"numbers": np.ones(n, dtype=np.int32), "positions": positions}, {})


def test_a_format_needs_a_class_and_a_line_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Line(Format):
        def load(self) -> type[DataFile]:
            return Coordinates

    monkeypatch.setitem(FORMATS, ".coordinates", Line("coordinates", "coordinates", "Coordinates"))
    (tmp_path / "h2.coordinates").write_text("0 0 0 0 0 0.74\n0 0 0 0 0 0.80\n")
    dataset = open_dataset(tmp_path / "h2.coordinates", cache=tmp_path / "cache")
    assert dataset.labels["energy"].tolist() == [-27.2, -27.2]
    assert convert(tmp_path / "h2.coordinates", tmp_path / "h2.xyz") == 2
    with pytest.raises(DatasetError, match="files of this kind are read, not written"):
        convert(tmp_path / "h2.xyz", tmp_path / "again.coordinates")


def test_a_file_that_the_system_has_no_memory_for_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As LMDB says it, in a class of its own."""

    def refuse(path: Path) -> None:
        raise RuntimeError(f"{path}: {os.strerror(errno.ENOMEM)}")

    (tmp_path / "x.aselmdb").write_bytes(bytes(1))
    monkeypatch.setattr("molcalc.train.data.formats.database.read_lmdb", refuse)
    with pytest.raises(ResourceError, match=r"does not fit into memory \(see ulimit -v\): .*Cannot allocate memory"):
        open_dataset(tmp_path / "x.aselmdb")
