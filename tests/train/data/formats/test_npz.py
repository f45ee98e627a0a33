"""Numpy archives as their makers publish them."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molcalc.errors import DatasetError
from molcalc.train.data import Dataset, open_dataset
from molcalc.units import KCAL_PER_MOL

EV = {"energy": "eV", "forces": "eV/Angstrom", "dipole": "e*Angstrom", "positions": "Angstrom"}
RNG = np.random.default_rng(0)
R, F = RNG.normal(size=(3, 2, 3)), RNG.normal(size=(3, 2, 3))


def opened(folder: Path, arrays: dict[str, Any], **options: Any) -> Dataset:
    np.savez(folder / "a.npz", **arrays)
    return open_dataset(folder / "a.npz", cache=folder / "cache", **options)


@pytest.mark.parametrize(
    "arrays",
    [
        {"z": [8, 1], "R": R, "E": np.array([[-1.0], [-2.0], [-3.0]]), "F": F, "name": "OH", "theory": b"CCSD(T)",
         "md5": "0", "type": "d"},
        {"nuclear_charges": [8, 1], "coords": R, "energies": [-1.0, -2.0, -3.0], "forces": F, "old_indices": [5, 7, 9],
         "old_energies": [-1.1, -2.1, -3.1], "old_forces": F},
    ],
    ids=["MD17", "rMD17"],
)  # fmt: skip
def test_trajectories_of_one_molecule_are_in_kcal_per_mol(tmp_path: Path, arrays: dict[str, Any]) -> None:
    dataset = opened(tmp_path, {name: np.asarray(values) for name, values in arrays.items()})
    assert dataset.numbers.tolist() == [8, 1] * 3
    assert np.array_equal(dataset.positions, R.reshape(6, 3))
    assert dataset.labels["energy"] == pytest.approx(np.array([-1, -2, -3]) * KCAL_PER_MOL)
    assert dataset.labels["forces"] == pytest.approx(F.reshape(6, 3) * KCAL_PER_MOL)


def physnet(**others: Any) -> dict[str, Any]:
    numbers = np.array([[8, 1], [8, 1], [2, 0]])
    there = (numbers > 0)[..., None]
    return {
        "R": R * there,
        "Z": numbers,
        "N": [2, 2, 1],
        "E": np.zeros(3),
        "F": F * there,
        "D": np.zeros((3, 3)),
        **others,
    }


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_q_of_physnet_is_the_total_charge(tmp_path: Path, shape: tuple[int, ...]) -> None:
    dataset = opened(tmp_path, physnet(Q=np.array([-1.0, 1.0, 0.0]).reshape(shape)), units=EV)
    assert dataset.total_charge.tolist() == [-1.0, 1.0, 0.0]
    assert "quadrupole" not in dataset.labels


def test_q_of_six_or_nine_numbers_is_a_quadrupole(tmp_path: Path) -> None:
    units = {**EV, "quadrupole": "e*Angstrom^2"}
    assert opened(tmp_path, physnet(Q=np.zeros((3, 3, 3))), units=units).counts()["quadrupole"] == 3


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"N": np.zeros(3, [("a", "f8")])}, "N.npy holds values of type .*, which are not read"),
        ({"mine": np.zeros(3, "M8[s]")}, "mine.npy holds values of type"),
        ({"E": np.array([None] * 3)}, "E.npy holds Python objects, which are not read"),
        ({"N": ["2", "2", "1"]}, "N: '2' is of type"),
        ({"N": [2.5, 2, 1]}, r"N: 2\.5 is not a whole number"),
        (
            {"esp": np.zeros(4), "vdw_surface": np.zeros((4, 3)), "n_grid": [5, -1, 0]},
            "n_grid counts -1 points of a row",
        ),
        ({"esp": ["x"] * 4, "vdw_surface": np.zeros((4, 3)), "n_grid": [2, 2, 0]}, "esp: 'x' is of type"),
    ],
)
def test_values_of_another_type_are_refused(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        opened(tmp_path, physnet(**changed), units={**EV, "esp": "V", "esp_points": "Angstrom"})


@pytest.mark.parametrize("name", ["R", "Z", "E", "Q"])
def test_a_single_value_in_place_of_one_for_every_row_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match=rf"a\.npz: {name} is a single value; expected one for every row"):
        opened(tmp_path, physnet(**{name: 1.0}), units=EV)


def test_structures_may_have_different_numbers_of_esp_points(tmp_path: Path) -> None:
    counts = np.array([2, 0, 3])
    values, points = np.arange(5.0), np.arange(15.0).reshape(5, 3)
    filled = np.full((3, 4), 9.0), np.full((3, 4, 3), 9.0)
    for array, flat in zip(filled, (values, points)):
        array[np.arange(4) < counts[:, None]] = flat
    units = {**EV, "esp": "V", "esp_points": "Angstrom"}
    for esp, where in ((values, points), filled, (filled[0].astype(np.float32), filled[1])):
        dataset = opened(tmp_path, physnet(esp=esp, vdw_surface=where, n_grid=counts), units=units)
        assert dataset.n_points().tolist() == [2, 0, 3]
        assert np.array_equal(dataset.labels["esp"], values)
        assert np.array_equal(dataset.esp_points, points)
    with pytest.raises(DatasetError, match=r"esp of shape \(4,\) does not fit n_grid, which counts 5 points in 3 rows"):
        opened(tmp_path, physnet(esp=values[:4], vdw_surface=points, n_grid=counts), units=units)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_that_expand_are_refused_before_they_are_unpacked(
    method: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molcalc.io.budget.FREE", 1 << 18)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", method) as archive:
        for name, values in {
            "R": np.zeros((2, 1, 3)),
            "Z": [[1]] * 2,
            "E": [0.0] * 2,
            "junk": np.zeros((2, 1 << 16)),
        }.items():
            with archive.open(f"{name}.npy", "w") as target:
                np.save(target, np.asarray(values))
    with pytest.raises(DatasetError, match=r"x\.npz claims 1.05e\+06 bytes .* MOLCALC_EXPANSION"):
        open_dataset(tmp_path / "x.npz")


def test_compressed_archives_are_read_alone_and_in_pairs(tmp_path: Path) -> None:
    energies = {"R": R, "Z": [[8, 1]] * 3, "E": [-1.0, -2.0, -3.0], "F": F}
    potentials = {"R": R, "Z": [[8, 1]] * 3, "esp": np.ones((3, 4)), "vdw_surface": np.ones((3, 4, 3))}
    for name, arrays in (("a.npz", energies), ("b.npz", potentials)):
        np.savez(tmp_path / name, **arrays)  # type: ignore[arg-type]
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    units = {**EV, "esp": "V", "esp_points": "Angstrom"}
    dataset = open_dataset([tmp_path / "a.npz.gz", tmp_path / "b.npz.gz"], units=units, cache=tmp_path / "cache")
    assert dataset.labels["energy"].tolist() == [-1.0, -2.0, -3.0]
    assert "esp" in dataset.labels
