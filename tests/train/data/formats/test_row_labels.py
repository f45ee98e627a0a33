"""Labels that rows keep under other names, or among their data."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from molcalc.errors import DatasetError
from molcalc.train.data import Dataset, open_dataset
from molcalc.train.data.convert import convert

FORCES = np.arange(9.0).reshape(3, 3) / 10
NAMED = {"energy": "REF_energy", "forces": "REF_forces", "dipole": "mu", "charges": "q"}


def opened(path: Path, **options: Any) -> Dataset:
    return open_dataset(path, cache=path.parent / "cache", **options)


def frames(path: Path) -> Path:
    """Two water molecules whose labels have other names."""
    images = [molecule("H2O"), molecule("H2O")]
    for k, atoms in enumerate(images):
        atoms.info.update(REF_energy=-76.0 + k, mu=np.array([0.0, 0.1, k]))
        atoms.arrays.update(REF_forces=FORCES + k, q=np.array([-0.4, 0.2, 0.2]))
    write(path, images)
    return path


def rows(path: Path, **data: Any) -> Path:
    """A row of water with an energy of -1 eV and data."""
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    with connect(path) as database:
        database.write(atoms, data=data)
    return path


def test_labels_are_taken_by_the_names_that_a_user_gives(tmp_path: Path) -> None:
    path = frames(tmp_path / "a.xyz")
    for file in (path, tmp_path / "a.db", tmp_path / "a.h5"):
        if file != path:
            convert(path, file)  # without a word about labels: they stay what they are
        units = {"energy": "eV", "forces": "eV/Angstrom", "dipole": "e*Angstrom"} if file.suffix == ".h5" else {}
        dataset = opened(file, labels=NAMED, units=units)
        assert dataset.labels["energy"].tolist() == [-76.0, -75.0]
        assert np.array_equal(dataset.labels["forces"][3:], FORCES + 1)
        assert dataset.labels["dipole"][1].tolist() == [0.0, 0.1, 1.0]
        assert dataset.counts() == dict.fromkeys(NAMED, 2)


def test_units_of_labels_with_other_names_can_be_declared(tmp_path: Path) -> None:
    dataset = opened(frames(tmp_path / "a.xyz"), labels={"energy": "REF_energy"}, units={"energy": "Hartree"})
    assert dataset.labels["energy"][0] == pytest.approx(-76.0 * 27.2113860)


def test_a_label_that_is_not_chosen_keeps_its_values_under_another_name(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.db", best=[-2.0])
    assert opened(path).labels["energy"] == [-1.0]
    assert opened(path, labels={"energy": "best"}).labels["energy"] == [-2.0]
    convert(path, tmp_path / "b.db", labels={"energy": "best"})
    row = connect(tmp_path / "b.db").get(id=1)
    assert (row.energy, row.other_energy) == (-2.0, -1.0)


def test_labels_among_the_data_count_as_those_of_the_row(tmp_path: Path) -> None:
    dataset = opened(rows(tmp_path / "a.db", forces=FORCES, energy=np.array([-1.0])))
    assert np.array_equal(dataset.labels["forces"], FORCES)
    with pytest.raises(DatasetError, match="row 1: energy of the row and of its data differ"):
        opened(rows(tmp_path / "b.db", energy=-3.0))


def test_the_metadata_that_schnetpack_writes_are_understood(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.db"
    with connect(path) as database:
        database.write(molecule("H2O"), data={"energy": np.array([-76.0]), "forces": FORCES, "energy_U0": [-2.0]})
    connect(path).metadata = {
        "_property_unit_dict": {"energy": "Hartree", "forces": "Hartree/Bohr", "energy_U0": "kcal/mol"},
        "_distance_unit": "Bohr",
        "atomrefs": {"energy": [0.0, -0.5]},
    }
    with caplog.at_level(logging.INFO):
        dataset = opened(path)
    assert "reference_energies={'H': -13.605" in caplog.text
    assert dataset.labels["energy"][0] == pytest.approx(-76.0 * 27.2113860)
    assert dataset.positions[0, 2] == pytest.approx(molecule("H2O").positions[0, 2] * 0.5291772)
    assert opened(path, labels={"energy": "energy_U0"}).labels["energy"][0] == pytest.approx(-2.0 * 0.0433641)


def test_names_that_nothing_has_and_labels_that_are_none_are_refused(tmp_path: Path) -> None:
    path = frames(tmp_path / "a.xyz")
    with pytest.raises(DatasetError, match="nothing is called 'REF_enrgy'.*did you mean 'REF_energy'.*REF_forces"):
        opened(path, labels={"energy": "REF_enrgy"})
    with pytest.raises(DatasetError, match="'enrgy' is no label.*did you mean 'energy'"):
        opened(path, labels={"enrgy": "REF_energy"})
    with pytest.raises(DatasetError, match="'REF_energy' is taken for energy and for total_charge"):
        opened(path, labels={"energy": "REF_energy", "total_charge": "REF_energy"})
    with pytest.raises(DatasetError, match="frame 0, 1: forces have the wrong size"):
        opened(path, labels={"forces": "q"})


@pytest.mark.parametrize(("kept", "said"), [({}, -1), ({"spin": 1}, -1), ({"charge": -1}, 0)])
def test_charge_and_spin_among_the_data_are_read_and_must_agree(
    tmp_path: Path, kept: dict[str, int], said: int
) -> None:
    with connect(tmp_path / "a.db") as database:
        database.write(molecule("OH"), data={"charge": np.array([said]), "spin": 1}, **kept)
    if said:
        assert opened(tmp_path / "a.db").total_charge.tolist() == [-1.0]
    else:
        with pytest.raises(DatasetError, match="row 1: charge among the keys and among the data of the row differ"):
            opened(tmp_path / "a.db")


def test_an_array_of_atoms_states_no_charge(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.db", spin=np.zeros(3), charge=[-0.4, 0.2, 0.2])
    dataset = opened(path)
    assert (dataset.total_charge[0], dataset.lookalikes["charge"]) == (0.0, "charges")


def test_what_looks_like_a_label_is_named_with_the_cure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = frames(tmp_path / "a.xyz")
    with pytest.raises(DatasetError, match='no structure has energy; .*REF_energy looks like a label: .*"REF_energy"'):
        opened(path, require=["energy"])
    with caplog.at_level(logging.INFO):
        caplog.clear()
        opened(path, labels={"energy": "REF_energy"})
    assert len(caplog.messages) == 1
    assert "mu, q, REF_forces" in caplog.text or "REF_forces, q" in caplog.text


def test_nothing_is_said_of_labels_where_structures_alone_are_wanted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        opened(frames(tmp_path / "a.xyz"), structures_only=True)
        assert "like" not in caplog.text
        opened(rows(tmp_path / "a.db", Q=-1), structures_only=True)
    assert "Q looks like a label: if it is meant, write the file anew by molcalc convert" in caplog.text
    assert convert(tmp_path / "a.db", tmp_path / "b.db", labels={"total_charge": "Q"}) == 1
    assert opened(tmp_path / "b.db", structures_only=True).total_charge.tolist() == [-1.0]


def test_what_looks_like_a_total_charge_and_is_not_read_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = rows(tmp_path / "a.db", Q=-1)
    assert opened(path).total_charge.tolist() == [0.0]
    assert 'total_charge; Q looks like a label: take what is meant with labels={"total_charge": "Q"}' in caplog.text
    assert opened(path, labels={"total_charge": "Q"}).total_charge.tolist() == [-1.0]
