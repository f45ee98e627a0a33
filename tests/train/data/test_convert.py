"""Files of structures into each other."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import read, write

from molcalc.errors import DatasetError
from molcalc.train.data import open_dataset
from molcalc.train.data.convert import convert
from molcalc.units import HARTREE

UNITS = {"R": "Angstrom", "E": "Hartree (total)", "F": "Hartree/Bohr", "D": "Debye", "esp": "Hartree/e",
         "vdw_surface": "Angstrom", "Q": "e*Angstrom^2, traceless Buckingham"}  # fmt: skip
UNITS_OF_ESP = {"positions": "Angstrom", "esp": "Hartree/e", "esp_points": "Angstrom"}
XYZ_DECIMALS = 1e-7


@pytest.fixture
def archives(tmp_path: Path) -> list[Path]:
    """A pair of npz files: three structures padded to five atoms, eight ESP points each."""
    rng = np.random.default_rng(0)
    numbers = np.array([[8, 1, 1, 0, 0], [6, 8, 8, 0, 0], [6, 1, 1, 1, 1]])
    positions = rng.normal(size=(3, 5, 3)) * (numbers > 0)[..., None]
    q = rng.normal(size=(3, 3, 3))
    q += q.transpose(0, 2, 1)
    q -= np.trace(q, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    np.savez(tmp_path / "efd.npz", R=positions, Z=numbers, N=np.count_nonzero(numbers, axis=1),
             E=np.array([-76.0, -188.0, -40.0]), F=rng.normal(size=(3, 5, 3)), D=rng.normal(size=(3, 3)), Q=q,
             index=np.array([5, 7, 9]), units=json.dumps(UNITS))  # fmt: skip
    np.savez(tmp_path / "esp.npz", R=positions, Z=numbers, esp=rng.normal(size=(3, 8)),
             vdw_surface=rng.normal(size=(3, 8, 3)))  # fmt: skip
    return [tmp_path / "efd.npz", tmp_path / "esp.npz"]


def rich_frame(k: int) -> tuple[Atoms, dict[str, object], dict[str, object]]:
    """Atoms, keys and data with everything there is."""
    rng = np.random.default_rng(k)
    atoms = molecule(["H2O", "CH4", "OH"][k % 3])
    atoms.rattle(0.05, seed=k)
    n = len(atoms)
    charge = -1 if k % 3 == 2 else 0
    results = {"energy": -2000.0 - rng.random(), "forces": rng.normal(size=(n, 3)), "dipole": rng.normal(size=3),
               "charges": rng.normal(size=n), "magmoms": rng.normal(size=n)}  # fmt: skip
    if k % 2:
        del results["dipole"]
    atoms.calc = SinglePointCalculator(atoms, **results)
    keys: dict[str, object] = {
        "total_charge": charge,
        "multiplicity": 1,
        "temperature": 300 * k,
        "name": f"run {k % 2}",
    }
    data: dict[str, object] = {"quadrupole": rng.normal(size=6)}
    if k % 3 == 0:
        data.update(esp_points=rng.normal(size=(4 + k, 3)), esp=rng.normal(size=4 + k))
    return atoms, keys, data


@pytest.fixture
def database(tmp_path: Path) -> Path:
    with connect(tmp_path / "set.db") as target:
        for k in range(7):
            atoms, keys, data = rich_frame(k)
            target.write(atoms, key_value_pairs=keys, data=data)
    return tmp_path / "set.db"


def test_npz_pairs_become_rows_in_the_units_of_ase(archives: list[Path], tmp_path: Path) -> None:
    assert convert(archives, tmp_path / "set.db") == 3
    efd, esp = (np.load(path) for path in archives)
    row = connect(tmp_path / "set.db").get(id=2)
    assert row.toatoms().symbols.get_chemical_formula() == "CO2"
    assert row.energy == pytest.approx(-188.0 * HARTREE)
    assert np.allclose(row.dipole, efd["D"][1] * 0.2081943, atol=1e-6)
    assert np.allclose(row.data["esp"], esp["esp"][1] * HARTREE)
    assert np.array_equal(row.data["esp_points"], esp["vdw_surface"][1])
    assert row.data["quadrupole"][3] == pytest.approx(efd["Q"][1, 0, 1] / 1.5)
    assert row.key_value_pairs == {"total_charge": 0, "multiplicity": 1, "index": 7}
    assert connect(tmp_path / "set.db").metadata["units"]["energy"] == "eV"


def test_npz_charges_are_those_asked_for_and_the_others_are_kept(
    archives: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    efd = dict(np.load(archives[0]))
    rng = np.random.default_rng(1)
    names = ("q_hirshfeld", "q_esp", "q_lowdin", "mono")
    efd.update({name: rng.normal(size=(3, 5)) * (efd["Z"] > 0) for name in names})
    np.savez(tmp_path / "charged.npz", **efd)
    for asked, taken in ((None, "q_hirshfeld"), ("q_esp", "q_esp"), ("q_lowdin", "q_lowdin")):
        target = tmp_path / f"{taken}.db"
        caplog.clear()
        convert(tmp_path / "charged.npz", target, charges=asked)
        assert caplog.messages == [f"charged.npz: charges are {taken}"]
        row = connect(target).get(id=1)
        assert np.array_equal(row.charges, efd[taken][0, :3])
        assert connect(target).metadata["charges_from"] == taken
        for other in set(names) - {taken}:
            assert np.array_equal(np.asarray(row.data[other])[:3], efd[other][0, :3])
    with pytest.raises(DatasetError, match="nothing is called 'q_bader', which labels give for charges.*q_lowdin"):
        convert(tmp_path / "charged.npz", tmp_path / "none.db", charges="q_bader")
    convert(tmp_path / "q_hirshfeld.db", tmp_path / "again.db", charges="q_esp")
    assert np.array_equal(connect(tmp_path / "again.db").get(id=1).charges, efd["q_esp"][0, :3])


def with_arrays(path: Path, **arrays: np.ndarray) -> Path:
    """A copy of an archive with other arrays."""
    with np.load(path) as found:
        np.savez(path.with_name("other.npz"), **{**found, **arrays})
    return path.with_name("other.npz")


def test_npz_charges_of_structures_count_as_a_column(archives: list[Path], tmp_path: Path) -> None:
    data = with_arrays(archives[0], charge=np.array([[1], [0], [-1]]))
    assert open_dataset(data, cache=tmp_path / "cache").total_charge.tolist() == [1, 0, -1]


def test_npz_arrays_of_another_shape_are_refused(archives: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"other.npz: D has shape \(3, 2\); expected \(3, 3\) for 3 structures of 5"):
        open_dataset(with_arrays(archives[0], D=np.ones((3, 2))), cache=tmp_path / "cache")
    with pytest.raises(DatasetError, match=r"other.npz is damaged .*reshape"):
        open_dataset(with_arrays(archives[1], vdw_surface=np.ones((3, 8, 2))), units=UNITS_OF_ESP, cache=tmp_path / "c")


def test_padding_of_npz_files_never_becomes_atoms(archives: list[Path], tmp_path: Path) -> None:
    dataset = open_dataset(archives, cache=tmp_path / "cache")
    assert dataset.n_atoms().tolist() == [3, 3, 5]
    assert len(dataset.numbers) == 11
    assert (dataset.numbers > 0).all()


def test_npz_without_units_is_refused_unless_they_are_given(archives: list[Path], tmp_path: Path) -> None:
    arrays = {name: value for name, value in np.load(archives[0]).items() if name != "units"}
    np.savez(tmp_path / "bare.npz", **arrays)
    with pytest.raises(DatasetError, match="bare.npz does not say the unit of dipole, energy, forces, positions"):
        open_dataset(tmp_path / "bare.npz", cache=tmp_path / "cache")
    units = {"energy": "Hartree", "forces": "Hartree/Bohr", "dipole": "Debye", "positions": "Angstrom",
             "quadrupole": "e*Angstrom^2"}  # fmt: skip
    assert len(open_dataset(tmp_path / "bare.npz", cache=tmp_path / "cache", units=units)) == 3


def test_npz_files_of_other_structures_are_not_paired(archives: list[Path], tmp_path: Path) -> None:
    arrays = dict(np.load(archives[1]))
    arrays["R"][1] += 0.01
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(DatasetError, match="do not hold the same structures: R, row 1"):
        convert([archives[0], tmp_path / "other.npz"], tmp_path / "set.db")


@pytest.mark.parametrize("suffix", [".json", ".h5", ".npz", ".traj", ".db"])
def test_round_trips_keep_everything(database: Path, tmp_path: Path, suffix: str) -> None:
    original = open_dataset(database, cache=tmp_path / "cache")
    there, back = tmp_path / f"there{suffix}", tmp_path / "back.db"
    assert convert(database, there) == convert(there, back) == 7
    again = open_dataset(back, cache=tmp_path / "cache")
    assert again.counts() == original.counts()
    assert set(again.keys) == {"temperature", "name"}
    if suffix != ".h5":  # grouped by size, so in another order
        assert again.hash == original.hash
    keys = [row.key_value_pairs for row in connect(back).select()]
    before = [row.key_value_pairs for row in connect(database).select()]
    assert sorted(keys, key=_sorted_items) == sorted(before, key=_sorted_items)


def test_extended_xyz_keeps_eight_decimals(database: Path, tmp_path: Path) -> None:
    original = open_dataset(database, cache=tmp_path / "cache")
    convert(database, tmp_path / "there.xyz")
    again = open_dataset(tmp_path / "there.xyz", cache=tmp_path / "cache")
    assert again.counts() == original.counts()
    for name, values in original.labels.items():
        assert np.allclose(again.labels[name], values, atol=XYZ_DECIMALS, equal_nan=True), name


def test_rows_of_ions_say_their_charge_in_every_way(database: Path, tmp_path: Path) -> None:
    convert(database, tmp_path / "copy.db")
    rows = [row for row in connect(tmp_path / "copy.db").select() if row.total_charge]
    assert [row.charge for row in rows] == pytest.approx([-1.0] * len(rows))
    assert rows


def test_hdf5_is_written_with_checksums_and_names_of_groups(database: Path, tmp_path: Path) -> None:
    convert(database, tmp_path / "set.h5")
    with h5py.File(tmp_path / "set.h5") as file:
        assert list(file) == ["002", "003", "005"]
        assert all(dataset.fletcher32 for group in file.values() for dataset in group.values())
        assert file["003/energy"].dtype == np.float64


def test_an_existing_target_stays_and_a_failed_one_is_not_there(database: Path, tmp_path: Path) -> None:
    (tmp_path / "old.db").write_text("precious")
    with pytest.raises(DatasetError, match="exists"):
        convert(database, tmp_path / "old.db")
    assert (tmp_path / "old.db").read_text() == "precious"
    (tmp_path / "bad.xyz").write_text("1\nkind=1\nHe 0 0 0\n1\nkind=cold\nHe 0 0 0\n")
    with pytest.raises(DatasetError, match="'kind' is a text in some rows and a number in others"):
        convert(tmp_path / "bad.xyz", tmp_path / "new.h5")
    assert sorted(path.name for path in tmp_path.glob("*new.h5*")) == []


UNNAMEABLE = {"id": 7, "formula": "x", "config-type": "md", "H": 1.5, "CO": 2, "fmax": 0.1}
"""Keys and values that ASE databases refuse: names of their own, formulas, texts like numbers."""


@pytest.mark.parametrize("suffix", [".db", ".json"])
def test_what_a_database_cannot_name_goes_to_the_data_and_comes_back(
    suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    atoms, keys, _ = rich_frame(0)
    atoms.info.update(UNNAMEABLE, **keys, corner=np.eye(2))
    atoms.arrays["descriptor"] = np.arange(6.0).reshape(3, 2)
    atoms.arrays["site"] = np.array([4, 5, 6])
    write(tmp_path / "a.xyz", atoms)
    target = tmp_path / f"b{suffix}"
    convert(tmp_path / "a.xyz", target)
    assert [message for message in caplog.messages if "takes no keys" in message] == [
        "an ASE database takes no keys like these; they are in row.data: id, formula, config-type, H, CO, fmax"
    ]
    row = next(connect(target).select())
    assert np.array_equal(row.data["descriptor"], atoms.arrays["descriptor"])
    assert np.array_equal(row.data["corner"], np.eye(2))
    assert row.data["config-type"] == "md"
    assert (row.name, row.temperature) == (keys["name"], keys["temperature"])
    convert(target, tmp_path / "c.xyz")
    back = read(tmp_path / "c.xyz")
    assert {name: back.info[name] for name in UNNAMEABLE} == UNNAMEABLE
    assert np.array_equal(back.arrays["descriptor"], atoms.arrays["descriptor"])
    assert back.arrays["site"].tolist() == [4, 5, 6]


def _sorted_items(keys: dict[str, object]) -> str:
    return str(sorted(keys.items()))


@pytest.mark.parametrize("first", ["a.json", "a.traj", "a.db"])
def test_names_that_are_numbers_go_through_every_file(tmp_path: Path, first: str) -> None:
    """ASE's JSON makes integers of names of digits, and ``atoms.info`` takes any name."""
    atoms = molecule("H2O")
    atoms.info.update({"123": 4.0, 7: 1.5})
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    assert open_dataset([atoms]).labels["energy"].tolist() == [-1.0]
    write(tmp_path / "0.traj", atoms)
    convert(tmp_path / "0.traj", tmp_path / f"1{first}")
    convert(tmp_path / f"1{first}", tmp_path / "b.h5")
    convert(tmp_path / "b.h5", tmp_path / "c.xyz")
    info = read(tmp_path / "c.xyz").info
    assert (info["123"], info["7"]) == (4.0, 1.5)
